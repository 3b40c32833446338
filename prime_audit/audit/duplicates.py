"""Attacks that repeat another one in a game: they are no further test, and no correction counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.judge import Scored

_ROUNDING = 1e-9
"""Relative to the scores' deviation."""


def marked(scored: Sequence[Scored]) -> list[Scored]:
    """Name in each attack the first one before it that gives all items the same scores up to a shift and a scale.

    Scores by the unmerged base have to be the same by the same shift and scale. Then every figure is the same: AUC,
    TPR, gain over base, tail and ε.
    """
    kept: list[tuple[str, object, FloatArray]] = []
    found = []
    for one in scored:
        items, values = _standard(one)
        same = next((name for name, of, other in kept if of == items and _equal(values, other)), None)
        found.append(one if same is None else replace(one, duplicate=same))
        if same is None:
            kept.append((one.attack, items, values))
    return found


def _standard(one: Scored) -> tuple[object, FloatArray]:
    """Return which targets' items there are, and all scores, the base's too, at mean 0 and deviation 1."""
    sides = (one.scores, one.controls.get("base", {}))
    items = tuple((target, own.size) for side in sides for target, own in side.items())
    values = np.concatenate([np.zeros(0), *(own for side in sides for own in side.values())])
    known = values[np.isfinite(values)]
    spread = known.std() if known.size else 0.0
    return items, (values - (known.mean() if known.size else 0.0)) / (spread or 1.0)


def _equal(one: FloatArray, other: FloatArray) -> bool:
    return np.allclose(one, other, rtol=0.0, atol=_ROUNDING, equal_nan=True)
