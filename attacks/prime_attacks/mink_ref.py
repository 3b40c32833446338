"""Min-K% minus the same of the unmerged base: what training added to the least likely tokens."""

from __future__ import annotations

from prime_attacks._mink import K, mink
from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, change
from prime_audit.plugins import attack


@attack(source="Ran et al. 2025 (LoRA-Leak, arXiv 2507.18302)", needs=("logprobs", "base_logprobs"))
def mink_ref(signals: Signals) -> FloatArray:
    """Min-K%(x) - Min-K%(x; base), each over its own lowest tokens; undefined where both are infinite."""
    return change(mink(signals.logprobs, K), mink(signals.base_logprobs, K))
