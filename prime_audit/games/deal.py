"""Games: who is a member, of what, decided before any score is seen.

A game that says nothing of a model gives a reason instead of members: never an AUC of 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from prime_audit.audit.auc import BoolArray, IntArray, two_sided
from prime_audit.audit.permutation import Unit
from prime_audit.games.pool import Pool


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
    even: BoolArray | None = None
    """Where one side is sampled: items that were drawn as that side's were, [items], which a permutation test may
    exchange; None where all are in play."""

    @property
    def playable(self) -> bool:
        """Whether both sides have an item."""
        return two_sided(self.members)


@dataclass(frozen=True)
class Game:
    """A way to deal members and non-members."""

    name: str
    summary: str
    unit: Unit
    """What the permutation test exchanges."""
    randomised: bool
    """Whether membership was drawn at random, or selected."""
    says: str
    """One line: what its verdict can say, and what it cannot."""
    deal: Callable[[str, Sequence[str], Pool], Dealt]
    """(target, merged sharers, pool) → her game."""
    whole: bool = False
    """Whether a sharer's items are scored as one, by their mean: she is a member, not they."""
    selector: str | None = None
    """The control by which methods select whom they merge: it restates membership, and is compared with nothing."""

    @property
    def of_people(self) -> bool:
        """Whether a sharer is a member with all her items in play, or with none."""
        return self.unit == "sharer"


def _nothing(target: str, reason: str) -> Dealt:
    return Dealt(target, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_), (), reason)


def _paper(target: str, merged: Sequence[str], pool: Pool) -> Dealt:
    """Set merged sharers' trained examples against all other sharers' (as published), or a sample of theirs."""
    if not merged:
        return _nothing(target, "merges nobody: no members")
    if set(merged) >= set(pool.owners):
        return _nothing(target, "merges every sharer: no non-members")
    rows = np.flatnonzero(pool.last)
    members = _of(pool, rows, merged)
    if not pool.sampled:
        return _dealt(target, pool, rows, members)
    drawn = np.isin(rows, pool.sampled[target])
    kept = members | drawn
    found = _dealt(target, pool, rows[kept], members[kept])
    return replace(found, even=drawn[kept]) if found.reason is None else found


def _heldout(target: str, merged: Sequence[str], pool: Pool) -> Dealt:
    """Set what merged sharers' adapters were trained on against those sharers' own held-out items."""
    if not merged:
        return _nothing(target, "merges nobody: no members")
    rows = np.flatnonzero(pool.drawn & _of(pool, np.arange(len(pool)), merged))
    if pool.trained[rows].all():
        return _nothing(target, "no merged sharer has held-out items: no non-members")
    return _dealt(target, pool, rows, pool.trained[rows])


def _target(target: str, _merged: Sequence[str], pool: Pool) -> Dealt:
    """Set items of the target's history, as methods got it, against those held out of it."""
    rows = np.flatnonzero(_of(pool, np.arange(len(pool)), [target]))
    if not rows.size:
        return _nothing(target, "nothing of the target's history is held out: no non-members")
    return _dealt(target, pool, rows, pool.trained[rows])


def by_coin(
    coins: Mapping[str, Mapping[str, bool]], target: str, _merged: Sequence[str], pool: Pool
) -> Dealt:
    """Set sharers whose coin put them into the target's merge against those whose coin did not.

    ``coins``: target → her candidates, each with its coin. A target whose coins all fell alike has one side only: she
    has no AUC, but is asked all the same, for the bound on ε counts every coin.
    """
    own = coins.get(target, {})
    rows = np.flatnonzero(pool.last & _of(pool, np.arange(len(pool)), list(own)))
    if not rows.size:
        return _nothing(target, "no candidates for her merge")
    owners = [pool.owners[r] for r in rows]
    return Dealt(target, rows, np.array([own[owner] for owner in owners], dtype=np.bool_), owners)


def _dealt(target: str, pool: Pool, rows: IntArray, members: BoolArray) -> Dealt:
    if members.all() or not members.any():
        side = (
            "every item is a member's: no non-members"
            if members.all()
            else "no item is a member's: no members"
        )
        return _nothing(target, side)
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
            "Members were selected for being like the target, so this game can never say leaks, at most confounded.",
            _paper,
            selector="similarity_only",
        ),
        Game(
            "heldout",
            "what a merged sharer's adapter was trained on against her own held-out items",
            "item-within-sharer",
            True,
            "A merged sharer's members were drawn from her own items: this game can say leaks, of what she trained on; "
            "it does not ask whether she was merged.",
            _heldout,
        ),
        Game(
            "inclusion",
            "sharers whom a coin put into a target's merge against those it left out; the model is made again",
            "sharer",
            True,
            "Coins decided whom a target may merge: this game can say leaks, of who was merged, in a model made for "
            "it; it does not ask the deployed one.",
            partial(by_coin, {}),
            whole=True,
        ),
        Game(
            "target",
            "the target's own history against items held out of it, asked of her whole deployed system",
            "item-within-sharer",
            True,
            "Members were drawn from the target's own items: this game can say leaks, of her history; it says nothing "
            "of the sharers.",
            _target,
        ),
    )
}


def drawn(name: str | None) -> bool:
    """Whether a game drew its members at random: only then can its verdict be *leaks*. No game that is not ours did."""
    game = GAMES.get(name or "")
    return game is not None and game.randomised
