"""LiRA, online, of single items: the likelihood ratio of shadow models trained with the item against those without.

Needs a run with shadow adapters (``--set shadows=16``). In the game ``adapter`` it is the attack of the paper; on a
merged model each shadow takes the place of its owner's adapter in the merge. ``lira_online`` and ``lira_offline``
compare models with and without the item's *owner*, and need no shadows.
"""

from __future__ import annotations

from prime_attacks._gaussian import fit, log_density
from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, logit, mean_nll
from prime_audit.plugins import attack


@attack(source="Carlini et al. 2022 (online)", needs=("logprobs", "item_in_nll", "item_out_nll"))
def lira(signals: Signals) -> FloatArray:
    """Log N(φ; in) - log N(φ; out), φ = logit(e^-NLL) by mean NLL a token; NaN without shadows of the item.

    Deviations are the item's own with 16 shadows or more on a side, else pooled over items (``_gaussian.fit``).
    """
    phi = logit(mean_nll(signals.logprobs))
    outside, out_deviation = fit([-logit(row) for row in signals.item_out_nll])
    inside, in_deviation = fit([-logit(row) for row in signals.item_in_nll], fallback=out_deviation)
    return log_density(phi, inside, in_deviation) - log_density(phi, outside, out_deviation)
