"""Mean loss: the loss threshold without its pull towards short texts."""

from __future__ import annotations

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, mean_nll
from prime_audit.plugins import attack


@attack(source="Yeom et al. 2018", needs=("logprobs",))
def loss_mean(signals: Signals) -> FloatArray:
    """Minus the mean loss of the gold tokens, -NLL."""
    return -mean_nll(signals.logprobs)
