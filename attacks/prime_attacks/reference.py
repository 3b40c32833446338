"""Reference: how much likelier the item became since the unmerged base, NLL_base - NLL."""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, mean_nll
from prime_audit.plugins import attack


@attack(source="Carlini et al. 2021; Mireshghallah et al. 2022", needs=("logprobs", "base_logprobs"))
def reference(signals: Signals) -> FloatArray:
    """NLL_base - NLL; undefined where both are infinite."""
    with np.errstate(invalid="ignore"):
        return mean_nll(signals.base_logprobs) - mean_nll(signals.logprobs)
