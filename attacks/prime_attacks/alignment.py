"""Alignment: how well the adapter's update follows the item's own gradient at the base, -⟨∂L/∂ΔW, ΔW⟩.

Training adds up steps against the gradients of its items. So the update holds a share of each trained item's gradient,
and is orthogonal to that of another item except for what the two have in common. It reads the gradients of a shared
adapter's own factors: only in games that query single adapters (``adapter``, ``canary_adapter``).
"""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals
from prime_audit.plugins import attack


@attack(source="Li et al. 2023", needs=("alignment",))
def alignment(signals: Signals) -> FloatArray:
    """-Σ ⟨∂L/∂ΔW, ΔW⟩ over all adapted modules."""
    return np.array([-row.sum() for row in signals.alignment], dtype=np.float64)
