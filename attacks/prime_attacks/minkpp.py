"""Min-K%++: Min-K% on log-probabilities standardised by the vocabulary's mean and deviation at each position."""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, lowest
from prime_audit.plugins import attack

K = 0.2


@attack(source="Zhang et al. 2025", needs=("logprobs", "mu", "sigma"))
def minkpp(signals: Signals) -> FloatArray:
    """Mean of the max(1, ⌊K·T⌋) lowest z = (log p - μ)/σ; z = 0 where σ = 0."""
    rows = zip(signals.logprobs, signals.mu, signals.sigma, strict=True)
    standard = [standardised(*row) for row in rows]
    return np.array([z[lowest(z, K)].mean() for z in standard])


def standardised(logprobs: FloatArray, mu: FloatArray, sigma: FloatArray) -> FloatArray:
    """(log p - μ)/σ of one item's tokens, 0 where σ = 0."""
    out: FloatArray = np.divide(logprobs - mu, sigma, out=np.zeros_like(logprobs), where=sigma > 0)
    return out
