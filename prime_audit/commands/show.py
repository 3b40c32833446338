"""``prime-audit show``."""

from __future__ import annotations

from pathlib import Path

import click

from prime_audit.commands.options import shared
from prime_audit.commands.printing import PATH, about, show_run


@about("Print the tables of a finished run.", "show runs/first")
@click.command()
@click.argument("run", type=PATH)
@shared("details", "explain", "json")
def command(run: Path, as_json: bool, **how: bool) -> None:
    """Print the tables of a finished run."""
    from prime_audit.folder import load_run

    show_run(load_run(run), as_json, **how)
