"""Empirical lower bounds on the ε of (ε, δ)-differential privacy, from right guesses in one training run.

A bound is valid for a rule of guessing that was fixed before the scores were seen. If you choose the best of many,
correct ``alpha`` for the choice.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betainc, betaincinv

from prime_audit.audit.auc import Undefined

_BISECTIONS = 60
"""Halvings of an interval of length 1: beyond float precision."""
_EPSILON_LIMIT = 100.0
"""Upper end of the search for a bound; binomial counts that fit in memory stay far below."""


def clopper_pearson(successes: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Exact interval (lower, upper) in [0, 1] of a proportion, from ``successes`` of ``n`` >= 1 independent trials.

    Each side is at ``alpha``/2, so the interval's level is 1 - ``alpha``.
    """
    _check_alpha(alpha)
    if n < 1:
        raise Undefined("a proportion of no trials")
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials")
    lower = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, alpha / 2))
    upper = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - alpha / 2))
    return lower, upper


def one_run_epsilon(m: int, r: int, v: int, delta: float = 0.0, alpha: float = 0.05) -> float:
    """Lower bound on ε from one training run with randomised membership (Steinke et al. 2023).

    Parameters
    ----------
    m
        Units whose membership was drawn by a fair coin.
    r
        Guesses about them (the others: abstained).
    v
        Correct guesses.
    delta
        The δ of (ε, δ).
    alpha
        Error probability of the bound.

    Returns
    -------
    float
        The largest ε with p-value below ``alpha``, rounded down by less than 1e-12; 0 where there is none.
    """
    _check_alpha(alpha)
    _check_delta(delta)
    if not 0 <= v <= r <= m:
        raise ValueError(f"expected 0 <= v <= r <= m, not v {v}, r {r}, m {m}")
    if one_run_p_value(m, r, v, 0.0, delta) >= alpha:
        return 0.0
    low, high = 0.0, 1.0
    while one_run_p_value(m, r, v, high, delta) < alpha and high < _EPSILON_LIMIT:
        low, high = high, high + 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if one_run_p_value(m, r, v, middle, delta) < alpha:
            low = middle
        else:
            high = middle
    return low


def one_run_p_value(m: int, r: int, v: int, epsilon: float, delta: float = 0.0) -> float:
    """Return the probability bound for v or more right guesses of r under (ε, δ); arguments as above.

    min(1, β + 2mδA), with q = e^ε/(1 + e^ε), β = P[Bin(r, q) >= v], A = max over 1 <= i <= v of
    P[v - i <= Bin(r, q) < v] / i.
    """
    q = 1.0 / (1.0 + math.exp(-epsilon))
    tail = float(betainc(v, r - v + 1, q)) if v else 1.0
    if delta == 0.0 or v == 0:
        return min(1.0, tail)
    from scipy.stats import binom  # its package takes a second to import, and no run needs a δ

    below = np.cumsum(binom.pmf(np.arange(v - 1, -1, -1), r, q))
    steepest = float(np.max(below / np.arange(1, v + 1)))
    return min(1.0, tail + 2 * m * delta * steepest)


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is between 0 and 1, not {alpha}")


def _check_delta(delta: float) -> None:
    if not 0.0 <= delta < 1.0:
        raise ValueError(f"delta is in [0, 1), not {delta}")
