"""A task's table in plain HTML: what a reader without JavaScript sees, and the script sorts and filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from prime_audit.io.markup import interval
from prime_audit.report.columns import SHOWN
from prime_audit.report.page_data import on_page
from prime_audit.report.sheet import Sheet
from prime_audit.report.table import Cell, shown
from prime_audit.report.views import WORST, Placed, TaskView, worst_cells

Href = Callable[[Sequence[str]], str | None]
"""Ids of records -> the address that a figure links to; None for none."""


def section(place: int, view: TaskView, sheet: Sheet, href: Href) -> str:
    """Return one task's section: heading, table, and the reasons for missing figures as footnotes.

    The leakage shown is that of the view's first game and attack.
    """
    unable, worst = sheet.unable.get(view.task), worst_cells(sheet, view)
    group = view.groups[0] if view.groups else None
    columns = on_page([*view.utility, *(group.columns if group else ())])
    rows = range(len(view.methods))
    reasons = list(dict.fromkeys(c.cells[i].reason for i in rows for c in columns if is_figure(c)))
    known = [reason for reason in reasons if reason]
    heads = "".join(
        f'<th scope="col">{escape(title)}</th>'
        for title in ["method", *([WORST] if worst else []), *(c.title for c in columns)]
    )
    body = "\n".join(_row(view.methods[i], worst[i : i + 1], i, columns, known, href) for i in rows)
    notes = "".join(f"<li>{escape(reason)}</li>" for reason in known)
    says = (
        f'<noscript><p class="small">{escape(group.note.says)}</p></noscript>\n'
        if group and group.note.says
        else ""
    )
    task = escape(view.task)
    first = f'<p class="unable" role="note">{escape(unable)}</p>\n' if unable else ""
    leakage = f"; leakage: game {group.game}, attack {group.attack}" if group and group.game else ""
    return (
        f'<section class="task" id="task-{place}" aria-label="{task}">\n<h2>{task}</h2>\n{first}{says}'
        f'<div class="scroll" role="region" aria-label="Table of {task}" tabindex="0">\n<table>\n'
        f"<caption>{escape(view.task + leakage)}</caption>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>\n"
        f'<ol class="footnotes">{notes}</ol>\n{_verdicts(view, columns)}\n</section>'
    )


def _verdicts(view: TaskView, columns: Sequence[Placed]) -> str:
    """List the reasons of texts, a line for the methods that share one."""
    found: dict[tuple[str, str], list[str]] = {}
    for c in columns:
        for method, cell in zip(view.methods, c.cells, strict=True):
            if not is_figure(c) and cell.reason:
                found.setdefault((shown(cell), cell.reason), []).append(method)
    said = (f"{', '.join(methods)}: {word}. {why}" for (word, why), methods in found.items())
    lines = "".join(f"<li>{escape(line)}</li>" for line in said)
    hidden = "" if found else " hidden"
    return f'<details class="reasons"{hidden}><summary>Why these verdicts</summary><ul>{lines}</ul></details>'


def is_figure(column: Placed) -> bool:
    """Whether a column holds figures, whose reasons are footnotes; those of verdicts are listed apart."""
    return column.column in (SHOWN["value"], SHOWN["difference"])


def _row(
    method: str,
    worst: Sequence[Cell],
    place: int,
    columns: Sequence[Placed],
    reasons: Sequence[str],
    href: Href,
) -> str:
    cells = [f'<td class="word"><span class="v">{escape(shown(cell))}</span></td>' for cell in worst]
    for c in columns:
        cell, figure = c.cells[place], c.figures[place]
        if not is_figure(c):
            cells.append(f'<td class="word"><span class="v">{escape(shown(cell))}</span></td>')
            continue
        address = href(figure.figure.sources) if figure else None
        rank = figure.figure.rank if figure and c.column is SHOWN["value"] else None
        cells.append(f"<td>{_figure(cell, rank, reasons, address)}</td>")
    return f'<tr><th scope="row">{escape(method)}</th>{"".join(cells)}</tr>'


def _figure(cell: Cell, rank: tuple[int, int] | None, reasons: Sequence[str], address: str | None) -> str:
    main = f'<span class="v">{shown(cell)}</span>'
    if address:
        main = f'<a href="{escape(address)}">{main}</a>'
    if cell.reason:
        main += f"<sup>{reasons.index(cell.reason) + 1}</sup>"
    if rank:
        best, worst = rank
        main += f'<span class="rank">{best if best == worst else f"{best}–{worst}"}.</span>'
    if cell.ci and cell.value is not None:
        main += f'<span class="ci">{interval(cell.ci, cell.signed)}</span>'
    return main
