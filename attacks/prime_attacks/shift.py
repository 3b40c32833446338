"""Shift: how far the item's loss moved from the unmerged base's, either way, |NLL_base - NLL|.

A merge may weight an adapter negatively, as PriME's search may: then its sharer's items become *less* likely than under
the base, and attacks that expect members to be likelier rank them last. What a sharer trained on still moves
farther than what they did not.
"""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, mean_nll
from prime_audit.plugins import attack


@attack(source="ours: the reference attack of both signs", needs=("logprobs", "base_logprobs"))
def shift(signals: Signals) -> FloatArray:
    """|NLL_base - NLL|; undefined where both are infinite."""
    with np.errstate(invalid="ignore"):
        moved: FloatArray = np.abs(mean_nll(signals.base_logprobs) - mean_nll(signals.logprobs))
    return moved
