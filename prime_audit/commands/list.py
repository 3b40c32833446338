"""``prime-audit list``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prime_audit.commands.options import shared
from prime_audit.commands.printing import about, show_rows

if TYPE_CHECKING:
    from prime_audit.plugins.loading import Kind

Rows = list[dict[str, Any]]


def _plugins(kind: Kind) -> Callable[[Sequence[Path]], Rows]:
    def rows(files: Sequence[Path]) -> Rows:
        from prime_audit.plugins.loading import available

        return [
            {kind: p.name, "what": p.summary, "from": p.origin, "version": p.version}
            for p in available(kind, files).values()
        ]

    return rows


def _tasks(_: Sequence[Path]) -> Rows:
    from prime_audit.lamp.tasks import TASKS

    return [{"task": t.name, "folder": t.short, "metrics": ", ".join(t.metrics)} for t in TASKS.values()]


def _presets(_: Sequence[Path]) -> Rows:
    from prime_audit.authoring.describe_settings import preset_rows

    return preset_rows()


def studies(_: Sequence[Path] = ()) -> Rows:
    """List the studies, each with what it answers."""
    from prime_audit.studies.catalog import STUDIES

    return [{"study": s.name, "answers": s.answers, "what": s.title} for s in STUDIES.values()]


_ROWS: dict[str, Callable[[Sequence[Path]], Rows]] = {
    "methods": _plugins("method"),
    "attacks": _plugins("attack"),
    "games": _plugins("game"),
    "tasks": _tasks,
    "presets": _presets,
    "studies": studies,
}


@about(
    "List methods, attacks, games, tasks, presets, studies.",
    "list methods",
    "list attacks --plugin my_attack.py",
)
@click.command()
@click.argument("what", type=click.Choice([*_ROWS]))
@shared("plugin", "json")
def command(what: str, plugins: tuple[Path, ...], as_json: bool) -> None:
    """List the methods, attacks, games, tasks, presets or studies that this installation has."""
    show_rows(_ROWS[what](plugins), as_json)
