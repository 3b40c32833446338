"""Tables in the paper's form: Markdown, CSV and LaTeX. All cell contents are escaped."""

from __future__ import annotations

import csv as csv_module
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from prime_audit.io.markup import csv_text, latex_text, markdown_text, number, plain
from prime_audit.io.markup import interval as limits

DECIMALS = 3
"""Decimals of every result, as in the paper."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a number or a text."""

    value: float | None = None
    """The number; None where there is none, or where the cell is a text."""
    ci: tuple[float, float] | None = None
    """Its interval."""
    error: float | None = None
    """Its standard error over repetitions, if it is a mean of several."""
    rank: int = 0
    """1 for the best of its comparison, 2 for the second best, else 0; as displayed."""
    signed: bool = False
    """Whether it is a difference, shown with its sign."""
    text: str | None = None
    """The text of a cell without number."""
    reason: str | None = None
    """Why there is no number, or no interval."""


@dataclass(frozen=True)
class Table:
    """Rows and columns, each with its labels."""

    title: str
    """Its title; empty if it is the only one."""
    stub: tuple[str, ...]
    """Titles of the columns that label the rows."""
    head: tuple[tuple[str, str], ...]
    """(group, name) of each further column; a group may be empty."""
    labels: tuple[tuple[str, ...], ...]
    """For each row, one text per stub column."""
    cells: tuple[tuple[Cell, ...], ...]
    """[rows, columns]."""


def ranked(cells: Sequence[Cell], higher_is_better: bool | None) -> list[Cell]:
    """Mark the best and the second best as displayed; none without an order or a contest."""
    values = {round(c.value, DECIMALS) for c in cells if c.value is not None}
    if higher_is_better is None or len(values) < 2:
        return list(cells)
    first, second = sorted(values, reverse=higher_is_better)[:2]
    places = {first: 1, second: 2}
    return [c if c.value is None else replace(c, rank=places.get(round(c.value, DECIMALS), 0)) for c in cells]


def shown(cell: Cell) -> str:
    """Return a cell as plain text, without its interval."""
    if cell.value is None:
        return plain(cell.text) if cell.text is not None else "n/a" if cell.reason else "–"
    return number(cell.value, cell.signed) + ("" if cell.error is None else f" ± {number(cell.error)}")


def interval(cell: Cell) -> str:
    """Return a cell's interval as plain text; empty where it has none."""
    return limits(cell.ci, cell.signed)


def remarks(table: Table) -> list[str]:
    """List why numbers or intervals are missing, each reason once."""
    cells = [c for row in table.cells for c in row if c.reason]
    return list(
        dict.fromkeys(
            f"{'n/a' if c.value is None else 'no interval'}: {plain(c.reason or '')}" for c in cells
        )
    )


def column(head: tuple[str, str]) -> str:
    """Title of a column in one line."""
    return " ".join(filter(None, head))


# -- Markdown ----------------------------------------------------------------------------------------------


def markdown(table: Table) -> str:
    """Return a pipe table: the best number bold, the second best underlined, intervals after their numbers."""
    from tabulate import tabulate

    styles = {0: "{}", 1: "**{}**", 2: "<u>{}</u>"}

    def show(cell: Cell) -> str:
        main = styles[cell.rank].format(markdown_text(shown(cell)))
        return f"{main} {interval(cell)}".strip()

    rows = [
        [*map(markdown_text, labels), *map(show, cells)]
        for labels, cells in zip(spared(table.labels), table.cells, strict=True)
    ]
    heads = [*map(markdown_text, table.stub), *(markdown_text(column(h)) for h in table.head)]
    align = ["left"] * len(table.stub) + ["right" if figures else "left" for figures in numeric(table)]
    return tabulate(rows, heads, tablefmt="pipe", disable_numparse=True, colalign=align)


