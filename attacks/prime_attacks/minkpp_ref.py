"""Min-K%++ minus the same of the unmerged base, whose own mean and deviation standardise it."""

from __future__ import annotations

import numpy as np

from prime_attacks._mink import K, minkpp
from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, change
from prime_audit.plugins import attack


@attack(
    source="Ran et al. 2025 (LoRA-Leak, arXiv 2507.18302)",
    needs=("logprobs", "mu", "sigma", "base_logprobs", "base_mu", "base_sigma"),
)
def minkpp_ref(signals: Signals) -> FloatArray:
    """Min-K%++(x) - Min-K%++(x; base), each over its own lowest z; undefined where both are infinite.

    0 for an item on which the two differ by rounding alone: where σ is small, z would magnify that.
    """
    own = (signals.logprobs, signals.mu, signals.sigma)
    base = (signals.base_logprobs, signals.base_mu, signals.base_sigma)
    moved = np.array(
        [
            any(change(*pair).any() for pair in zip(ours, theirs, strict=True))
            for ours, theirs in zip(zip(*own, strict=True), zip(*base, strict=True), strict=True)
        ],
        dtype=np.bool_,
    )
    return np.where(moved, change(minkpp(*own, K), minkpp(*base, K)), 0.0)
