"""``prime-audit new``: a plugin to start from."""

from __future__ import annotations

from pathlib import Path

import click

from prime_audit.commands.options import examples
from prime_audit.io.terminal import say


@click.group(short_help="Write a working plugin to start from.", epilog=examples("new attack my_attack"))
def command() -> None:
    """Write a working plugin and its test, to start from."""


@command.command(
    short_help="Write a working attack and its test.",
    epilog=examples("new attack my_attack", "new attack my_attack --out plugins"),
)
@click.argument("name")
@click.option(
    "--out", default=".", type=click.Path(path_type=Path), show_default=True, help="Folder to write to."
)
def attack(name: str, out: Path) -> None:
    """Write NAME.py, a working attack, and test_NAME.py, its test."""
    from prime_audit.authoring.scaffold import new_attack

    file, test = new_attack(name, out)
    say(f"{file}: change it; run it with --plugin {file}, check it with")
    say(f"  prime-audit doctor {name} --plugin {file}\n  pytest {test}")
