"""``prime-audit stats``."""

from __future__ import annotations

from pathlib import Path

import click

from prime_audit.commands.options import examples, shared
from prime_audit.io.terminal import print_table, say


@click.command(
    short_help="Audit membership scores from a CSV or JSONL file.",
    epilog=examples("stats scores.csv", "stats runs/first/scores.jsonl --json"),
)
@click.argument("scores", type=click.Path(path_type=Path))
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
