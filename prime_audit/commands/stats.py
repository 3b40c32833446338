"""``prime-audit stats``."""

from __future__ import annotations

from inspect import cleandoc
from pathlib import Path

import click

from prime_audit.commands.options import shared
from prime_audit.commands.printing import PATH, about
from prime_audit.io.terminal import print_table, say
from prime_audit.scores.columns import COLUMNS


@about(
    "Audit membership scores in a CSV, JSON or Parquet file.",
    "stats scores.csv",
    "stats losses.csv --columns score=-loss,member=label,sharer=user",
    "stats wide.parquet --columns score=minkp+zlib+ref",
    "stats runs/first/scores.jsonl --json",
)
@click.command()
@click.argument("scores", type=PATH)
@click.option(
    "--columns",
    metavar="ROLE=COLUMN,…",
    help="Which of the file's columns is which. score=A+B reads a column for each attack; score=-A turns the sign.",
)
@shared("seed", "plugin", "json")
def command(scores: Path, columns: str | None, seed: int, plugins: tuple[Path, ...], as_json: bool) -> None:
    """Compute AUC, intervals, TPR, p-values and ε from membership scores of any tool.

    SCORES is a table with one row per scored item: CSV, TSV, JSON Lines, a JSON list or Parquet, also compressed (.gz,
    .bz2, .xz). These columns are read:
    """
    from prime_audit.scores.report import describe_scores

    report = describe_scores(scores, seed, plugins=plugins, columns=columns)
    if as_json:
        say(report.to_json())
        return
    print_table([list(row) for row in report.rows()], list(report.headers()), cards=True)
    for note in report.notes():
        say(note)


command.help = "\n\n".join(
    [cleandoc(command.help or ""), *(f"{column.name} ({column.holds}): {column.says}" for column in COLUMNS)]
)
