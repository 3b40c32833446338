"""Min-K%: the mean log-probability of the least likely fifth of the gold tokens."""

from __future__ import annotations

from prime_attacks import _mink
from prime_attacks._mink import K
from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals
from prime_audit.plugins import attack


@attack(source="Shi et al. 2024", needs=("logprobs",))
def mink(signals: Signals) -> FloatArray:
    """Mean of the max(1, ⌊K·T⌋) lowest token log-probabilities."""
    return _mink.mink(signals.logprobs, K)
