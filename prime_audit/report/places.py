"""Places of methods in a column: one is below another only if that one beats it.

Two methods are compared by their paired difference. The p-values of all pairs of a column are corrected together by
Holm's method, so that with 95 % no method is placed wrongly, whatever the pairs have in common.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np

from prime_audit.audit.jackknife import p_value, variance
from prime_audit.audit.permutation import holm
from prime_audit.record import Comparison, Result
from prime_audit.report.sheet import Figure

ALPHA = 0.05
_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Gap:
    """One figure minus another, of higher or of lower is better alike."""

    difference: float
    se: float
    freedom: float
    """Degrees of freedom of Student's t; infinite where they are not known."""
    paired: bool = True
    """Whether it is of the same people; else the two count as measured apart, which is wider."""


def error_of(figure: Result | Comparison) -> tuple[float, float] | None:
    """Return a figure's standard error and degrees of freedom; of an older record by its interval, else None."""
    if figure.se is not None:
        return figure.se, figure.freedom
    return None if figure.ci is None else ((figure.ci[1] - figure.ci[0]) / 2 / _Z, math.inf)


def between(comparisons: Iterable[Comparison], one: Result, other: Result) -> Comparison | None:
    """Find the difference of two results in a record that holds it, whichever was subtracted."""
    for c in comparisons:
        if (c.task, c.metric, c.game, c.attack) == (one.task, one.metric, one.game, one.attack):
            if (c.method, c.baseline) == (one.method, other.method):
                return c
            if (c.method, c.baseline) == (other.method, one.method) and c.difference is not None:
                return replace(c, difference=-c.difference, ci=c.ci and (-c.ci[1], -c.ci[0]))
    return None


def gap_between(
    one: Result, other: Result, compared: Comparison | None = None, *, same: bool = True
) -> Gap | None:
    """Subtract two results by what their records hold; None where that carries no error.

    Each without every target in turn (``Result.without``); else the difference as it was ``compared`` in a record;
    else the two apart. ``same``: whether both are of the same questions.
    """
    if one.value is None or other.value is None:
        return None
    difference = one.value - other.value
    if same and len(one.without) == len(other.without) > 1:
        left_out = np.subtract(one.without, other.without)
        return Gap(difference, math.sqrt(variance(left_out)), left_out.size - 1)
    if same and compared is not None and compared.difference is not None and (known := error_of(compared)):
        return Gap(compared.difference, *known)
    errors = error_of(one), error_of(other)
    if errors[0] is None or errors[1] is None:
        return None
    se, freedom = math.hypot(errors[0][0], errors[1][0]), min(errors[0][1], errors[1][1])
    # Intervals without width, of an unknown number of people, show nothing.
    return Gap(difference, se, freedom, False) if se or math.isfinite(freedom) else None


def places(count: int, gaps: Mapping[tuple[int, int], Gap], *, higher: bool = True) -> list[tuple[int, int]]:
    """Return each of ``count`` figures' best and worst place, from 1: those that beat it are before it.

    ``gaps``: of pairs by their numbers, first minus second; a pair without one counts as equal.
    """
    adjusted = holm([p_value(gap.difference, gap.se, gap.freedom) for gap in gaps.values()])
    before, behind = [0] * count, [0] * count
    for (first, second), p in zip(gaps, adjusted, strict=True):
        if p <= ALPHA:
            ahead = (gaps[first, second].difference > 0) == higher
            before[second if ahead else first] += 1
            behind[first if ahead else second] += 1
    return [(1 + b, count - a) for b, a in zip(before, behind, strict=True)]


def with_places(figures: Sequence[Figure], gap: Callable[[Figure, Figure], Gap | None]) -> list[Figure]:
    """Return figures with their places in their column; one without a value or a direction has none."""
    columns: dict[Any, list[int]] = {}
    for number, f in enumerate(figures):
        if f.value is not None and f.higher_is_better is not None:
            columns.setdefault((f.task, f.metric, f.game, f.attack), []).append(number)
    found = list(figures)
    for numbers in columns.values():
        pairs = combinations(range(len(numbers)), 2)
        gaps = {(a, b): g for a, b in pairs if (g := gap(figures[numbers[a]], figures[numbers[b]]))}
        ranks = places(len(numbers), gaps, higher=bool(figures[numbers[0]].higher_is_better))
        for number, rank in zip(numbers, ranks, strict=True):
            found[number] = replace(figures[number], rank=rank)
    return found
