"""The table that runs, leaderboards and studies share, and its writers: terminal, Markdown, CSV, LaTeX.

A cell carries its interval and its reason, so every writer shows them. Whatever a text holds, it stays one cell.
"""

from __future__ import annotations

import csv as csv_module
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Literal

from prime_audit.io.markup import csv_text, interval, latex_text, markdown_text, number, plain
from prime_audit.record import failed

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

DECIMALS = 3
"""Of every figure, as in the paper."""
_LABEL, _TEXT = 18, 60
"""Most characters of a line of a label, and of a text, on the terminal."""
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Cell:
    """One entry of a table: a figure or a text."""

    value: float | None = None
    """The figure; None where there is none, or where the entry is a text."""
    ci: tuple[float, float] | None = None
    _: KW_ONLY
    error: float | None = None
    """Its standard error over repetitions, where it is a mean of several."""
    best: bool = False
    """Whether none of those it is compared with beats it, while some are beaten: bold."""
    signed: bool = False
    """Whether it is a difference, shown with its sign."""
    text: str | None = None
    """The entry where it is no figure."""
    reason: str | None = None
    """Why there is no figure, no interval, or this text."""
    mark: str = ""
    """Shown after a text, such as a dagger."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show, not even a reason."""
        return self.value is None and not self.text and self.reason is None


@dataclass(frozen=True)
class Linked(Cell):
    """A text made of links."""

    links: tuple[tuple[str, str], ...] = ()
    """(name, address) of each."""


@dataclass(frozen=True)
class Table:
    """Rows and columns, each with its labels."""

    title: str
    """What it is of; empty for the only one."""
    stub: tuple[str, ...]
    """Titles of the columns that label the rows."""
    head: tuple[tuple[str, str], ...]
    """(group, name) of each further column; a group may be empty."""
    labels: tuple[tuple[str, ...], ...]
    """Of each row, one a stub column."""
    cells: tuple[tuple[Cell, ...], ...]
    """[rows, columns]."""


def any_beaten(ranks: Sequence[tuple[int, int] | None]) -> bool:
    """Whether any figure of a column is beaten: where none is, no place says anything, and nothing is bold."""
    return any(rank is not None and rank[0] > 1 for rank in ranks)


def marked(cells: Sequence[Cell], ranks: Sequence[tuple[int, int] | None]) -> list[Cell]:
    """Mark the cells that no other beats, where any is beaten; ``ranks``: their places (``places``)."""
    if not any_beaten(ranks):
        return list(cells)
    return [replace(c, best=rank is not None and rank[0] == 1) for c, rank in zip(cells, ranks, strict=True)]


def shown(cell: Cell) -> str:
    """Return a cell as plain text, without its interval."""
    if cell.value is None:
        return plain(cell.text) + cell.mark if cell.text is not None else missing(cell.reason)
    return number(cell.value, cell.signed) + ("" if cell.error is None else f" ± {number(cell.error)}")


def missing(reason: str | None) -> str:
    """Say in a word why a figure is missing: computing it failed, it does not apply, or nothing is there."""
    return "–" if reason is None else "failed" if failed(reason) else "n/a"


def reasons(table: Table) -> list[str]:
    """List the distinct reasons in order of appearance; a footnote's number is its place, from 1."""
    return list(dict.fromkeys(c.reason for row in table.cells for c in row if c.reason))


def footnotes(table: Table) -> list[str]:
    """Return each reason behind its number."""
    return [f"{_mark(place)} {plain(reason)}" for place, reason in enumerate(reasons(table), start=1)]


def _mark(place: int) -> str:
    return str(place).translate(_SUPERSCRIPTS)


def _marked(cell: Cell, notes: Mapping[str, int]) -> str:
    return shown(cell) + (_mark(notes[cell.reason]) if cell.reason else "")


def _places(table: Table) -> Mapping[str, int]:
    return {reason: place for place, reason in enumerate(reasons(table), start=1)}


def column(head: tuple[str, str]) -> str:
    """Title of a column in one line."""
    return " ".join(filter(None, head))


