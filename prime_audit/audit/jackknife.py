"""Standard errors by leaving out one person at a time, and intervals with Student's t.

The questions of one person are not independent, and neither are the items. So whole persons are left out. With few
people, t makes the interval as wide as it must be; a bootstrap of few does not (Efron and Tibshirani 1993, ch. 11; of
clusters, MacKinnon, Nielsen and Webb 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, stdtr, stdtrit

from prime_audit.audit.auc import FloatArray

LEVEL = 0.95
"""Nominal coverage of every interval."""

ROUNDING = 2e-9
"""Values this close are equal: records hold nine decimals. A t of values that differ by less would be arbitrary."""


@dataclass(frozen=True)
class Estimate:
    """An estimate with its interval."""

    value: float
    """The statistic of the data."""
    ci: tuple[float, float] | None
    """Lower and upper limit; None where the data allow no interval."""
    reason: str | None = None
    """Why there is no interval; None where there is one."""
    se: float | None = None
    """Its standard error; None where there is no interval."""
    freedom: int = 0
    """Degrees of freedom of Student's t; 0 where there is no interval."""


def variance(left_out: FloatArray) -> float:
    """Variance of a statistic, from its values without each of n persons, [n ≥ 2]: (n − 1)/n · Σ(value − mean)²."""
    apart = left_out - left_out.mean()
    if np.abs(apart).max() <= ROUNDING:
        return 0.0
    return float((left_out.size - 1) / left_out.size * np.square(apart).sum())


def limits(value: float, se: float, freedom: float, *, level: float = LEVEL) -> tuple[float, float]:
    """Return value ± t·se. ValueError for a level outside (0, 1)."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level is between 0 and 1, not {level}")
    reach = float(stdtrit(freedom, (1 + level) / 2)) * se
    return value - reach, value + reach


def widest(errors: Sequence[tuple[float, int]], *, level: float = LEVEL) -> tuple[float, int]:
    """Return the (variance, degrees of freedom) that gives the widest interval; of equal ones that with the fewest."""
    return max(errors, key=lambda one: (stdtrit(one[1], (1 + level) / 2) * np.sqrt(one[0]), -one[1]))


def share_limits(value: float, se: float, freedom: float, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the limits of a share (or an AUC), on the logit scale: they stay within 0 and 1, and lean to ½.

    The standard error is carried over by its derivative (Pepe 2003, section 5.2.5). At 0 or 1 nothing varies, which
    is no certainty: the limits are those of as many right trials as there are people, ``freedom`` + 1 (Clopper and
    Pearson 1934).
    """
    if not 0.0 < value < 1.0:
        least = float(((1 - level) / 2) ** (1 / (freedom + 1)))
        return (least, 1.0) if value >= 1.0 else (0.0, 1 - least)
    slope = 1 / (value * (1 - value))
    low, high = limits(float(logit(value)), se * slope, freedom, level=level)
    return float(expit(low)), float(expit(high))


def p_value(value: float, se: float, freedom: float) -> float:
    """Return the two-sided p of a value of 0, by Student's t.

    Without any variation among n people it is 2^(1 − n), the least that changing signs of n equal values can give.
    """
    if se == 0:
        return 1.0 if value == 0 else 2.0**-freedom
    return min(1.0, 2 * float(stdtr(freedom, -abs(value) / se)))


def firm_p(value: float, se: float, freedom: float) -> float:
    """Return the p that a gain is above 0, as its interval has it: two-sided (``p_value``); 1 where it is not above."""
    return p_value(value, se, freedom) if value > 0 else 1.0
