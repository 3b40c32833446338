"""A sheet as one HTML file that needs nothing else: tables, frontier, control panels, and the records behind them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from prime_audit.report.columns import LEGEND
from prime_audit.report.page_data import Packer, dump, link
from prime_audit.report.page_table import section
from prime_audit.report.sheet import VULNERABLE, Sheet
from prime_audit.report.summary import summary
from prime_audit.report.views import views

SCRIPTS = ("data.js", "table.js", "detail.js", "points.js", "chart.js", "marks.js", "page.js")
"""In this order they are one script."""
LIBRARY = "echarts/echarts.min.js"
_CAUGHT = """})().catch((fault) => {
  document.getElementById("static").hidden = false;
  throw fault;
});
"""
_FEW = 4
"""Warnings that stand unfolded."""


def render(sheet: Sheet) -> str:
    """Write a sheet as a page; equal sheets give equal text.

    All that the sheet says is escaped, and the page's own policy allows no script or style but its own. Addresses
    become links where they are https or relative to the page.

    Raises ValueError where the sheet names what it does not have, holds a figure twice, or a figure is not finite.
    """
    packer = Packer(sheet)
    shown = views(sheet)
    data = packer.pack(shown)
    style, library, script = _asset("page.css"), _asset(LIBRARY), _script()

    judged = any(panels for view in shown for group in view.groups for panels in group.panels)
    legend = LEGEND if judged else ()

    def href(ids: Sequence[str]) -> str | None:
        """One record: its own place. Several: the list of them."""
        source = sheet.sources.get(ids[0]) if len(ids) == 1 else None
        if source:
            return link(source.href)
        return f"#set-{packer.records_behind(ids)}" if ids else None

    return Template(_asset("page.html")).substitute(
        policy=_policy(style, library, script),
        title=escape(sheet.title),
        name=escape(sheet.name),
        summary=_summary(sheet),
        lead=_paragraphs(sheet.about[:1]),
        model=escape(sheet.model),
        command=_command(sheet.command),
        warnings=_warnings([*(f"failed: {line}" for line in sheet.failures), *sheet.warnings]),
        sections="\n".join(section(place, view, sheet, href) for place, view in enumerate(shown)),
        vulnerable=_folded(VULNERABLE, _list(sheet.vulnerable), "vulnerable"),
        about=_folded("How to read this page", _paragraphs(sheet.about[1:]), "about"),
        notes=_folded("What the figures rest on", _list([*sheet.notes, *legend]), "notes"),
        records=_folded("Records", _records(data), "records-all"),
        data=dump(data),
        style=style,
        library=library,
        script=script,
    )


@cache
def _asset(name: str) -> str:
    return files("prime_audit.report").joinpath("assets", *name.split("/")).read_text(encoding="utf-8")


@cache
def _script() -> str:
    """One function, so that nothing of it is global."""
    return '(async () => {\n"use strict";\n' + "\n".join(map(_asset, SCRIPTS)) + _CAUGHT


def _policy(style: str, *scripts: str) -> str:
    """Content-Security-Policy: nothing is loaded; only these inline texts are run."""
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _escaped(line: str) -> str:
    """Escape a line; text between backticks is code, as in the files beside the page."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", escape(line))


def _summary(sheet: Sheet) -> str:
    rows = "\n".join(
        f'<div class="{answer.tone}"><dt>{answer.about}</dt><dd>{escape(answer.says)}</dd></div>'
        for answer in summary(sheet)
    )
    return f'<dl class="summary">\n{rows}\n</dl>'


def _paragraphs(lines: Iterable[str]) -> str:
    return "\n".join(f"<p>{_escaped(line)}</p>" for line in lines)


def _list(lines: Iterable[str]) -> str:
    items = "\n".join(f"<li>{_escaped(line)}</li>" for line in lines)
    return f"<ul>\n{items}\n</ul>" if items else ""


def _warnings(lines: Sequence[str]) -> str:
    """Show a few, fold many: the figures should be in sight."""
    if len(lines) > _FEW:
        return _folded(
            f"{len(lines)} warnings to read before believing the figures", _list(lines), "warnings"
        )
    return f'<div class="warnings">{_list(lines)}</div>' if lines else ""


def _folded(title: str, content: str, kind: str) -> str:
    return f'<details class="{kind}"><summary>{title}</summary>\n{content}\n</details>' if content else ""


def _command(command: str) -> str:
    if not command:
        return ""
    return (
        f'<p class="small">To build this again:</p>\n<div class="command"><pre><code id="command">{escape(command)}'
        '</code></pre><button type="button" id="copy" hidden>Copy</button></div>'
    )


def _records(data: dict[str, object]) -> str:
    """List every record; without JavaScript also which several stand behind one figure."""
    records, sets = data["records"], data["sets"]
    assert isinstance(records, list)
    assert isinstance(sets, list)
    said = [_record(**record) for record in records]
    if not said:
        return ""
    together = "\n".join(
        f'<li id="set-{place}">{", ".join(said[record] for record in members)}</li>'
        for place, members in enumerate(sets)
        if len(members) > 1
    )
    several = f"<noscript><p>Behind one figure:</p><ul>\n{together}\n</ul></noscript>" if together else ""
    items = "\n".join(f"<li>{line}</li>" for line in said)
    return f'<ul class="record-list">\n{items}\n</ul>\n{several}'


def _record(id: str, href: str | None, seed: int | None) -> str:
    name = escape(id if seed is None else f"{id} (seed {seed})")
    return f'<a href="{escape(href)}">{name}</a>' if href else name