def spared(labels: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Leave a label out where the row above has it too, but never a row's last."""
    kept_rows: list[tuple[str, ...]] = []
    before: Sequence[str | None] = [None] * len(labels[0]) if labels else []
    for own in labels:
        same = next((i for i, (a, b) in enumerate(zip(own, before, strict=True)) if a != b), len(own))
        kept = min(same, len(own) - 1)
        kept_rows.append(("",) * kept + own[kept:])
        before = own
    return kept_rows


def numeric(table: Table) -> list[bool]:
    """Whether each column holds figures; others hold texts."""
    return [
        any(row[i].value is not None for row in table.cells)
        or not any(row[i].text is not None for row in table.cells)
        for i in range(len(table.head))
    ]


# -- Markdown ----------------------------------------------------------------------------------------------


def markdown(table: Table, label: Callable[[str], str] = markdown_text) -> str:
    """Return a pipe table: best figures bold, reasons by number (``footnotes``)."""
    from tabulate import tabulate

    notes = _places(table)

    def show(cell: Cell) -> str:
        if isinstance(cell, Linked) and cell.links:
            return ", ".join(f"[{markdown_text(name)}]({href})" for name, href in cell.links)
        main = ("**{}**" if cell.best else "{}").format(markdown_text(_marked(cell, notes)))
        return f"{main} {interval(cell.ci, cell.signed)}".strip()

    rows = [
        [*(label(own) if own else "" for own in labels), *map(show, cells)]
        for labels, cells in zip(spared(table.labels), table.cells, strict=True)
    ]
    heads = [*map(markdown_text, table.stub), *(markdown_text(column(h)) for h in table.head)]
    align = ["left"] * len(table.stub) + ["right" if figures else "left" for figures in numeric(table)]
    return tabulate(rows, heads, tablefmt="pipe", disable_numparse=True, colalign=align)


# -- CSV ---------------------------------------------------------------------------------------------------


def csv(tables: Iterable[Table]) -> str:
    """Return the tables as CSV in full precision; those of one form under one header, an empty line between forms.

    A column is followed by the limits of its intervals, its standard errors and its reasons, where it has any.
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
                fields += [_extra(cell)[word] for word in more]
            writer.writerow(fields)
    return stream.getvalue()


def _extra(cell: Cell) -> dict[str, object]:
    low, high = cell.ci or (None, None)
    return {"low": low, "high": high, "standard error": cell.error, "reason": csv_text(cell.reason)}


def _extras(cells: Sequence[Cell]) -> list[str]:
    """Name the extra columns that a column needs."""
    found = [_extra(cell) for cell in cells]
    return [word for word in _extra(Cell()) if any(extra[word] is not None for extra in found)]


# -- LaTeX -------------------------------------------------------------------------------------------------


def latex(table: Table) -> str:
    """Return a ``tabular`` (package booktabs); intervals stand small below their figures."""
    styles = {False: "{}", True: "\\textbf{{{}}}"}
    align = "l" * len(table.stub) + "".join("r" if f else "p{0.55\\linewidth}" for f in numeric(table))
    lines = [f"\\begin{{tabular}}{{{align}}}", "\\toprule", *_latex_head(table), "\\midrule"]
    before: str | None = None
    for labels, own, cells in zip(table.labels, spared(table.labels), table.cells, strict=True):
        if before is not None and len(labels) > 1 and labels[0] != before:
            lines.append("\\addlinespace")
        before = labels[0]
        figures = [styles[cell.best].format(latex_text(shown(cell))) for cell in cells]
        lines.append(_latex_row([*map(latex_text, own), *figures]))
        if any(cell.ci for cell in cells):
            small = [f"{{\\tiny {latex_text(interval(c.ci, c.signed))}}}" if c.ci else "" for c in cells]
            lines.append(_latex_row([*[""] * len(table.stub), *small]))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _latex_head(table: Table) -> list[str]:
    names = _latex_row([*map(latex_text, table.stub), *(latex_text(name) for _, name in table.head)])
    if not any(group for group, _ in table.head):
        return [names]
    top, rules, at = [""] * len(table.stub), [], len(table.stub) + 1
    for places in groups(table):
        group, wide = table.head[places[0]][0], len(places)
        top.append(f"\\multicolumn{{{wide}}}{{c}}{{{latex_text(group)}}}")
        rules += [f"\\cmidrule(lr){{{at}-{at + wide - 1}}}"] if group else []
        at += wide
    return [_latex_row(top), "".join(rules), names]


def _latex_row(fields: Sequence[str]) -> str:
    return " & ".join(fields) + " \\\\"


# -- terminal ----------------------------------------------------------------------------------------------


def groups(table: Table) -> list[list[int]]:
    """Places of columns by group; columns without one are groups of their own."""
    found: list[list[int]] = []
    for i, (group, _) in enumerate(table.head):
        if found and group and table.head[found[-1][0]][0] == group:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def terminal(
    table: Table, width: int, *, intervals: bool = True, style: Callable[[str], str] = lambda _: ""
) -> list[RenderableType]:
    """Draw a table for rich; what is too wide for ``width`` continues in further blocks below.

    ``intervals``: short, below their figures. ``style``: text → rich's style, for instance of verdicts.
    """
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    figures, notes = numeric(table), _places(table)
    texts = [[(_marked(c, notes), _short(c) if intervals else "") for c in row] for row in table.cells]
    stubs = [_need(map(_pieces, own), _LABEL) for own in zip(table.stub, *table.labels, strict=True)]
    needs = [
        _need(
            (*(line.split(" ") for line in head), *_breakable([row[i] for row in texts], whole=figures[i])),
            0 if figures[i] else _TEXT,
        )
        for i, head in enumerate(table.head)
    ]
    drawn: list[RenderableType] = []
    for places in _blocks(groups(table), [least for least, _ in needs], width - sum(n + 1 for n, _ in stubs)):
        widths, gap = _fitted([*stubs, *(needs[i] for i in places)], width)
        grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, gap - 1, 0, 0), pad_edge=False)
        heads = [("", name) for name in table.stub] + [table.head[i] for i in places]
        align = [False] * len(stubs) + [figures[i] for i in places]
        for (group, name), own, right in zip(heads, widths, align, strict=True):
            lines = [_filled(line.split(" "), own, " ") for line in (group, name) if line]
            justify: Literal["left", "right"] = "right" if right else "left"
            grid.add_column(
                Text("\n".join(lines)), width=own, justify=justify, overflow="fold", vertical="top"
            )
        for labels, row, cells in zip(spared(table.labels), texts, table.cells, strict=True):
            own_labels = [Text(_filled(_pieces(o), w)) for o, w in zip(labels, widths, strict=False)]
            grid.add_row(*own_labels, *(_drawn(cells[i], *row[i], style) for i in places))
        drawn += [grid, Text()]
    title = [Text(plain(table.title), style="bold")] if table.title else []  # may be wider than the table
    return [*title, *drawn[:-1], *(Text(note, style="dim") for note in footnotes(table))]


def _drawn(cell: Cell, main: str, below: str, style: Callable[[str], str]) -> Text:
    from rich.text import Text

    own = "bold" if cell.best else style(cell.text or "")
    return Text.assemble((main, own), (f"\n{below}" if below else "", "dim"))


def _breakable(entries: Iterable[tuple[str, str]], *, whole: bool) -> Iterator[Sequence[str]]:
    """Yield every line of a column's entries, cut where it may break: a figure stays whole."""
    for main, below in entries:
        yield [main] if whole else main.split(" ")
        yield [below]


def _need(lines: Iterable[Sequence[str]], most: int) -> tuple[int, int]:
    """Fewest characters that lines of these pieces need, and as many as they can use; longer than _TEXT are folded."""
    least, whole = 1, 1
    for pieces in lines:
        least = max(least, *(len(piece.strip()) for piece in pieces))
        whole = max(whole, sum(map(len, pieces)) + len(pieces) - 1)
    least = min(least, most or _TEXT)
    return least, max(least, min(whole, most))


def _fitted(needs: Sequence[tuple[int, int]], width: int) -> tuple[list[int], int]:
    """Give columns what they need of ``width`` -> their widths, and the space between them: two where it fits."""
    widths = [least for least, _ in needs]
    gap = 2 if sum(widths) + 2 * len(needs) <= width else 1
    room = width - sum(widths) - gap * (len(needs) - 1)
    while room > 0 and (able := [i for i, (_, whole) in enumerate(needs) if widths[i] < whole]):
        for i in able[:room]:
            widths[i] += 1
        room -= len(able)
    return widths, gap


def _pieces(label: str) -> list[str]:
    """Cut a label where it may break: a long one after its parameters, before its suffixes; a short one nowhere."""
    whole = plain(label)
    return [whole] if len(whole) <= _LABEL else re.split(r"(?<=[,:])|(?=\+)|(?<= )", whole)


def _filled(pieces: Sequence[str], width: int, between: str = "") -> str:
    lines = [""]
    for piece in pieces:
        if lines[-1] and len(lines[-1]) + len(between) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += (between if lines[-1] else "") + piece
    return "\n".join(lines)


def _blocks(found: Sequence[Sequence[int]], least: Sequence[int], room: int) -> list[list[int]]:
    """Cut the columns into blocks that fit, between groups where that can be."""
    blocks: list[list[int]] = [[]]
    for group in found:
        if blocks[-1] and sum(least[i] + 1 for i in (*blocks[-1], *group)) > room:
            blocks.append([])
        for i in group:  # a group too wide for any block is cut all the same
            if blocks[-1] and sum(least[j] + 1 for j in (*blocks[-1], i)) > room:
                blocks.append([])
            blocks[-1].append(i)
    return blocks


def _short(cell: Cell) -> str:
    """``[.541, .622]`` below a figure, ``[−.021, +.083]`` below a difference; two decimals from 1 on."""
    if cell.ci is None:
        return ""
    if max(map(abs, cell.ci)) < 1:
        low, high = (number(x, cell.signed).replace("0.", ".", 1) for x in cell.ci)
    else:
        low, high = (f"{x:{'+' if cell.signed else ''}.2f}".replace("-", "−") for x in cell.ci)
    return f"[{low}, {high}]"
