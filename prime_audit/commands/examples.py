"""``prime-audit examples``."""

from __future__ import annotations

from pathlib import Path

import click

from prime_audit.commands import completing
from prime_audit.commands.printing import PATH, about
from prime_audit.io.terminal import print_table, say


@about("List worked examples, or copy one out to change it.", "examples", "examples own_attack --out plugins")
@click.command()
@click.argument("name", required=False, shell_complete=completing.example)
@click.option("--out", default=".", type=PATH, show_default=True, help="Folder to copy it to.")
def command(name: str | None, out: Path) -> None:
    """List the worked examples, or copy one out to change it."""
    from prime_audit.examples import EXAMPLES, copy_out

    if name is None:
        print_table([[key, what] for key, what in EXAMPLES.items()], ["example", "what"])
        return
    say(f"{copy_out(name, out)}: its first lines say how to run it")
