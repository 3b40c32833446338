"""Counts of a run's artefacts (computed, read back, damaged), and a channel for messages to the user."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from prime_audit.io.log import LOG
from prime_audit.io.markup import visible


def say(line: str) -> None:
    """Print a message on stderr, in the form of every error."""
    print(f"prime-audit: {visible(line)}", file=sys.stderr, flush=True)
    LOG.warning(visible(line))


@dataclass
class Tally:
    """Counts of artefacts. None of them decides a number; in a record they are among ``times``."""

    made: int = 0
    """Computed in this run."""
    read: int = 0
    """Read back from the cache."""
    damaged: list[str] = field(default_factory=list)
    """Damaged entries that were set aside and recomputed, one line each."""
    within: Mapping[str, str | None] = field(default_factory=dict)
    """The current task, method and stage; an entry's manifest shows them to people."""
    say: Callable[[str], None] = say
    """Prints a message to the user."""
