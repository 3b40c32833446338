"""The one door to the terminal: no text from data can control it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from prime_audit.io.log import LOG
from prime_audit.io.markup import visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

WIDTH = 100
"""Characters of a line if the output is no terminal and COLUMNS does not say."""
_LONGEST = 2000
"""Characters of an error's line; a longer one loses its middle, because its end says what to do."""


def say(text: str, err: bool = False) -> None:
    """Print lines of text, or JSON. Control characters become ``\\u001b``, as in JSON."""
    click.echo(visible(text), err=err)
    if err:
        LOG.info(visible(text))


def error_line(message: str) -> str:
    """Put an error's message on one line of limited length."""
    line = visible(" ".join(message.split()))
    half = _LONGEST // 2
    return line if len(line) <= _LONGEST else f"{line[:half]} … {line[-half:]}"


def console() -> Console:
    """Return rich's console for standard output."""
    from rich.console import Console

    asked = os.environ.get("COLUMNS", "")
    if sys.stdout.isatty() or not asked.isdecimal() or not int(asked):
        return Console(width=None if sys.stdout.isatty() else WIDTH)
    return Console(width=int(asked))


def draw(drawn: RenderableType) -> None:
    """Print what rich draws: tables, texts, groups."""
    console().print(_Harmless(drawn), markup=False)


def print_table(rows: list[list[Any]], headers: list[str], *, cards: bool = False) -> None:
    """Print rows as a table; with ``cards``, where a line is too short for it, each row as a card.

    A card has the first cell on its own line, and below it each other cell behind its header.
    """
    from rich import box
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    table, screen = Table(box=box.SIMPLE_HEAD, pad_edge=False), console()
    for header in headers:
        table.add_column(Text(visible(header)), no_wrap=cards)
    for row in rows:
        table.add_row(*(Text(visible(str(cell))) for cell in row))
    endless = screen.options.update(max_width=1 << 20)
    if cards and Measurement.get(screen, endless, table).maximum > screen.width:
        for name, *cells in rows:
            pairs = [f"{header} {cell}" for header, cell in zip(headers[1:], cells, strict=True)]
            say("\n".join([str(name), *_lines(pairs, screen.width), ""]))
    else:
        draw(table)


def _lines(words: list[str], width: int) -> list[str]:
    """Join words with gaps into indented lines of at most ``width`` cells, where a word is not longer."""
    from rich.cells import cell_len

    lines: list[str] = []
    for word in words:
        if lines and cell_len(f"{lines[-1]}  {word}") <= width:
            lines[-1] += f"  {word}"
        else:
            lines.append(f"  {word}")
    return lines


class _Harmless:
    """Something drawn, with every control character replaced; rich's own colours stay."""

    def __init__(self, drawn: RenderableType) -> None:
        self._drawn = drawn

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        for text, style, control in console.render(self._drawn, options):
            yield Segment(text if control else visible(text), style, control)
