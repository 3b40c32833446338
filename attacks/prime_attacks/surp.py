"""SURP: the mean log-probability of surprising tokens, where the model is sure and yet wrong.

A token is surprising where the vocabulary's entropy (-μ) is below a threshold and its own log-probability is among
the text's lowest share K. Both are fixed beforehand, never tuned on the labels. K is twice Min-K%'s: the lowest fifth
of a short gold is a token or two, and seldom one of low entropy.
"""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, lowest
from prime_audit.plugins import attack

K = 0.4
MAX_ENTROPY = 2.0
"""Nats."""


@attack(source="Zhang and Wu 2024", needs=("logprobs", "mu"))
def surp(signals: Signals) -> FloatArray:
    """Mean log p of the surprising tokens; undefined where there are none."""
    return np.array([_one(row, mu) for row, mu in zip(signals.logprobs, signals.mu, strict=True)])


def _one(logprobs: FloatArray, mu: FloatArray) -> float:
    low = lowest(logprobs, K)
    surprising = low[-mu[low] < MAX_ENTROPY]
    return float(logprobs[surprising].mean()) if surprising.size else float("nan")
