"""``prime-audit show``."""

from __future__ import annotations

from pathlib import Path

import click

from prime_audit.commands.options import examples, shared
from prime_audit.commands.printing import show_run


@click.command(short_help="Print the tables of a finished run.", epilog=examples("show runs/first"))
@click.argument("run", type=click.Path(path_type=Path))
@shared("json")
def command(run: Path, as_json: bool) -> None:
    """Print the tables of a finished run."""
    from prime_audit.folder import load_run

    show_run(load_run(run), as_json)
