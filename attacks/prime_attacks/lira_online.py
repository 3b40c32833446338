"""Community LiRA, online, of owners: the likelihood ratio of modules with the item's owner against modules without.

The shadow models cost nothing. Over many targets, the other targets' modules with the item's owner are its IN models;
those without (and the unmerged base) are its OUT models. They differ by the owner's contribution, not by the single
item, so the attack tests whether the owner's data are in; ``lira`` tests the single item. See ``lira_offline`` on φ
and on what is not independent.
"""

from __future__ import annotations

from prime_attacks._gaussian import fit, log_density
from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, mean_nll
from prime_audit.plugins import attack


@attack(source="Carlini et al. 2022 (online), on community modules", needs=("logprobs", "in_nll", "out_nll"))
def lira_online(signals: Signals) -> FloatArray:
    """Log N(φ; in) - log N(φ; out), φ = -NLL; undefined for an item whose owner is in no other module."""
    phi = -mean_nll(signals.logprobs)
    outside, out_deviation = fit(signals.out_nll)
    inside, in_deviation = fit(signals.in_nll, fallback=out_deviation)
    return log_density(phi, inside, in_deviation) - log_density(phi, outside, out_deviation)
