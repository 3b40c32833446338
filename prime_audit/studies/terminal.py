"""Tables of studies on the terminal; a wide table is split into several blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from prime_audit.io.markup import plain
from prime_audit.io.terminal import console, draw
from prime_audit.studies.tables import Table, interval, numeric, remarks, shown, spared

_TEXT = 24
"""Characters of a line that a column of texts needs."""
_GAP = 2
"""Characters between columns."""


def show_table(table: Table, *, intervals: bool = False) -> None:
    """Print a table; ``intervals``: after their numbers."""
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    width = console().width
    cells = [[f"{shown(c)} {interval(c) if intervals else ''}".strip() for c in row] for row in table.cells]
    figures, labels = numeric(table), [[*map(plain, own)] for own in spared(table.labels)]
    for columns in _blocks(table, cells, width):
        grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
        if table.title:
            grid.title, grid.title_justify, grid.title_style = Text(plain(table.title)), "left", "bold"
        for name in table.stub:
            grid.add_column(Text(f"\n{name}"), overflow="fold")
        for i in columns:
            head = Text("\n".join(table.head[i]))
            justify: Literal["left", "right"] = "right" if figures[i] else "left"
            grid.add_column(head, justify=justify, overflow="fold", no_wrap=figures[i])
        for own, row in zip(labels, cells, strict=True):
            grid.add_row(*map(Text, own), *(Text(row[i]) for i in columns))
        draw(grid)
        draw(Text())
    for remark in remarks(table):
        draw(Text(remark, style="dim"))


def _blocks(table: Table, cells: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Split the columns into blocks that fit, between groups where possible."""
    room = width - sum(
        _GAP + min(_TEXT, max(map(len, own))) for own in zip(table.stub, *table.labels, strict=True)
    )
    blocks: list[list[int]] = [[]]
    for group in _groups(table):
        if blocks[-1] and sum(_wide(table, cells, i) for i in (*blocks[-1], *group)) > room:
            blocks.append([])
        for i in group:  # a group too wide for any block is split too
            if blocks[-1] and sum(_wide(table, cells, j) for j in (*blocks[-1], i)) > room:
                blocks.append([])
            blocks[-1].append(i)
    return blocks


def _groups(table: Table) -> list[list[int]]:
    """Positions of columns by group; columns without one are groups of their own."""
    groups: list[list[int]] = []
    for i, (group, _) in enumerate(table.head):
        if groups and group and table.head[groups[-1][0]][0] == group:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _wide(table: Table, cells: Sequence[Sequence[str]], i: int) -> int:
    return _GAP + min(_TEXT, max(len(text) for text in (*table.head[i], *(row[i] for row in cells))))
