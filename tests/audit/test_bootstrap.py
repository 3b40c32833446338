"""Resampling users: definition, determinism, coverage."""

from __future__ import annotations

import numpy as np
import pytest

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.bootstrap import percentile_interval, resample_counts


def of_mean(
    values: FloatArray, groups: list[str], *, n: int, seed: int, level: float = 0.95
) -> tuple[float, float]:
    counts = resample_counts(groups, n=n, seed=seed)
    return percentile_interval(counts @ values / counts.sum(axis=1), level)


def test_resamples_keep_a_users_items_together() -> None:
    groups = ["b", "a", "b", "c"]
    counts = resample_counts(groups, n=50, seed=1)
    assert counts.shape == (50, 4)
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, 0] + counts[:, 1] + counts[:, 3] == 3).all()


def test_interval_equals_plain_resampling() -> None:
    values, groups = np.array([1.0, 2.0, 4.0, 8.0, 16.0]), ["a", "a", "b", "c", "c"]
    rng = np.random.default_rng(7)
    parts = [values[:2], values[2:3], values[3:]]
    plain = [np.mean(np.concatenate([parts[i] for i in rng.integers(3, size=3)])) for _ in range(200)]
    expected = tuple(np.quantile(plain, [0.05, 0.95]))
    assert of_mean(values, groups, n=200, seed=7, level=0.9) == pytest.approx(expected, rel=1e-12)


def test_same_seed_same_interval_whatever_the_order_of_items() -> None:
    rng = np.random.default_rng(0)
    values, groups = rng.normal(size=60), [f"u{i % 12}" for i in range(60)]
    order = rng.permutation(60)
    shuffled, names = values[order], [groups[i] for i in order]
    first = of_mean(values, groups, n=100, seed=3)
    assert first == of_mean(values, groups, n=100, seed=3)
    assert first == pytest.approx(of_mean(shuffled, names, n=100, seed=3))
    assert first != of_mean(values, groups, n=100, seed=4)


def test_coverage_with_correlated_users() -> None:
    rng, groups, runs = np.random.default_rng(1), [f"u{i // 5}" for i in range(200)], 400
    covered = item_level = 0
    for run in range(runs):
        values = np.repeat(rng.normal(size=40), 5) + rng.normal(size=200)
        low, high = of_mean(values, groups, n=200, seed=run)
        covered += low <= 0 <= high
        item_level += abs(values.mean()) <= 1.96 * values.std() / np.sqrt(200)
    assert 0.89 <= covered / runs <= 0.97  # 0.93 in the long run: 40 users, percentiles of 200 draws
    assert item_level / runs < 0.8  # the interval that forgets whose items they are


def test_a_draw_that_is_not_finite_is_never_dropped() -> None:
    counts = resample_counts(["a", "b", "c"], n=20, seed=0)
    with pytest.raises(ValueError, match="of 20 bootstrap draws are not finite"):
        percentile_interval(np.where(counts[:, 0] > 0, np.nan, 1.0), 0.95)
    with pytest.raises(ValueError, match="level"):
        percentile_interval([1.0], 1.0)
