"""``prime-audit doctor``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from prime_audit.commands import completing
from prime_audit.commands.options import shared
from prime_audit.commands.printing import about
from prime_audit.io.terminal import say


@about("Check that a plugin keeps its contract.", "doctor prime", "doctor my_attack --plugin my_attack.py")
@click.command()
@click.argument("name", shell_complete=completing.plugin)
@shared("plugin")
def command(name: str, plugins: tuple[Path, ...]) -> None:
    """Check that a plugin keeps its contract: one line per check; exit code 1 if one fails."""
    from prime_audit.authoring.doctor import examine

    checks = examine(name, plugins)
    for check in checks:
        say(check.line())
    sys.exit(not all(check.ok for check in checks))
