"""Min-K%: the mean log-probability of the least likely fifth of the gold tokens."""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, lowest
from prime_audit.plugins import attack

K = 0.2


@attack(source="Shi et al. 2024", needs=("logprobs",))
def mink(signals: Signals) -> FloatArray:
    """Mean of the max(1, ⌊K·T⌋) lowest token log-probabilities."""
    return np.array([row[lowest(row, K)].mean() for row in signals.logprobs])
