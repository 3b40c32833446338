"""LiRA, online, of single items: the likelihood ratio of shadow models trained with the item against those without.

Needs a run with shadow adapters (``--set shadows=16``). In the game ``adapter`` it is the attack of the paper; on a
merged model each shadow takes the place of its owner's adapter in the merge. ``lira_online`` and ``lira_offline``
compare models with and without the item's *owner*, and need no shadows.
"""

from __future__ import annotations

import numpy as np

from prime_attacks._gaussian import fit, log_density
from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Rows, Signals, mean_nll
from prime_audit.plugins import attack

LEAST = 2.0**-24
"""Nats: a smaller NLL is rounding error of float32, and its logit would be infinite."""


@attack(source="Carlini et al. 2022 (online)", needs=("logprobs", "item_in_nll", "item_out_nll"))
def lira(signals: Signals) -> FloatArray:
    """Log N(φ; in) - log N(φ; out), φ = logit(e^-NLL) by mean NLL a token; NaN without shadows of the item.

    Deviations are the item's own with 16 shadows or more on a side, else pooled over items (``_gaussian.fit``).
    """
    phi = _logit(mean_nll(signals.logprobs))
    outside, out_deviation = fit(_minus_logits(signals.item_out_nll))
    inside, in_deviation = fit(_minus_logits(signals.item_in_nll), fallback=out_deviation)
    return log_density(phi, inside, in_deviation) - log_density(phi, outside, out_deviation)


def _minus_logits(rows: Rows) -> Rows:
    return [-_logit(row) for row in rows]


def _logit(nll: FloatArray) -> FloatArray:
    """Return log(p/(1 - p)) of p = e^-NLL, as the paper scales a model's confidence."""
    above = np.maximum(nll, LEAST)
    found: FloatArray = -above - np.log(-np.expm1(-above))
    return found
