"""A task's table in plain HTML: what a reader without JavaScript sees, and the script puts in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from html import escape

from prime_audit.io.markup import number
from prime_audit.record import FAILED
from prime_audit.report.columns import Column, Group, TaskView
from prime_audit.report.page_text import thousandths
from prime_audit.report.sheet import Figure, Judged

Href = Callable[[Sequence[str]], str | None]
"""Ids of records -> the address that a figure links to; None for none."""


def section(place: int, view: TaskView, href: Href) -> str:
    """Return one task's section: heading, table, and the reasons for missing figures as footnotes.

    The leakage shown is that of the view's first game and attack.
    """
    group = view.groups[0] if view.groups else None
    columns = [*view.utility, *(group.columns if group else ())]
    found = (_reason(c, i) for i in range(len(view.methods)) for c in columns)
    reasons = list(dict.fromkeys(reason for reason in found if reason))
    heads = "".join(f'<th scope="col">{escape(title)}</th>' for title in ["method", *_titles(columns, group)])
    rows = "\n".join(_row(view, i, columns, group, reasons, href) for i in range(len(view.methods)))
    notes = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    says = (
        f'<noscript><p class="small">{escape(group.note.says)}</p></noscript>\n'
        if group and group.note.says
        else ""
    )
    task = escape(view.task)
    return (
        f'<section class="task" id="task-{place}" aria-label="{task}">\n<h2>{task}</h2>\n{says}'
        f'<div class="scroll" role="region" aria-label="Table of {task}" tabindex="0">\n<table>\n'
        f"<caption>{escape(_caption(view, group))}</caption>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n"
        f'<ol class="footnotes">{notes}</ol>\n</section>'
    )


def _caption(view: TaskView, group: Group | None) -> str:
    leakage = f"; leakage: game {group.game}, attack {group.attack}" if group and group.game else ""
    return view.task + leakage


def _titles(columns: Sequence[Column], group: Group | None) -> list[str]:
    return [c.title for c in columns] + ["verdict"] * _judged(group)


def _judged(group: Group | None) -> bool:
    return group is not None and any(group.leaks)


def _row(
    view: TaskView,
    place: int,
    columns: Sequence[Column],
    group: Group | None,
    reasons: Sequence[str],
    href: Href,
) -> str:
    cells = [f"<td>{_cell(c, place, reasons, href)}</td>" for c in columns]
    if group and _judged(group):
        cells.append(f'<td class="word"><span class="v">{escape(_verdict(group.leaks[place]))}</span></td>')
    return f'<tr><th scope="row">{escape(view.methods[place])}</th>{"".join(cells)}</tr>'


def _verdict(panel: Sequence[Judged]) -> str:
    """Write the verdicts of one or several records: leaks, or leaks 2/3, confounded 1/3."""
    counted = Counter(judged.leak.verdict for judged in panel)
    several = len(counted) > 1
    said = [f"{word} {n}/{len(panel)}" if several else word for word, n in counted.most_common()]
    return ", ".join(said) or "—"


def _figure(column: Column, place: int) -> tuple[Figure | None, float | None, tuple[float, float] | None]:
    """Return a cell, what its column shows of it, and the interval of that."""
    f = column.cells[place]
    if f is None:
        return None, None, None
    return (f, f.difference, f.difference_ci) if column.compared else (f, f.value, f.ci)


def _reason(column: Column, place: int) -> str | None:
    """Return why there is no figure or no interval; None where both are there."""
    f, value, ci = _figure(column, place)
    return f.reason if f and (value is None or ci is None) else None


def _cell(column: Column, place: int, reasons: Sequence[str], href: Href) -> str:
    f, value, ci = _figure(column, place)
    reason, address = _reason(column, place), href(f.sources) if f else None
    failed = value is None and reason is not None and reason.startswith(FAILED)
    text = "failed" if failed else "—" if value is None else _number(value, column)
    main = f'<span class="v">{text}</span>'
    if address:
        main = f'<a href="{escape(address)}">{main}</a>'
    if reason:
        main += f"<sup>{reasons.index(reason) + 1}</sup>"
    if f and f.rank and not column.compared:
        best, worst = f.rank
        main += f'<span class="rank">{best if best == worst else f"{best}–{worst}"}.</span>'
    if ci and value is not None:
        limits = ", ".join(_number(x, column) for x in ci)
        main += f'<span class="ci">[{limits}]</span>'
    return main


def _number(value: float, column: Column) -> str:
    """Write a figure as the page's script does, from its thousandths."""
    return number((thousandths(value) or 0) / 1000, column.compared)
