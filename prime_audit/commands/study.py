"""``prime-audit study``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prime_audit.commands import completing
from prime_audit.commands.list import studies
from prime_audit.commands.options import run_options, share_cores, talk_options
from prime_audit.commands.printing import about, cache_of, show_rows
from prime_audit.errors import UserError
from prime_audit.io.terminal import console, draw, say

if TYPE_CHECKING:
    from prime_audit.studies.run import Finished

SHOWN = 30
"""The most tests that are printed; of more, those that are significant after Holm's correction."""


@about("Run a study: one table or figure of the paper.", "study --list", "study tradeoff --tasks LaMP-2")
@click.command()
@click.argument("name", required=False, shell_complete=completing.study)
@click.option("--list", "listing", is_flag=True, help="List the studies, each with what it answers.")
@run_options("study")
@talk_options
def command(
    name: str | None, listing: bool, cache: Path | None, no_cache: bool, as_json: bool, **options: Any
) -> None:
    """Run a study: one table or figure of the paper, with intervals and paired tests.

    The study decides methods and games; all other options are those of compare.
    """
    if listing:
        show_rows(studies(), as_json)
        return
    if name is None:
        raise UserError("study: name one; prime-audit study --list shows them")
    from prime_audit.api import study

    share_cores(options["threads"])
    show(study(name, cache=None if no_cache else cache_of(cache), **options), as_json)


def show(finished: Finished, as_json: bool) -> None:
    """Print a study's tables and tests and the place of its files, or its ``study.json``."""
    from rich.console import Group
    from rich.text import Text

    from prime_audit.report.table import terminal
    from prime_audit.studies.run import tabulated

    if as_json:
        say(json.dumps(finished.content, ensure_ascii=False))
        return
    report = finished.report
    say(f"{finished.study.title} ({finished.study.answers})\n")
    width = console().width
    for table in report.tables:
        draw(Group(*terminal(table, width, intervals=False), Text()))
    few = (
        report.tests
        if len(report.tests) <= SHOWN
        else [t for t in report.tests if t.p_adjusted is not None and t.p_adjusted <= 0.05]
    )
    if few:
        draw(Group(*terminal(tabulated(few), width), Text()))
    if left := len(report.tests) - len(few):
        say(f"{left} more tests in table.md, none significant at .05 after Holm's correction")
    say(f"Everything in {finished.path}: study.json, table.md, table.tex, figure.svg")
