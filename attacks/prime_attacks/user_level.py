"""User level: the reference score averaged over all of a sharer's items; is the sharer in, not: is this item in.

Every item of a sharer has the same score, so the attack only applies where whole sharers are members or not (paper,
inclusion). Where a person has items on both sides (heldout, target) it is not applicable.
"""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, mean_nll
from prime_audit.plugins import attack


@attack(source="Kandpal et al. 2024", needs=("logprobs", "base_logprobs", "owners"), people=True)
def user_level(signals: Signals) -> FloatArray:
    """Mean over the owner's items of NLL_base - NLL; items without a finite difference do not count in the mean."""
    with np.errstate(invalid="ignore"):
        gains = mean_nll(signals.base_logprobs) - mean_nll(signals.logprobs)
    _, owner = np.unique(np.asarray(signals.owners, dtype=np.str_), return_inverse=True)
    known = np.isfinite(gains)
    counts = np.bincount(owner, weights=known)
    totals = np.bincount(owner, weights=np.where(known, gains, 0.0))
    means: FloatArray = np.divide(totals, counts, out=np.full(counts.size, np.nan), where=counts > 0)
    return means[owner]
