"""What became of the artefacts of a run: made, read back, or found damaged; and a voice for what a user should know."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from prime_audit.io.markup import visible


def say(line: str) -> None:
    """Tell the user something on stderr, as every fault is told."""
    print(f"prime-audit: {visible(line)}", file=sys.stderr, flush=True)


@dataclass
class Tally:
    """Artefacts counted. None of it decides a number: in a record it stands among what differs between runs."""

    made: int = 0
    """Computed in this run."""
    read: int = 0
    """Read back from the cache."""
    damaged: list[str] = field(default_factory=list)
    """Entries found damaged, set aside and made again, a line each."""
    within: Mapping[str, str | None] = field(default_factory=dict)
    """The stage that asks: task, method and stage; an entry's manifest keeps it, for people."""
    say: Callable[[str], None] = say
    """How a line reaches the user."""
