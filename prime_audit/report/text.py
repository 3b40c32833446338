"""A sheet as files and on the terminal: Markdown, CSV, JSON, LaTeX. Runs and leaderboards share every writer."""

from __future__ import annotations

import csv as csv_module
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from prime_audit.io.markup import code, csv_text, fenced, markdown_text, plain
from prime_audit.report import table as forms
from prime_audit.report.columns import FIGURES, LEGEND, PANEL, Shown
from prime_audit.report.risk import grade
from prime_audit.report.sheet import VULNERABLE, PanelRow, Sheet
from prime_audit.report.summary import summary
from prime_audit.report.table import Table
from prime_audit.report.views import (
    TaskView,
    glance,
    overview,
    panel,
    sharing,
    shown,
    views,
    with_records,
    with_worst,
)

if TYPE_CHECKING:
    from rich.console import Group as Rendered
    from rich.console import RenderableType

_STYLES = {
    "leaks": "bold red",
    "leaks, already in the base": "red",
    "leaks in a record, not board-wide": "red",
    "confounded": "yellow",
    "no leak found": "green",
}
"""Of verdicts, by their grade."""


def _style(text: str) -> str:
    """Return the style of a verdict, a game behind it left out; no style for other texts."""
    word = text.partition(" (")[0]
    return _STYLES.get(grade(word) if word.startswith("leaks") else word, "")


_TONES = {"good": "green", "bad": "red", "open": ""}
"""Of answers."""
SHARING = "what sharing leaks (game adapter), and what merging leaves of it (game heldout)"


def terminal(sheet: Sheet, width: int, *, details: bool = False, explain: bool = False) -> Rendered:
    """Draw a sheet for rich, at most ``width`` columns wide: the summary, then a table a task.

    ``details``: every figure, the control panels and what the figures rest on. ``explain``: what the columns and
    verdicts mean.
    """
    from rich.console import Group as Rendered
    from rich.text import Text

    parts: list[RenderableType] = [_summary(sheet), Text()]
    found = views(sheet)
    for view in found:
        if view.task in sheet.unable:
            parts += [Text(f"! {plain(sheet.unable[view.task])}", style="bold red"), Text()]
        main = overview(sheet, view)
        parts += [*forms.terminal(main, width, style=_style), Text()]
        if details:
            parts += [*_details(sheet, view, width)]
    judged = any(panel(sheet, view.task).labels for view in found)
    lines = [
        *(sheet.notes if details else ()),
        *(sheet.about[1:] if explain else ()),
        *(LEGEND if explain and judged else ()),
    ]
    return Rendered(
        *parts,
        *([Text(f"{VULNERABLE}:")] if sheet.vulnerable else []),
        *(Text(plain(f"  {line}")) for line in sheet.vulnerable),
        *(Text(line, style="dim") for line in lines),
        *(Text(f"✗ failed: {line}", style="bold red") for line in sheet.failures),
        *(Text(f"! {line}", style="yellow") for line in sheet.warnings),
    )


def _summary(sheet: Sheet) -> RenderableType:
    """Set each answer beside its name, as wide as the terminal is."""
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid.grid(padding=(0, 1))
    for answer in summary(sheet):
        style = _TONES[answer.tone]
        grid.add_row(Text(answer.about, style=f"bold {style}".strip()), Text(plain(answer.says)))
    return grid


def _details(sheet: Sheet, view: TaskView, width: int) -> Iterator[RenderableType]:
    """Yield a task's further tables: figures of its first game and attack, control panel, what sharing leaks."""
    from rich.text import Text

    group = view.groups[0] if view.groups else None
    main = view.table([*view.utility, *(group.columns if group else ())])
    tables = [replace(main, title="every figure")]
    if (rows := panel(sheet, view.task)).labels:
        tables.append(replace(_stacked(rows), title="control panel"))
    if (both := sharing(sheet, view.task)).labels:
        tables.append(replace(both, title=SHARING))
    for table in tables:
        yield from (*forms.terminal(table, width, style=_style), Text())


def _stacked(table: Table) -> Table:
    """Set a panel's attack below its game: a terminal holds no more columns."""
    cells = tuple(
        (replace(game, text=f"{game.text} {attack.text}"), *rest) for game, attack, *rest in table.cells
    )
    (_, *heads) = table.head
    return replace(table, head=(("", "game attack"), *heads[1:]), cells=cells)


