"""Min-K%++: Min-K% on log-probabilities standardised by the vocabulary's mean and deviation at each position."""

from __future__ import annotations

from prime_attacks import _mink
from prime_attacks._mink import K
from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals
from prime_audit.plugins import attack


@attack(source="Zhang et al. 2025", needs=("logprobs", "mu", "sigma"))
def minkpp(signals: Signals) -> FloatArray:
    """Mean of the max(1, ⌊K·T⌋) lowest z = (log p - μ)/σ; z = 0 where σ = 0."""
    return _mink.minkpp(signals.logprobs, signals.mu, signals.sigma, K)
