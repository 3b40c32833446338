"""Gradnorm: minus the norm of the loss gradient with respect to the adapter's factors, which training makes small.

It reads the gradients of a shared adapter's own factors: only in games that query single
adapters (``adapter``, ``canary_adapter``). Each item costs a forward and a backward pass.
"""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals
from prime_audit.plugins import attack


@attack(source="Nasr et al. 2019", needs=("grad_norm",))
def gradnorm(signals: Signals) -> FloatArray:
    """-‖∂L/∂(A, B)‖ over all adapted modules."""
    return np.array([-np.sqrt(np.square(row).sum()) for row in signals.grad_norm], dtype=np.float64)
