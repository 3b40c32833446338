"""Resampling users: definition, determinism, coverage, pairing."""

from __future__ import annotations

import numpy as np
import pytest

from prime_audit.audit.auc import FloatArray, IntArray
from prime_audit.audit.bootstrap import resamples
from prime_audit.audit.stats import Undefined, bootstrap_ci, paired_difference, percentile_interval


def test_resamples_keep_a_users_items_together() -> None:
    groups = ["b", "a", "b", "c"]
    for indices in resamples(groups, n=50, seed=1):
        counts = np.bincount(indices, minlength=4)
        assert counts[0] == counts[2]
        assert counts[0] + counts[1] + counts[3] == 3


def test_interval_equals_plain_resampling() -> None:
    values, groups = np.array([1.0, 2.0, 4.0, 8.0, 16.0]), ["a", "a", "b", "c", "c"]
    rng = np.random.default_rng(7)
    parts = [values[:2], values[2:3], values[3:]]
    plain = [np.mean(np.concatenate([parts[i] for i in rng.integers(3, size=3)])) for _ in range(200)]
    expected = tuple(np.quantile(plain, [0.05, 0.95]))
    assert bootstrap_ci(lambda i: float(values[i].mean()), groups, n=200, seed=7, level=0.9) == expected


def test_same_seed_same_interval_whatever_the_order_of_items() -> None:
    rng = np.random.default_rng(0)
    values, groups = rng.normal(size=60), [f"u{i % 12}" for i in range(60)]
    order = rng.permutation(60)
    shuffled, names = values[order], [groups[i] for i in order]
    first = bootstrap_ci(lambda i: float(values[i].mean()), groups, n=100, seed=3)
    assert first == bootstrap_ci(lambda i: float(values[i].mean()), groups, n=100, seed=3)
    assert first == pytest.approx(bootstrap_ci(lambda i: float(shuffled[i].mean()), names, n=100, seed=3))
    assert first != bootstrap_ci(lambda i: float(values[i].mean()), groups, n=100, seed=4)


def test_coverage_with_correlated_users() -> None:
    rng, groups, runs = np.random.default_rng(1), [f"u{i // 5}" for i in range(200)], 400
    covered = item_level = 0
    for run in range(runs):
        values = np.repeat(rng.normal(size=40), 5) + rng.normal(size=200)

        def mean(indices: IntArray, values: FloatArray = values) -> float:
            return float(values[indices].mean())

        low, high = bootstrap_ci(mean, groups, n=200, seed=run)
        covered += low <= 0 <= high
        item_level += abs(values.mean()) <= 1.96 * values.std() / np.sqrt(200)
    assert 0.89 <= covered / runs <= 0.97  # 0.93 in the long run: 40 users, percentiles of 200 draws
    assert item_level / runs < 0.8  # the interval that forgets whose items they are


def test_paired_difference_uses_the_same_resamples() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=50)
    groups = [f"u{i % 10}" for i in range(50)]
    better = base + 0.25
    gain = paired_difference(
        lambda i: float(better[i].mean()), lambda i: float(base[i].mean()), groups, n=50, seed=0
    )
    assert gain.value == pytest.approx(0.25)
    assert gain.ci == pytest.approx((0.25, 0.25))
    assert gain.reason is None


def test_one_user_has_no_interval() -> None:
    with pytest.raises(Undefined, match="at least two users, not 1"):
        bootstrap_ci(lambda i: 0.0, ["a", "a"], seed=0)
    alone = paired_difference(lambda i: 1.0, lambda i: 0.5, ["a", "a"], seed=0)
    assert (alone.value, alone.ci) == (0.5, None)
    assert alone.reason is not None


def test_a_draw_that_is_not_finite_is_never_dropped() -> None:
    with pytest.raises(ValueError, match="of 20 bootstrap draws are not finite"):
        bootstrap_ci(lambda i: float("nan") if 0 in i else 1.0, ["a", "b", "c"], n=20, seed=0)
    with pytest.raises(ValueError, match="level"):
        percentile_interval([1.0], 1.0)
