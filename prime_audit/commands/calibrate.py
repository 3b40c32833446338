"""``prime-audit calibrate``."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from prime_audit.commands.options import share_cores, shared
from prime_audit.commands.printing import PATH, about
from prime_audit.io.terminal import print_table, say


@about(
    "Measure the auditor: false alarms, power, ε bounds.",
    "calibrate --nulls 200 --dp-modules 20 --out calibration",
)
@click.command()
@click.option("--nulls", default=100, show_default=True, help="Simulated audits of each kind.")
@click.option(
    "--dp-modules", default=0, show_default=True, help="Modules to train with DP-SGD, at ε 1 and 8 each."
)
@click.option(
    "--run",
    type=PATH,
    help="A finished run whose stored signals are audited too.  [default: a run on a small world]",
)
@click.option("--out", type=PATH, help="Folder for calibration.json and calibration.md.")
@shared("seed", "threads", "json")
def command(as_json: bool, threads: int | None, **options: Any) -> None:
    """Measure the auditor itself: false alarms, power, and ε bounds against known ε."""
    share_cores(threads)
    from prime_audit.calibration.calibrate import calibrate

    found = calibrate(note=partial(say, err=True), **options)
    if as_json:
        say(found.to_json())
        return
    for headers, rows in found.tables():
        print_table([list(row) for row in rows], list(headers))
