"""What several commands print: help, results, and how a run with failures ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from prime_audit.io.terminal import console, draw, print_table, say

if TYPE_CHECKING:
    from prime_audit.folder import Run

Command = TypeVar("Command", bound=click.Command)
PATH = click.Path(path_type=Path)
"""The type of an option or argument that is a file or folder."""
SOME_FAILED = 3
"""Exit code: a part of the run failed; the other results are there (``failures`` of the record)."""


def about(short: str, *lines: str) -> Callable[[Command], Command]:
    """Give a command its line in lists of commands, and commands to copy at the end of its help."""

    def describe(command: Command) -> Command:
        head = "Example:" if len(lines) == 1 else "Examples:"
        command.short_help = short
        command.epilog = "\b\n" + "\n".join([head, *(f"  prime-audit {line}" for line in lines)])
        return command

    return describe


def exit_if_failed(run: Run) -> None:
    """End with exit code 3 where a part of the run failed."""
    if run.record.failures:
        sys.exit(SOME_FAILED)


def show_run(run: Run, as_json: bool, *, details: bool, explain: bool) -> None:
    """Print a run's summary and tables and the place of its files, or its record as JSON.

    ``details`` and ``explain``: those of :func:`prime_audit.report.text.terminal`.
    """
    if as_json:
        say(json.dumps(run.record.to_json(), ensure_ascii=False))
        return
    from rich.text import Text

    from prime_audit.report.from_record import sheet_of
    from prime_audit.report.text import terminal

    draw(terminal(sheet_of(run.record, "run"), console().width, details=details, explain=explain))
    if not (details and explain):
        draw(Text("--details: every figure and control; --explain: what they mean", style="dim"))
    more = ", failures/" if any(failure.file for failure in run.record.failures) else ""
    draw(Text(f"Everything in {run.path}: record.json, index.html, table.md, frontier.svg{more}"))


def show_rows(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Print rows as a table, or as JSON."""
    if as_json:
        say(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        print_table([list(row.values()) for row in rows], list(rows[0]) if rows else [])


def cache_of(cache: Path | None) -> Path:
    """Return the folder that ``--cache`` names, by default the user's own."""
    from prime_audit.community.store import default_cache

    return cache or default_cache()
