"""``prime-audit study``: the paper's tables and figures, one command each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prime_audit.commands import completing
from prime_audit.commands.options import json_option, with_cache, with_study
from prime_audit.io.terminal import console, draw, print_table, say

if TYPE_CHECKING:
    from prime_audit.studies.run import Finished

SHOWN = 30
"""Most tests that are printed; of more, those that remain after Holm's correction."""


@click.command()
@click.argument("name", required=False, shell_complete=completing.study)
@click.option("--list", "listing", is_flag=True, help="List the studies, each with what it answers.")
@with_study
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: studies/NAME-TIME]")
@with_cache
@json_option
def study(
    name: str | None,
    listing: bool,
    models: tuple[str, ...],
    cache: Path | None,
    no_cache: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run a study: one table or figure of the paper, with intervals and paired tests.

    Methods and games are the study's; every other word is compare's.
    """
    from prime_audit.errors import UserError

    if listing:
        rows = listed()
        if as_json:
            say(json.dumps(rows, indent=2, ensure_ascii=False))
        else:
            print_table([list(row.values()) for row in rows], list(rows[0]))
        return
    if name is None:
        raise UserError("study: name one; prime-audit study --list shows them")
    from prime_audit.studies.run import study as run

    kept = None if no_cache else (cache or "default")
    show(run(name, models=models, cache=kept, **options), as_json)


def listed() -> list[dict[str, str]]:
    """List the studies."""
    from prime_audit.studies.catalog import STUDIES

    return [{"study": s.name, "answers": s.answers, "what": s.title} for s in STUDIES.values()]


def show(finished: Finished, as_json: bool) -> None:
    """Print a study's tables and tests and say where its files are, or its ``study.json``."""
    from rich.console import Group
    from rich.text import Text

    from prime_audit.report.table import terminal
    from prime_audit.studies.run import test_table

    if as_json:
        say(json.dumps(finished.content, ensure_ascii=False))
        return
    report = finished.report
    say(f"{finished.study.title} ({finished.study.answers})\n")
    width = console().width
    for table in report.tables:
        draw(Group(*terminal(table, width, intervals=False), Text()))
    few = report.tests if len(report.tests) <= SHOWN else [t for t in report.tests if t.p_adjusted <= 0.05]
    if few:
        draw(Group(*terminal(test_table(few), width), Text()))
    if left := len(report.tests) - len(few):
        say(f"{left} more tests, none of them at .05 after Holm's correction, are in table.md")
    say(f"Everything in {finished.path}: study.json, table.md, table.tex, figure.svg")
