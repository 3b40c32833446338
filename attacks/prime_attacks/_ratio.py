"""The likelihood ratio of RMIA: p(x|θ)/p(x), where p(x) is a mean over reference models (Zarifzadeh et al. 2024)."""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Rows, Signals, mean_nll

A = 0.3
"""Slope of the offline estimate of p(x): 0 assumes that IN models are certain, 1 that they equal OUT models."""


def mean_p(nll: Rows) -> FloatArray:
    """Mean of e^-NLL over each item's reference models -> [items]; NaN for an item without any."""
    return np.array([np.exp(-row).mean() if len(row) else np.nan for row in nll], dtype=np.float64)


def offline(out_nll: Rows) -> FloatArray:
    """Estimate p(x) from OUT models alone: ½[(1 + a)·mean p_out + (1 - a)] -> [items] (their section 3.3)."""
    found: FloatArray = ((1 + A) * mean_p(out_nll) + (1 - A)) / 2
    return found


def log_ratio(logprobs: Rows, p: FloatArray) -> FloatArray:
    """Log of e^-NLL / p(x) -> [items], nats; NaN where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: FloatArray = -mean_nll(logprobs) - np.log(p)
    return found


def beaten(log_ratios: FloatArray, signals: Signals, gamma: float) -> FloatArray:
    """Share of the known non-members z with ratio(x)/ratio(z) > γ -> [items]; undefined without known non-members.

    A share of few z has many ties, and TPR at a low FPR would be 0 by construction. The item takes one place more
    among them, of which it gets r/(1 + r), r its own ratio: this orders ties by the ratio and nothing else.
    """
    crowd = np.sort(log_ratio(signals.population_logprobs, offline(signals.population_out_nll)))
    if not crowd.size:
        return np.full(log_ratios.size, np.nan)
    count = np.searchsorted(crowd, log_ratios - np.log(gamma), side="left")
    place = 1 / (1 + np.exp(-np.clip(log_ratios, -700, 700)))
    return np.where(np.isnan(log_ratios), np.nan, (count + place) / (crowd.size + 1))
