"""Percentile intervals by resampling whole users, because the questions of one user are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prime_audit.audit.auc import FloatArray, numbered


@dataclass(frozen=True)
class Estimate:
    """An estimate with its interval."""

    value: float
    """The statistic of the data."""
    ci: tuple[float, float] | None
    """Lower and upper limit; None where the data allow no interval."""
    reason: str | None = None
    """Why there is no interval; None where there is one."""


def percentile_interval(draws: ArrayLike, level: float) -> tuple[float, float]:
    """Return the (1 - level)/2 and (1 + level)/2 quantiles of ``draws``, linear between order statistics.

    The plain percentile method respects a statistic's bounds and monotone transforms, and needs no estimate of the
    error. With few groups it is too narrow, by about √((g-1)/g) for g groups. ValueError where a draw is not finite:
    an interval of the other draws would describe something else.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level is between 0 and 1, not {level}")
    values = np.asarray(draws, dtype=np.float64)
    bad = int(values.size - np.isfinite(values).sum())
    if bad or not values.size:
        raise ValueError(f"{bad} of {values.size} bootstrap draws are not finite")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resample_counts(groups: Sequence[str], *, n: int, seed: int) -> FloatArray:
    """How often each item occurs when as many groups as there are get drawn with replacement: float64 [n, items].

    A function of the arguments alone; the items' order does not change how often an item is drawn.
    """
    names, codes = numbered(groups)
    count, rng = len(names), np.random.default_rng(seed)
    drawn = [np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(n)]
    # In rows: the memory's order decides in which order a product adds up, and so the last bits of intervals.
    return np.stack(drawn)[:, codes].astype(float, order="C")
