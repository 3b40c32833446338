"""InfoRMIA: log p(x|θ)/p(x) + KL(p(z) ‖ p(z|θ)), the divergence over known non-members z (Tao and Shokri 2025).

The formula is the paper's; how it estimates the divergence could not be checked. Here p(z) and p(z|θ) are likelihoods
e^-NLL, weighted by p(z) and divided by its sum, so that the weights add up to 1; p(x) is that of ``rmia``.

Within one model the divergence is one number, so the order of items is that of the ratio, and equals that of ``rmia``,
which breaks its ties by the ratio. What InfoRMIA gains over RMIA in the paper is that it has no ties.
"""

from __future__ import annotations

import numpy as np

from prime_attacks._ratio import log_ratio, offline
from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals
from prime_audit.plugins import attack


@attack(
    source="Tao and Shokri 2025 (arXiv 2510.05582), of whole texts, on community modules",
    needs=("logprobs", "out_nll", "population_logprobs", "population_out_nll"),
)
def info_rmia(signals: Signals) -> FloatArray:
    """Log ratio of the item minus Σ w(z)·log ratio(z), w(z) = p(z)/Σ p, nats; undefined without known non-members."""
    own, p = log_ratio(signals.logprobs, offline(signals.out_nll)), offline(signals.population_out_nll)
    if not p.size:
        return np.full(own.size, np.nan)
    return own - np.average(log_ratio(signals.population_logprobs, p), weights=p)
