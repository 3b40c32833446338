"""RMIA, offline: the share of known non-members with a lower likelihood ratio than the item.

The OUT models are other targets' modules without the item's owner, and the unmerged base (see ``lira_offline``): they
tell whether the owner's data are in, not the single item. ``rmia_item`` has reference models for the single item.
"""

from __future__ import annotations

from prime_attacks._ratio import beaten, log_ratio, offline
from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals
from prime_audit.plugins import attack

GAMMA = 1.0
"""Factor by which the ratio of a known non-member must be exceeded."""


@attack(
    source="Zarifzadeh et al. 2024 (offline), on community modules",
    needs=("logprobs", "out_nll", "population_logprobs", "population_out_nll"),
    version=2,
)
def rmia(signals: Signals) -> FloatArray:
    """Share of z with [p(x|θ)/p(x)]/[p(z|θ)/p(z)] > γ, p = e^-NLL; ties by the item's ratio (``_ratio.beaten``)."""
    return beaten(log_ratio(signals.logprobs, offline(signals.out_nll)), signals, GAMMA)
