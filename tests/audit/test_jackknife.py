"""The jackknife against leaving persons out by hand, scipy's t, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t, ttest_1samp

from prime_audit.audit.epsilon import clopper_pearson
from prime_audit.audit.jackknife import limits, p_value, share_limits, variance, widest


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12))
def test_of_a_mean_it_is_the_usual_variance(values: list[float]) -> None:
    x = np.array(values)
    left_out = (x.sum() - x) / (x.size - 1)
    assert variance(left_out) == pytest.approx(x.var(ddof=1) / x.size, rel=1e-6, abs=1e-16)


def test_equal_values_do_not_vary_however_they_were_rounded() -> None:
    assert variance(np.array([0.1 + 0.2, 0.3, 0.3])) == 0.0
    assert variance(np.array([0.3 + 1e-9, 0.3, 0.3 - 1e-9])) == 0.0
    assert variance(np.array([0.3 + 1e-8, 0.3, 0.3])) > 0.0


def test_limits_and_p_are_scipys() -> None:
    x = np.random.default_rng(0).normal(0.4, 1.0, size=9)
    theirs = ttest_1samp(x, 0.0)
    se = float(x.std(ddof=1) / math.sqrt(x.size))
    assert limits(float(x.mean()), se, 8) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert p_value(float(x.mean()), se, 8) == pytest.approx(theirs.pvalue)
    with pytest.raises(ValueError, match="between 0 and 1"):
        limits(0.0, 1.0, 3, level=1.0)


def test_without_variation() -> None:
    assert limits(0.3, 0.0, 4) == (0.3, 0.3)
    assert (p_value(0.3, 0.0, 4), p_value(0.0, 0.0, 4)) == (1 / 16, 1.0)
    assert share_limits(1.0, 0.0, 4) == pytest.approx(clopper_pearson(5, 5))
    assert share_limits(0.0, 0.0, 4) == pytest.approx(clopper_pearson(0, 5))


def test_the_widest_interval_is_taken_and_of_equal_ones_that_of_the_fewest_people() -> None:
    assert widest([(1.0, 30), (0.5, 2)]) == (0.5, 2)
    assert widest([(1.0, 30), (0.1, 2)]) == (1.0, 30)
    assert widest([(0.0, 30), (0.0, 2)]) == (0.0, 2)


def test_a_shares_limits_stay_within_0_and_1_and_are_those_of_its_logit() -> None:
    low, high = share_limits(0.9, 0.05, 6)
    reach = t.ppf(0.975, 6) * 0.05 / 0.09
    odds = [math.log(x / (1 - x)) for x in (low, 0.9, high)]
    assert (odds[1] - odds[0], odds[2] - odds[1]) == pytest.approx((reach, reach))
    assert 0.0 <= share_limits(0.99, 0.5, 1)[0] < share_limits(0.99, 0.5, 1)[1] <= 1.0
