"""Commands of the auditor: attacks on a finished run, and its own examination."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prime_audit.commands import completing
from prime_audit.commands.options import given_options, json_option, plugin_option, seed_option, with_cache
from prime_audit.io.terminal import print_table, say


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--attacks",
    required=True,
    metavar="A,…",
    help="Attacks to score (list attacks).",
    shell_complete=completing.attacks,
)
@click.option(
    "--games",
    metavar="G,…",
    help="Games of the run.  [default: all it played]",
    shell_complete=completing.games,
)
@given_options
@plugin_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: RUN/attacks-HASH]")
@with_cache
@json_option
def attack(run: Path, cache: Path | None, no_cache: bool, as_json: bool, **options: Any) -> None:
    """Score attacks on a finished run's stored signals; its record stays as it is.

    The model runs only for signals that the run did not store, which are then stored too.
    """
    from prime_audit.commands.cli import exit_if_failed, show_run
    from prime_audit.community.store import default_cache
    from prime_audit.runs.rescore import attack as score_again

    kept = None if no_cache else (cache or default_cache())
    finished = score_again(run, cache=kept, **options)
    show_run(finished, as_json)
    exit_if_failed(finished)


@click.command()
@click.option("--nulls", default=200, show_default=True, help="Audits of each kind.")
@click.option("--dp-modules", default=0, show_default=True, help="DP-trained modules at ε 1 and 8 each.")
@click.option(
    "--run", type=click.Path(path_type=Path), help="Real pass: this run's.  [default: a small world's]"
)
@seed_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder of calibration.json and calibration.md.")
@json_option
def calibrate(as_json: bool, **options: Any) -> None:
    """Examine the auditor itself: false alarms, power, and ε bounds against the truth."""
    from functools import partial

    from prime_audit.calibration.calibrate import calibrate as examine

    found = examine(note=partial(say, err=True), **options)
    if as_json:
        say(found.to_json())
        return
    for headers, rows in found.tables():
        print_table([list(row) for row in rows], list(headers))
