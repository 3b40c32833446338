"""Min-K% and Min-K%++, which two attacks each read: of the model alone, and minus the same of the base."""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Rows, lowest, standardised

K = 0.2
"""Share of a text's tokens that decide its score."""


def mink(logprobs: Rows, share: float) -> FloatArray:
    """Mean of the max(1, ⌊share·T⌋) lowest token log-probabilities -> [items] (Shi et al. 2024)."""
    return np.array([row[lowest(row, share)].mean() for row in logprobs], dtype=np.float64)


def minkpp(logprobs: Rows, mu: Rows, sigma: Rows, share: float) -> FloatArray:
    """Mean of the max(1, ⌊share·T⌋) lowest z = (log p - μ)/σ -> [items]; z = 0 where σ = 0 (Zhang et al. 2025)."""
    return mink([standardised(*row) for row in zip(logprobs, mu, sigma, strict=True)], share)
