"""ε bounds: vectors worked by hand, defining equations, ceilings, and validity under a known ε."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from prime_audit.audit.auc import Undefined
from prime_audit.audit.epsilon import (
    clopper_pearson,
    one_run_epsilon,
    one_run_p_value,
)


def test_vectors_worked_by_hand() -> None:
    assert one_run_epsilon(1000, 100, 80, 0.0) == pytest.approx(0.958392, abs=5e-7)
    assert one_run_epsilon(50, 50, 50) == pytest.approx(2.785, abs=5e-4)


@given(st.integers(1, 200), st.data(), st.sampled_from([0.01, 0.05, 0.2]))
def test_clopper_pearson_inverts_the_binomial_tails(n: int, data: st.DataObject, alpha: float) -> None:
    successes = data.draw(st.integers(0, n))
    lower, upper = clopper_pearson(successes, n, alpha)
    assert lower <= successes / n <= upper
    if successes:
        assert binom.sf(successes - 1, n, lower) == pytest.approx(alpha / 2, rel=1e-6)
    if successes < n:
        assert binom.cdf(successes, n, upper) == pytest.approx(alpha / 2, rel=1e-6)


def test_ends_of_the_clopper_pearson_interval() -> None:
    assert clopper_pearson(0, 10)[0] == 0.0
    assert clopper_pearson(10, 10)[1] == 1.0


def test_one_run_bound_solves_its_equation() -> None:
    bound = one_run_epsilon(200, 60, 50, 1e-4)
    assert one_run_p_value(200, 60, 50, bound, 1e-4) == pytest.approx(0.05, abs=1e-9)
    assert bound < one_run_epsilon(200, 60, 50)


def test_one_run_p_value_against_its_definition() -> None:
    m, r, v, epsilon, delta = 40, 12, 9, 0.3, 1e-3
    q = math.exp(epsilon) / (1 + math.exp(epsilon))
    mass = [math.comb(r, j) * q**j * (1 - q) ** (r - j) for j in range(r + 1)]
    steepest = max(sum(mass[v - i : v]) / i for i in range(1, v + 1))
    assert one_run_p_value(m, r, v, epsilon, delta) == pytest.approx(sum(mass[v:]) + 2 * m * delta * steepest)


@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-3])
def test_one_run_p_value_rises_until_it_passes_alpha(delta: float) -> None:
    # The search takes the first crossing for the largest ε: sound where the p-value is monotone below it.
    for m, r, v in [(50, 50, 50), (100, 40, 31), (1000, 100, 80), (30, 10, 10)]:
        values = np.array([one_run_p_value(m, r, v, e, delta) for e in np.linspace(0, 8, 400)])
        after = np.flatnonzero(values >= 0.2)
        assert after.size
        assert (np.diff(values[: after[0] + 1]) > 0).all()
        assert (values[after[0] :] >= 0.05).all()


def test_no_evidence_gives_zero() -> None:
    assert one_run_epsilon(100, 100, 50) == 0.0
    assert one_run_epsilon(100, 0, 0) == 0.0
    assert one_run_epsilon(100, 10, 0, 1e-3) == 0.0


def test_bounds_of_randomised_response_seldom_exceed_its_epsilon() -> None:
    rng, epsilon, runs = np.random.default_rng(0), 1.0, 400
    q = math.exp(epsilon) / (1 + math.exp(epsilon))
    right = rng.binomial(100, q, size=runs)
    assert np.mean([one_run_epsilon(100, 100, int(v)) > epsilon for v in right]) <= 0.05 + 0.03


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clopper_pearson(5, 4), "5 successes of 4 trials"),
        (lambda: clopper_pearson(1, 4, 0.0), "alpha"),
        (lambda: one_run_epsilon(2, 2, 1, delta=1.0), "delta"),
        (lambda: one_run_epsilon(10, 20, 5), "v <= r <= m"),
    ],
)
def test_impossible_arguments(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()


def test_a_proportion_of_nobody_is_undefined() -> None:
    with pytest.raises(Undefined, match="no trials"):
        clopper_pearson(0, 0)
