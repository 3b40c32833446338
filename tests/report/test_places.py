"""Places: below another only where that one beats it, with all pairs of a column corrected together."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from prime_audit.record import Comparison, Result
from prime_audit.report.places import Gap, between, gap_between, places
from tests import records


def result(method: str, right: np.ndarray) -> Result:
    """Make the result of a method that gives each user this share of right answers, as many questions each."""
    without = (right.sum() - right) / (right.size - 1)
    value = float(right.mean())
    return records.result(method=method, value=value, ci=None, without=tuple(without.tolist()))


def compared(difference: float, reach: float) -> Comparison:
    return records.comparison(
        method="oppu", metric="accuracy", difference=difference, ci=(difference - reach, difference + reach)
    )


def test_of_the_same_people_it_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random(12), rng.random(12)
    gap = gap_between(result("oppu", one), result("np", other))
    assert gap is not None
    theirs = ttest_rel(one, other)
    assert gap.difference / gap.se == pytest.approx(theirs.statistic)
    assert (gap.freedom, gap.paired) == (11, True)


def test_what_an_older_record_holds() -> None:
    """The difference as it was filed, else both intervals as of different people."""
    one = records.result(method="oppu", metric="accuracy", value=0.7, ci=(0.5, 0.9))
    other = records.result(method="np", metric="accuracy", value=0.4, ci=(0.3, 0.5))
    filed = gap_between(one, other, between([compared(0.3, 0.1)], one, other))
    assert filed == Gap(0.3, pytest.approx(0.1 / 1.959964), math.inf)
    turned = gap_between(other, one, between([compared(0.3, 0.1)], other, one))
    assert turned == Gap(-0.3, pytest.approx(0.1 / 1.959964), math.inf)
    apart = gap_between(one, other)
    assert apart == Gap(pytest.approx(0.3), pytest.approx(math.hypot(0.2, 0.1) / 1.959964), math.inf, False)
    assert gap_between(one, other, compared(0.3, 0.1), same=False) == apart
    assert gap_between(one, records.result(method="np", metric="accuracy", value=0.4, ci=None)) is None
    assert gap_between(one, records.result(method="np", metric="accuracy", value=None, ci=None)) is None


def test_who_beats_whom() -> None:
    gaps = {(0, 1): Gap(0.3, 0.01, 20), (0, 2): Gap(0.31, 0.01, 20), (1, 2): Gap(0.01, 0.02, 20)}
    assert places(3, gaps) == [(1, 1), (2, 3), (2, 3)]
    assert places(3, gaps, higher=False) == [(3, 3), (1, 2), (1, 2)]
    assert places(2, {}) == [(1, 2), (1, 2)]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_values_without_error_are_ordered_and_equal_ones_share(values: list[int]) -> None:
    gaps = {(a, b): Gap(values[a] - values[b], 0.0, math.inf) for a, b in combinations(range(len(values)), 2)}
    ordered = sorted(values, reverse=True)
    for value, place in zip(values, places(len(values), gaps), strict=True):
        first = ordered.index(value) + 1
        assert place == (first, first + ordered.count(value) - 1)


@pytest.mark.parametrize("users", [3, 8])
def test_among_equals_hardly_any_is_placed_below_another(users: int) -> None:
    """Eight methods of which none is better, each user another difficulty: some pair differs by chance in 5 %."""
    rng, wrong, n = np.random.default_rng(1), 0, 400
    for _ in range(n):
        ease = rng.random(users)
        own = [result(f"m{i}", rng.binomial(9, ease) / 9) for i in range(8)]
        gaps = {(a, b): gap for a, b in combinations(range(8), 2) if (gap := gap_between(own[a], own[b]))}
        wrong += any(place != (1, 8) for place in places(8, gaps))
    assert wrong <= 0.07 * n


def test_the_better_one_is_found_though_intervals_overlap() -> None:
    """Users differ much more than methods do: the two intervals overlap, the paired difference tells them apart."""
    rng = np.random.default_rng(2)
    ease = rng.random(30) * 0.8
    one, other = result("oppu", ease + 0.1 + 0.02 * rng.random(30)), result("np", ease)
    gap = gap_between(one, other)
    assert gap is not None
    assert places(2, {(0, 1): gap}) == [(1, 1), (2, 2)]
