"""Loss threshold: the sum of the gold tokens' log-probabilities (the paper's attack)."""

from __future__ import annotations

import numpy as np

from prime_audit.audit.signals import Signals
from prime_audit.plugins import attack


@attack(source="Yeom et al. 2018; PriME §3.2", needs=("logprobs",))
def loss(signals: Signals) -> np.ndarray:
    """Minus the summed loss of the gold tokens, end-of-text included."""
    return np.array([tokens.sum() for tokens in signals.logprobs])
