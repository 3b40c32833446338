"""Ratio: the loss in units of the unmerged base's, -NLL / NLL_base."""

from __future__ import annotations

from prime_audit.audit import signals as observed
from prime_audit.audit.auc import FloatArray
from prime_audit.plugins import attack


@attack(source="Carlini et al. 2021, section 5.2", needs=("logprobs", "base_logprobs"))
def ratio(signals: observed.Signals) -> FloatArray:
    """-NLL / NLL_base; undefined where the base is certain (NLL_base = 0)."""
    own, base = observed.mean_nll(signals.logprobs), observed.mean_nll(signals.base_logprobs)
    return -observed.ratio(own, base)
