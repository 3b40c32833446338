"""A game as the judge sees it: how membership came about, and the rows dealt to each target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray, two_sided
from prime_audit.audit.mean_auc import TargetScores

Unit = Literal["item-within-sharer", "sharer", "item"]
"""What a permutation test exchanges (``permutation``)."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """How a game's members were chosen. It decides the test, the bound on ε and which verdicts are possible."""

    unit: Unit
    """What the permutation test exchanges."""
    randomised: bool
    """Whether membership was drawn at random, not selected. Only then can the verdict be *leaks*."""
    whole: bool = False
    """Whether a sharer is one unit, scored by the mean over their items. Each has a fair coin of their own, and every
    target throws its own coins."""
    selector: str | None = None
    """The control by which members were selected: it restates membership and is never the best control."""

    @property
    def of_people(self) -> bool:
        """Whether all of a sharer's items in play are members, or none."""
        return self.unit == "sharer"


@dataclass(frozen=True, eq=False, kw_only=True)
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
    """Why the game does not apply to this target's model; None where it can be played."""
    even: BoolArray | None = None
    """Where one side is sampled: the items that a permutation test may exchange, [items]; None for all."""
    items: Sequence[str | None] | None = None
    """Ids by which one item is recognised in several targets' games, [items]; None: by its place among its owner's."""
    given: bool = False
    """Whether the data say which items are the non-members: no process saw them drawn, so the judge looks for signs of
    selection."""
    signs: Sequence[str] = ()
    """Signs that membership was selected and not drawn, one line each (``audit.signs``): with any, the game can show
    nothing."""
    strata: Sequence[str] | None = None
    """Where membership was drawn within parts of an owner's items: the part that each belongs to, [items]; parts of
    different owners have different names. None: within all of an owner's."""

    @property
    def drawn_within(self) -> Sequence[str]:
        """What the members were drawn within, where items are the unit: the item's stratum, else its owner, [items]."""
        return self.owners if self.strata is None else self.strata

    @property
    def playable(self) -> bool:
        """Whether both sides have an item."""
        return two_sided(self.members)

    def exchangeable(self) -> Dealt:
        """Return the game of the items that may be exchanged: all of a member's against a sample of another's are no
        match.

        A figure of more items is steadier, whatever membership carries; with all of them the test rejects too seldom.
        """
        if self.even is None:
            return self
        return replace(
            self,
            rows=self.rows[self.even],
            members=self.members[self.even],
            owners=np.asarray(self.owners)[self.even].tolist(),
            strata=None if self.strata is None else np.asarray(self.strata)[self.even].tolist(),
            items=None if self.items is None else np.asarray(self.items, dtype=object)[self.even].tolist(),
            even=None,
        )

    def even_part(self, scores: FloatArray) -> FloatArray:
        """Return the scores [items] of the items that may be exchanged."""
        return scores if self.even is None else scores[self.even]

    def panel(self, scores: FloatArray) -> TargetScores:
        """Return the game with scores of its items, [items]."""
        return TargetScores(self.target, scores, self.owners, self.members)

    @classmethod
    def nothing(cls, target: str, reason: str) -> Dealt:
        """Return a game that does not apply, with its reason instead of an AUC of 0.5."""
        rows, members = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
        return cls(target=target, rows=rows, members=members, owners=(), reason=reason)
