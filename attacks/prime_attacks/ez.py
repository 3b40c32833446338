"""EZ: of what training changed at the tokens that the model still gets wrong, the share that is an increase.

The released code divides P by N, and returns 0 where N = 0: an item that rose at every wrong token, the surest
member, ranks last. P/(P + N) orders items as P/N does where N > 0, and puts N = 0 first.
"""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, gains
from prime_audit.plugins import attack


@attack(
    source="Ilić et al. 2026 (arXiv 2601.12104), with N = 0 repaired",
    needs=("logprobs", "base_logprobs", "top"),
)
def ez(signals: Signals) -> FloatArray:
    """P/(P + N): sums of the positive and negative parts of log p - log p_base over tokens that are not the top one.

    Undefined where the model gets every token right: it has no error to look at. ½ where no wrong token moved by
    more than rounding.
    """
    return np.array([_one(row[~top]) for row, top in zip(gains(signals), signals.top, strict=True)])


def _one(gained: FloatArray) -> float:
    if not gained.size:
        return float("nan")
    up, moved = gained[gained > 0].sum(), np.abs(gained).sum()
    return float(up / moved) if moved else 0.5
