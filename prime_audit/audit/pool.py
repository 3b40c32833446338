"""The items that a task's games are played on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from prime_audit.audit.auc import BoolArray, IntArray
from prime_audit.audit.design import Dealt


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool:
    """Examples of every owner, trained on and held out, the same for every target; and known non-members."""

    owners: Sequence[str]
    """Id of the person whose example it is, [rows]."""
    ids: Sequence[str]
    """Example ids, [rows]."""
    prompts: Sequence[str]
    """What is in front, [rows]."""
    golds: Sequence[str]
    """What is scored, [rows]."""
    trained: BoolArray
    """Whether the owner's adapter was trained on it, [rows]. In the target's own pool: whether methods see it."""
    last: BoolArray
    """Whether it is an example, plain or augmented, of the owner's last trained items, [rows]."""
    drawn: BoolArray
    """Whether it is the plain example of a held-out item, or of one of as many trained items drawn at random from
    the whole history, [rows]: one row an item, and no drift in time between the two."""
    twins: Sequence[Sequence[str]]
    """Ids of the people whose adapters were trained on an item with the same words, [rows]. In the target's own pool:
    the target, where the history that methods see has such an item."""
    places: IntArray = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    """Place of each row's item in its owner's history, the oldest 1, and that history's length, [rows, 2]; [0, 2]
    where they are not known."""
    given: bool = False
    """Whether the data say which items were held out, so that this run did not draw them at random."""
    population: Sequence[tuple[str, str]] = ()
    """(prompt, gold) of users who share nothing and are no targets: known non-members, disjoint from the rows."""
    inside: Sequence[BoolArray] = ()
    """Which shadow adapters of its owner were trained on it, [rows] of [shadows]; a row that is not ``drawn`` has
    none. Empty where there are no shadows."""
    sampled: Mapping[str, IntArray] = field(default_factory=dict)
    """Target → the rows of ``last`` that were drawn for them, some of every sharer (``strata.sampled``). Empty where
    nothing is sampled."""

    def __len__(self) -> int:
        """Count the rows."""
        return int(np.size(self.trained))

    def of(self, people: Iterable[str]) -> BoolArray:
        """Whether each row is one of these people's, [rows]."""
        chosen = set(people)
        return np.array([owner in chosen for owner in self.owners], dtype=np.bool_)

    def deal(self, target: str, rows: IntArray, members: BoolArray) -> Dealt:
        """Deal ``rows`` to a target, ``members`` [rows dealt] on one side; a reason instead where a side is empty."""
        if members.all() or not members.any():
            side = (
                "every item is a member's: no non-members"
                if members.all()
                else "no item is a member's: no members"
            )
            return Dealt.nothing(target, side)
        return Dealt(target=target, rows=rows, members=members, owners=[self.owners[r] for r in rows])
