"""``prime-audit describe``."""

from __future__ import annotations

from pathlib import Path

import click

from prime_audit.commands import completing
from prime_audit.commands.options import shared
from prime_audit.commands.printing import about
from prime_audit.io.terminal import say


@about(
    "Describe a method, attack, game, task or setting.",
    "describe prime",
    "describe heldout",
    "describe settings --preset paper",
)
@click.command()
@click.argument("name", shell_complete=completing.anything)
@shared("plugin", "preset", "set")
def command(name: str, plugins: tuple[Path, ...], preset: str, overrides: tuple[str, ...]) -> None:
    """Describe a method, an attack, a game, a task, a preset, or all settings (describe settings)."""
    from prime_audit.authoring.describe import description

    say(description(name, plugins, preset, overrides))