def spared(labels: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Leave a label out where the row above has the same, but never a row's last."""
    kept_rows: list[tuple[str, ...]] = []
    before: Sequence[str | None] = [None] * len(labels[0]) if labels else []
    for own in labels:
        same = next((i for i, (a, b) in enumerate(zip(own, before, strict=True)) if a != b), len(own))
        kept = min(same, len(own) - 1)
        kept_rows.append(("",) * kept + own[kept:])
        before = own
    return kept_rows


def numeric(table: Table) -> list[bool]:
    """Return for each column whether it contains numbers or texts."""
    return [any(row[i].value is not None for row in table.cells) for i in range(len(table.head))]


# -- CSV ---------------------------------------------------------------------------------------------------


def csv(tables: Iterable[Table]) -> str:
    """Return the tables as CSV in full precision, with one header per form and an empty line between forms.

    Limits of intervals and standard errors follow their column, if it has any.
    """
    stream = io.StringIO()
    writer = csv_module.writer(stream, lineterminator="\n")
    header: list[str] | None = None
    for table in tables:
        extras = [_extras([row[i] for row in table.cells]) for i in range(len(table.head))]
        own = ["table", *table.stub]
        for head, more in zip(table.head, extras, strict=True):
            own += [column(head), *(f"{column(head)} {word}" for word in more)]
        if own != header:
            if header is not None:
                writer.writerow([])
            writer.writerow(own)
            header = own
        for labels, cells in zip(table.labels, table.cells, strict=True):
            fields: list[object] = [*map(csv_text, (table.title, *labels))]
            for cell, more in zip(cells, extras, strict=True):
                fields.append(csv_text(cell.text) if cell.value is None else cell.value)
                low, high = cell.ci or (None, None)
                fields += [{"low": low, "high": high, "standard error": cell.error}[word] for word in more]
            writer.writerow(fields)
    return stream.getvalue()


def _extras(cells: Sequence[Cell]) -> list[str]:
    """Name the extra columns of a column's numbers."""
    limits = ["low", "high"] * any(c.ci for c in cells)
    return limits + ["standard error"] * any(c.error is not None for c in cells)


# -- LaTeX -------------------------------------------------------------------------------------------------


def latex(table: Table) -> str:
    """Return a ``tabular`` (package booktabs); intervals are small, below their numbers."""
    figures = numeric(table)
    align = "l" * len(table.stub) + "".join("r" if f else "p{0.55\\linewidth}" for f in figures)
    lines = [f"\\begin{{tabular}}{{{align}}}", "\\toprule", *_latex_head(table), "\\midrule"]
    before: str | None = None
    for labels, own, cells in zip(table.labels, spared(table.labels), table.cells, strict=True):
        if before is not None and len(labels) > 1 and labels[0] != before:
            lines.append("\\addlinespace")
        before = labels[0]
        lines.append(_latex_row([*map(latex_text, own), *map(_latex_cell, cells)]))
        if any(cell.ci for cell in cells):
            small = [f"{{\\tiny {latex_text(interval(c))}}}" if c.ci else "" for c in cells]
            lines.append(_latex_row([*[""] * len(table.stub), *small]))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _latex_head(table: Table) -> list[str]:
    names = _latex_row([*map(latex_text, table.stub), *(latex_text(name) for _, name in table.head)])
    if not any(group for group, _ in table.head):
        return [names]
    spans: list[tuple[str, int]] = []
    for group, _ in table.head:
        if spans and spans[-1][0] == group:
            spans[-1] = (group, spans[-1][1] + 1)
        else:
            spans.append((group, 1))
    top, rules, at = [""] * len(table.stub), [], len(table.stub) + 1
    for group, wide in spans:
        top.append(f"\\multicolumn{{{wide}}}{{c}}{{{latex_text(group)}}}")
        rules += [f"\\cmidrule(lr){{{at}-{at + wide - 1}}}"] if group else []
        at += wide
    return [_latex_row(top), "".join(rules), names]


def _latex_cell(cell: Cell) -> str:
    styles = {0: "{}", 1: "\\textbf{{{}}}", 2: "\\underline{{{}}}"}
    return styles[cell.rank].format(latex_text(shown(cell)))


def _latex_row(fields: Sequence[str]) -> str:
    return " & ".join(fields) + " \\\\"
