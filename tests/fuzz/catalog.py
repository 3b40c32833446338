"""All readers that are fuzzed."""

from __future__ import annotations

from pathlib import Path

from . import lamp_targets, other_targets, record_targets
from .attempt import Target


def all_targets(folder: Path) -> list[Target]:
    """Return every target; their seeds are made in ``folder``."""
    folder.mkdir(parents=True)
    return [*lamp_targets.targets(), *record_targets.targets(folder), *other_targets.targets(folder)]
