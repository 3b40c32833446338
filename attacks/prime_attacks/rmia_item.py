"""RMIA, online, of single items: p(x) is the mean over shadow models trained with the item and without it.

Known non-members are compared by the community's models, as in ``rmia``, not by shadow models: to query each shadow
with all of them would cost many times more. Within one model they decide no order of items, only the scale.
"""

from __future__ import annotations

from prime_attacks._ratio import beaten, log_ratio, mean_p
from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals
from prime_audit.plugins import attack

GAMMA = 1.0
"""Factor by which the ratio of a known non-member must be exceeded."""


@attack(
    source="Zarifzadeh et al. 2024 (online)",
    needs=("logprobs", "item_in_nll", "item_out_nll", "population_logprobs", "population_out_nll"),
)
def rmia_item(signals: Signals) -> FloatArray:
    """Share of z with [p(x|θ)/p(x)]/[p(z|θ)/p(z)] > γ, p(x) = ½(mean p_in + mean p_out); ties by the item's ratio."""
    p = (mean_p(signals.item_in_nll) + mean_p(signals.item_out_nll)) / 2
    return beaten(log_ratio(signals.logprobs, p), signals, GAMMA)
