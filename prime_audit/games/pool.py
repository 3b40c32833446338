"""The items that a task's games are played on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from prime_audit.audit.auc import BoolArray, IntArray


@dataclass(frozen=True, eq=False)
class Pool:
    """Examples of every sharer, trained on and held out, the same for every target; and known non-members."""

    owners: Sequence[str]
    """Id of the sharer whose example it is, [rows]."""
    ids: Sequence[str]
    """Example ids, [rows]."""
    prompts: Sequence[str]
    """What stands in front, [rows]."""
    golds: Sequence[str]
    """What is scored, [rows]."""
    trained: BoolArray
    """Whether the owner's adapter was trained on it, [rows]."""
    last: BoolArray
    """Whether it is an example, plain or augmented, of the owner's last trained items: the paper's game, [rows]."""
    drawn: BoolArray
    """Whether it is the plain example of a held-out item, or of one of as many trained items drawn at random from
    the whole history: the heldout game, one row an item and no drift in time between the sides, [rows]."""
    twins: Sequence[Sequence[str]]
    """Ids of the people whose adapters were trained on an item with the same words (in the target game: the target,
    where such an item stands in the history that methods see), [rows]."""
    population: Sequence[tuple[str, str]] = ()
    """(prompt, gold) of users who share nothing and are no targets: known non-members, disjoint from the rows."""

    sampled: Mapping[str, IntArray] = field(default_factory=dict)
    """Target → the rows of ``last`` that were drawn for her, some of every sharer (``strata.sampled``): of whom she
    does not merge, no others are in her paper game. Empty where nothing is sampled."""

    def __len__(self) -> int:
        """Count the rows."""
        return int(np.size(self.trained))
