"""The Gaussians of LiRA over an item's models: own means, and own deviations where there are enough models."""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Rows

FEW = 16
"""Items with fewer modules on a side use the deviation pooled over items (Carlini et al. 2022, section IV-C)."""
_NONE = 1e-12
"""A variance at or below this is rounding error."""


def fit(rows: Rows, fallback: FloatArray | float = 1.0) -> tuple[FloatArray, FloatArray]:
    """Mean and deviation of φ = -NLL of each item under its modules -> [items], [items].

    The deviation is the item's own with FEW modules or more, else the one pooled over all items (within items, m - 1
    degrees of freedom each). Where no item has two modules that differ, it is ``fallback``. The mean of an item
    without modules is NaN.
    """
    rows = [row[np.isfinite(row)] for row in rows]
    means = np.array([-row.mean() if len(row) else np.nan for row in rows], dtype=np.float64)
    squares = np.array([np.square(row - row.mean()).sum() if len(row) else 0.0 for row in rows])
    freedom = np.array([max(len(row) - 1, 0) for row in rows])
    pooled = squares.sum() / freedom.sum() if freedom.any() else 0.0
    common = np.sqrt(pooled) if pooled > _NONE else fallback
    own = np.sqrt(squares / np.maximum(freedom, 1))
    many = (freedom + 1 >= FEW) & (np.square(own) > _NONE)
    return means, np.where(many, own, common)


def log_density(phi: FloatArray, mean: FloatArray, deviation: FloatArray) -> FloatArray:
    """Log-density of a Gaussian up to the constant -½·log 2π."""
    out: FloatArray = -np.square((phi - mean) / deviation) / 2 - np.log(deviation)
    return out
