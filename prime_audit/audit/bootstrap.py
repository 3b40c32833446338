"""Percentile intervals by resampling whole users, because the questions of one user are not independent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prime_audit.audit.auc import FloatArray, IntArray, Undefined

Statistic = Callable[[IntArray], float]
"""A statistic of the items at these indices; an index may occur several times, or not at all."""


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
    error. With few groups it is too narrow, by about √((g-1)/g) for g groups.

    Raises
    ------
    ValueError
        Where a draw is not finite: an interval of the other draws would describe something else.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level is between 0 and 1, not {level}")
    values = np.asarray(draws, dtype=np.float64)
    bad = int(values.size - np.isfinite(values).sum())
    if bad or not values.size:
        raise ValueError(f"{bad} of {values.size} bootstrap draws are not finite")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resamples(groups: Sequence[str], *, n: int, seed: int) -> Iterator[IntArray]:
    """Yield ``n`` resamples: item indices of as many groups as there are, drawn with replacement.

    A function of the arguments alone. Except for the indices' order, it does not depend on the items' order.
    """
    _, codes = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    count = int(codes.max()) + 1
    members = [np.flatnonzero(codes == code) for code in range(count)]
    rng = np.random.default_rng(seed)
    for _ in range(n):
        yield np.concatenate([members[code] for code in rng.integers(count, size=count)])


def resample_counts(groups: Sequence[str], *, n: int, seed: int) -> FloatArray:
    """Return how often each item occurs in each of :func:`resamples`' draws: float64 [n, items]."""
    return np.stack(
        [np.bincount(i, minlength=len(groups)) for i in resamples(groups, n=n, seed=seed)]
    ).astype(float)


def bootstrap_ci(
    statistic: Statistic, groups: Sequence[str], *, n: int = 1000, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of a pooled statistic, resampling groups (users) with all their items.

    Parameters
    ----------
    statistic
        Maps item indices [any length] to the statistic, for example ``lambda i: float(correct[i].mean())``.
    groups
        The group of each item, [items]; items of one group stay together.
    n
        Resamples.
    seed
        Of numpy's default generator; the same arguments give the same interval.
    level
        Nominal coverage.

    Returns
    -------
    tuple
        Lower and upper limit.

    Raises
    ------
    Undefined
        Where there are fewer than two groups.
    ValueError
        Where the statistic of a resample is not finite.
    """
    distinct = len(set(groups))
    if distinct < 2:
        raise Undefined(f"an interval over users needs at least two users, not {distinct}")
    return percentile_interval([statistic(indices) for indices in resamples(groups, n=n, seed=seed)], level)


def paired_difference(
    first: Statistic,
    second: Statistic,
    groups: Sequence[str],
    *,
    n: int = 1000,
    seed: int,
    level: float = 0.95,
) -> Estimate:
    """``first`` minus ``second`` on the same items, both computed on the same resamples.

    Arguments and errors as ``bootstrap_ci``, except that fewer than two groups give an estimate without interval.
    """

    def difference(indices: IntArray) -> float:
        return first(indices) - second(indices)

    value = difference(np.arange(len(groups)))
    try:
        return Estimate(value, bootstrap_ci(difference, groups, n=n, seed=seed, level=level))
    except Undefined as reason:
        return Estimate(value, None, str(reason))
