"""ReCaLL: how much a prefix of known non-members costs the item, LL(x | prefix) / LL(x)."""

from __future__ import annotations

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, mean_nll, ratio
from prime_audit.plugins import attack


@attack(source="Xie et al. 2024", version=2, needs=("logprobs", "prefix_logprobs"))
def recall(signals: Signals) -> FloatArray:
    """LL(x | prefix) / LL(x), both negative: members lose more; undefined where LL(x) = 0."""
    return ratio(mean_nll(signals.prefix_logprobs), mean_nll(signals.logprobs))
