"""The items that a task's games are played on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prime_audit.audit.auc import BoolArray


@dataclass(frozen=True, eq=False)
class Pool:
    """Examples of every sharer, trained on and held out, the same for every target; and known non-members."""

    owners: Sequence[str]
    """Id of the sharer whose example it is, [rows]."""
    ids: Sequence[str]
    """Example ids, [rows]."""
    items: Sequence[str]
    """``owner/item``: a plain and an augmented example of one item have it in common, [rows]."""
    prompts: Sequence[str]
    golds: Sequence[str]
    trained: BoolArray
    """Whether the owner's adapter was trained on it, [rows]."""
    population: Sequence[tuple[str, str]] = ()
    """(prompt, gold) of users who share nothing and are no targets: known non-members, disjoint from the rows."""

    def texts(self, rows: Sequence[int]) -> list[str]:
        """Whole texts of some rows."""
        return [f"{self.prompts[r]} {self.golds[r]}" for r in rows]

    def __len__(self) -> int:
        """Count the rows."""
        return int(np.size(self.trained))
