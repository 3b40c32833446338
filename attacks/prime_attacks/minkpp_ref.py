"""Min-K%++ minus the same of the unmerged base, whose own mean and deviation standardise it."""

from __future__ import annotations

from prime_attacks._mink import K, minkpp
from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, change
from prime_audit.plugins import attack


@attack(
    source="Ran et al. 2025 (LoRA-Leak, arXiv 2507.18302)",
    needs=("logprobs", "mu", "sigma", "base_logprobs", "base_mu", "base_sigma"),
)
def minkpp_ref(signals: Signals) -> FloatArray:
    """Min-K%++(x) - Min-K%++(x; base), each over its own lowest z; undefined where both are infinite."""
    own = minkpp(signals.logprobs, signals.mu, signals.sigma, K)
    return change(own, minkpp(signals.base_logprobs, signals.base_mu, signals.base_sigma, K))
