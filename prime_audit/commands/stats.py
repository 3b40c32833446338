"""``prime-audit stats``."""

from __future__ import annotations

from pathlib import Path

import click

from prime_audit.commands.options import shared
from prime_audit.commands.printing import PATH, about
from prime_audit.io.terminal import print_table, say


@about(
    "Audit membership scores from a CSV or JSONL file.",
    "stats scores.csv",
    "stats runs/first/scores.jsonl --json",
)
@click.command()
@click.argument("scores", type=PATH)
@shared("seed", "plugin", "json")
def command(scores: Path, seed: int, plugins: tuple[Path, ...], as_json: bool) -> None:
    """Compute AUC, intervals, TPR, p-values and ε from membership scores of any tool (CSV or JSONL)."""
    from prime_audit.scores.report import describe_scores

    report = describe_scores(scores, seed, plugins=plugins)
    if as_json:
        say(report.to_json())
        return
    print_table([list(row) for row in report.rows()], list(report.headers()))
    for note in report.notes():
        say(note)
