"""Alignment: how much the item's loss still falls when the adapter is scaled up, -⟨∂L/∂ΔW, ΔW⟩.

Training moves along the gradients of its own items. At the adapter's full weight the loss of a trained item has a small
slope along the update or still falls, that of another item more often rises.
"""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals
from prime_audit.plugins import attack


@attack(source="after Li et al. 2023 (gradients against updates)", needs=("alignment",))
def alignment(signals: Signals) -> FloatArray:
    """-Σ ⟨∂L/∂ΔW, ΔW⟩ over all adapted modules."""
    return np.array([-row.sum() for row in signals.alignment], dtype=np.float64)
