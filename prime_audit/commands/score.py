"""``prime-audit score``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from prime_audit.commands.options import shared, task_option
from prime_audit.commands.printing import PATH, about
from prime_audit.io.terminal import print_table, say


@about(
    "Score predictions with the official LaMP metrics.",
    "score --task LaMP-2 --golds golds.json --preds preds.json",
    "score --task LaMP-4 --golds golds.json --preds preds.json --metric chrf",
)
@click.command()
@task_option
@click.option("--golds", required=True, type=PATH, help="The official outputs file.")
@click.option("--preds", required=True, type=PATH, help="Predictions in the same format.")
@shared("metric", "json")
def command(task: str | None, golds: Path, preds: Path, metric: str, as_json: bool) -> None:
    """Score predictions with the official LaMP metrics. Golds that are not of the task are reported or refused."""
    from prime_audit.lamp.scoring import score_files

    found = score_files(task, golds, preds, metric)
    for note in found.notes:
        say(f"note: {note}", err=True)
    if as_json:
        say(json.dumps(dict(found.metrics)))
    else:
        print_table([[name, f"{value:.6f}"] for name, value in found.metrics.items()], ["metric", "value"])
