"""WBC: windows of the text that vote, each by whether the model finds it likelier than the unmerged base does.

The paper's windows are for texts of hundreds of tokens. As in its released code, a window is cut to the text's T
tokens, so for a short gold several sizes are one window of the whole text, and each counts.
"""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, gains
from prime_audit.plugins import attack

LEAST, MOST, SIZES = 2, 40, 10
"""Smallest and largest window in tokens, and how many sizes (the paper's section 5)."""
WINDOWS = tuple(np.round(LEAST * (MOST / LEAST) ** (np.arange(SIZES) / (SIZES - 1))).astype(int).tolist())
"""Equation 12: geometrically spaced. The released configuration lists 2, 3, 4, 6, 9, 13, 18, 25, 32, 40 instead."""


@attack(source="Chen et al. 2026 (arXiv 2601.02751), equations 10 to 13", needs=("logprobs", "base_logprobs"))
def wbc(signals: Signals) -> FloatArray:
    """Mean over ``WINDOWS`` w of the share of the T - w + 1 windows whose summed NLL_base - NLL is above 0."""
    return np.array([_one(row) for row in gains(signals)], dtype=np.float64)


def _one(gained: FloatArray) -> float:
    if not gained.size:
        return float("nan")
    sums = np.concatenate([np.zeros(1), np.cumsum(gained)])
    cut = [min(size, gained.size) for size in WINDOWS]
    votes = {size: (sums[size:] > sums[:-size]).mean() for size in set(cut)}
    return float(np.mean([votes[size] for size in cut]))
