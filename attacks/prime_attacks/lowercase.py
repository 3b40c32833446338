"""Lowercase: the loss in units of the same text's loss in lower case, -NLL / NLL_lower."""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, mean_nll, ratio
from prime_audit.plugins import attack


@attack(source="Carlini et al. 2021, section 5.2", needs=("logprobs", "lower_logprobs", "texts"))
def lowercase(signals: Signals) -> FloatArray:
    """-NLL / NLL_lower; undefined where the text has no upper case, or NLL_lower is 0."""
    scores = -ratio(mean_nll(signals.logprobs), mean_nll(signals.lower_logprobs))
    same = np.array([text == text.lower() for text in signals.texts], dtype=np.bool_)
    return np.where(same, np.nan, scores)
