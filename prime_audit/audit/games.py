"""Games: who is a member, of what, decided before any score is seen.

A game that says nothing of a model gives a reason instead of members: never an AUC of 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prime_audit.audit.auc import BoolArray, IntArray
from prime_audit.audit.permutation import Unit
from prime_audit.audit.pool import Pool


@dataclass(frozen=True, eq=False)
class Dealt:
    """One target's game: rows of the pool on two sides."""

    target: str
    rows: IntArray
    """Rows of the pool in play, [items]."""
    members: BoolArray
    """Whether each is a member, [items]."""
    owners: Sequence[str]
    """Whose item it is, [items]."""
    reason: str | None = None
    """Why the game says nothing of this target's model; None where it can be played."""


@dataclass(frozen=True)
class Game:
    """A way to deal members and non-members."""

    name: str
    summary: str
    unit: Unit
    """What the permutation test exchanges."""
    randomised: bool
    """Whether membership was drawn at random, or selected."""
    deal: Callable[[str, Sequence[str], Pool], Dealt]
    """(target, merged sharers, pool) → her game."""


def _nothing(target: str, reason: str) -> Dealt:
    return Dealt(target, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_), (), reason)


def _paper(target: str, merged: Sequence[str], pool: Pool) -> Dealt:
    """Set merged sharers' trained examples against all other sharers' (PROTOCOL §5)."""
    if not merged:
        return _nothing(target, "merges nobody: no members")
    if set(merged) >= set(pool.owners):
        return _nothing(target, "merges every sharer: no non-members")
    rows = np.flatnonzero(pool.last)
    return _dealt(target, pool, rows, _of(pool, rows, merged))


def _heldout(target: str, merged: Sequence[str], pool: Pool) -> Dealt:
    """Set what merged sharers' adapters were trained on against those sharers' own held-out items."""
    if not merged:
        return _nothing(target, "merges nobody: no members")
    rows = np.flatnonzero(pool.drawn & _of(pool, np.arange(len(pool)), merged))
    if pool.trained[rows].all():
        return _nothing(target, "no merged sharer has held-out items: no non-members")
    return _dealt(target, pool, rows, pool.trained[rows])


def _dealt(target: str, pool: Pool, rows: IntArray, members: BoolArray) -> Dealt:
    return Dealt(target, rows, members, [pool.owners[r] for r in rows])


def _of(pool: Pool, rows: IntArray, merged: Sequence[str]) -> BoolArray:
    chosen = set(merged)
    return np.array([pool.owners[r] in chosen for r in rows], dtype=np.bool_)


GAMES: Mapping[str, Game] = {
    game.name: game
    for game in (
        Game(
            "paper",
            "merged against other sharers, as published: selected, not drawn",
            "sharer",
            False,
            _paper,
        ),
        Game(
            "heldout",
            "what a merged sharer's adapter was trained on against her own held-out items",
            "item-within-sharer",
            True,
            _heldout,
        ),
    )
}
