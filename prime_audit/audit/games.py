"""Games: who is a member, of what, decided before any score is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Game:
    """One target's game: items of sharers, each a member or not."""

    target: str
    members: frozenset[str]
    """Ids of the sharers whose items are members."""
    reason: str | None = None
    """Why the game says nothing of this model; None where it can be played."""


def paper(target: str, merged: Sequence[str], sharers: Sequence[str]) -> Game:
    """Build the paper's game: the merged sharers' items against all other sharers' (PROTOCOL §5)."""
    members = frozenset(merged)
    if not members:
        return Game(target, members, "merges nobody: no members")
    if members >= set(sharers):
        return Game(target, members, "merges every sharer: no non-members")
    return Game(target, members)
