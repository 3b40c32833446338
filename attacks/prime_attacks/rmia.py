"""RMIA, offline: the share of a population of known non-members with a lower likelihood ratio than the item.

The OUT models are other targets' modules without the item's owner, and the unmerged base.
"""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Rows, Signals, mean_nll
from prime_audit.plugins import attack

A = 0.3
"""Slope of the offline estimate of P(x): 0 assumes that IN models are certain, 1 that they equal OUT models."""
GAMMA = 1.0
"""Factor by which the population's ratio must be exceeded."""


@attack(
    source="Zarifzadeh et al. 2024",
    needs=("logprobs", "out_nll", "population_logprobs", "population_out_nll"),
)
def rmia(signals: Signals) -> FloatArray:
    """Share of the population z with [p(x)/P(x)]/[p(z)/P(z)] > γ, p = e^-NLL; undefined without a population."""
    population = np.sort(_ratios(signals.population_logprobs, signals.population_out_nll))
    own = _ratios(signals.logprobs, signals.out_nll)
    if not population.size:
        return np.full(own.size, np.nan)
    beaten = np.searchsorted(population, own / GAMMA, side="left") / population.size
    return np.where(np.isnan(own), np.nan, beaten)


def _ratios(logprobs: Rows, out_nll: Rows) -> FloatArray:
    """p(x)/P(x) with P(x) = ½[(1 + a)·mean P_out + (1 - a)] -> [items]."""
    outside = np.array([np.exp(-row).mean() for row in out_nll], dtype=np.float64)
    ratios: FloatArray = np.exp(-mean_nll(logprobs)) / (((1 + A) * outside + (1 - A)) / 2)
    return ratios