def markdown(sheet: Sheet) -> str:
    """Return a Markdown page: every table with its reasons, how to read it, and the command that builds it again."""
    found = views(sheet)
    lines = [f"# {markdown_text(sheet.title)}", markdown_summary(sheet), *sheet.about[:1]]
    lines += [f"Model {code(sheet.model)}. To build this again:", fenced(sheet.command)]
    lines.append("![Utility against leakage](frontier.svg)")
    if len(found) > 1:
        lines += ["## At a glance", forms.markdown(glance(sheet, found), code)]
    for view in found:
        lines += [f"## {markdown_text(view.task)}", *_task(sheet, view)]
    lines += ["## How to read this", _bullets([*sheet.about[1:], *map(markdown_text, sheet.notes)])]
    if any(panel(sheet, view.task).labels for view in found):
        lines.append(_bullets(map(markdown_text, LEGEND)))
    if sheet.vulnerable:
        lines += [f"## {VULNERABLE}", _bullets(map(markdown_text, sheet.vulnerable))]
    for title, said in (("Failures", sheet.failures), ("Warnings", sheet.warnings)):
        lines += [f"## {title}", _bullets(map(markdown_text, said))] if said else []
    return "\n\n".join(filter(None, lines)) + "\n"


def markdown_summary(sheet: Sheet) -> str:
    """Return the summary as a list."""
    return _bullets(f"**{answer.about}.** {markdown_text(answer.says)}" for answer in summary(sheet))


def _task(sheet: Sheet, view: TaskView) -> Iterator[str]:
    """Yield a task's tables, each with its footnotes: of a run the first game, of a board every game and attack."""
    several = len(sheet.sources) > 1
    if view.task in sheet.unable:
        yield f"> **{markdown_text(sheet.unable[view.task])}**"
    group = view.groups[0] if view.groups and not several else None
    if group:
        yield f"AUC: game {code(str(group.game))}, attack {code(str(group.attack))}."
    main = with_worst(
        view.table([*view.utility, *((*group.columns, *group.controls) if group else ())]), sheet, view
    )
    yield from _noted(with_records(main, sheet, view.task) if several else main, code)
    for group in view.groups if several else ():
        yield f"### Leakage: game {code(str(group.game))}, attack {code(str(group.attack))}"
        yield from _noted(view.table([*group.columns, *group.controls]), code)
    if (judged := panel(sheet, view.task)).labels:
        yield "### Control panel"
        yield from _noted(judged)
    if (both := sharing(sheet, view.task)).labels:
        yield f"### {SHARING[0].upper()}{SHARING[1:]}"
        yield from _noted(both)


def _noted(table: Table, label: Callable[[str], str] = markdown_text) -> Iterator[str]:
    if table.labels:
        yield forms.markdown(table, label)
        yield _bullets(map(markdown_text, forms.footnotes(table)))


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def csv(sheet: Sheet) -> str:
    """Return every figure as one CSV row, in full precision; an AUC with its control panel.

    An empty field is a figure that does not apply; ``reason`` says why. Of several records the panels' values are
    joined by `` | ``, in the order of ``records``.
    """
    stream = io.StringIO()
    writer = csv_module.writer(stream, lineterminator="\n")
    writer.writerow([*_fields(), *_panel_fields()])
    for x in shown(sheet):
        values = fields_of(x).values()
        writer.writerow([csv_text(value) if isinstance(value, str) else value for value in values])
    return stream.getvalue()


def fields_of(x: Shown) -> dict[str, object]:
    """Return a figure's row of table.csv, by column; None where it does not apply."""
    own = {name: take(x) for name, take in _fields().items()}
    return own | {name: _joined([take(one) for one in x.panels]) for name, take in _panel_fields().items()}


def _fields() -> dict[str, Callable[[Shown], object]]:
    return {name: take for column in FIGURES for name, take in column.fields.items()}


def _panel_fields() -> dict[str, Callable[[PanelRow], object]]:
    return {name: take for column in PANEL for name, take in column.fields.items()}


def _joined(values: Sequence[object]) -> object:
    if len(values) < 2:
        return next(iter(values), None)
    return " | ".join("" if value is None else str(value) for value in values)


def as_json(sheet: Sheet) -> str:
    """Return the sheet as JSON, one figure a line; an AUC has a control panel for each record.

    ``panel`` names the entries of a control panel, in their order.
    """
    content = asdict(replace(sheet, figures=(), leaks=()))
    content = {
        "schema": "prime-audit/board/1",
        **content,
        "panel": ["record", *(of_panel := _panel_fields())],
    }
    del content["leaks"], content["figures"]
    figures = []
    for figure, panels in shown(sheet):
        own = [[x.source, *(take(x) for take in of_panel.values())] for x in panels]
        line = asdict(figure) | {"panels": own}
        figures.append(json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
    head = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    return head.removesuffix("\n}") + ',\n "figures": [\n' + ",\n".join(figures) + "\n]}\n"


def tex(sheet: Sheet) -> str:
    """Return the utility of every method on every task as a LaTeX table (booktabs)."""
    return f"% {plain(sheet.command)}\n{forms.latex(glance(sheet, views(sheet)))}\n"
