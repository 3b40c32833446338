"""``prime-audit new``: a plugin to start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prime_audit.commands.printing import PATH, about
from prime_audit.io.terminal import say

if TYPE_CHECKING:
    from prime_audit.plugins.loading import Kind


@about("Write a working plugin to start from.", "new method my_method", "new attack my_attack")
@click.group()
def command() -> None:
    """Write a working plugin and its test, to start from."""


out_option = click.option("--out", default=".", type=PATH, show_default=True, help="Folder to write to.")


@about("Write a working method and its test.", "new method my_method", "new method my_method --out plugins")
@command.command()
@click.argument("name")
@out_option
def method(name: str, out: Path) -> None:
    """Write NAME.py, a working method, and test_NAME.py, its test."""
    _write("method", name, out)


@about("Write a working attack and its test.", "new attack my_attack", "new attack my_attack --out plugins")
@command.command()
@click.argument("name")
@out_option
def attack(name: str, out: Path) -> None:
    """Write NAME.py, a working attack, and test_NAME.py, its test."""
    _write("attack", name, out)


@about("Write a working game and its test.", "new game my_game", "new game my_game --out plugins")
@command.command()
@click.argument("name")
@out_option
def game(name: str, out: Path) -> None:
    """Write NAME.py, a working membership game, and test_NAME.py, its test."""
    _write("game", name, out)


def _write(kind: Kind, name: str, out: Path) -> None:
    from prime_audit.authoring.scaffold import new_plugin

    file, test = new_plugin(kind, name, out)
    say(f"{file}: change it; run it with --plugin {file}, check it with")
    say(f"  prime-audit doctor {name} --plugin {file}\n  pytest {test}")
