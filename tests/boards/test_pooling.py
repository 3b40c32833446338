"""One figure of several seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t

from prime_audit.boards.pooling import Seen, pooled


def drawn(rng: np.random.Generator, seeds: int, tau: float, users: float, shared: bool) -> list[Seen]:
    """Simulate seeds: a true value of 0, spread between seeds, and an honest interval over users."""
    common = rng.normal(0, users)
    found = []
    for seed in range(seeds):
        value = rng.normal(0, tau) + (common if shared else rng.normal(0, users))
        half = 1.959964 * users * np.sqrt(rng.chisquare(30) / 30)
        found.append(Seen(value, (half / 1.959964, 30), "same" if shared else str(seed)))
    return found


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_covers_the_truth(tau: float, seeds: int, shared: bool) -> None:
    """Also with three seeds, and where they lie far apart."""
    rng = np.random.default_rng(0)
    cis = [pooled(drawn(rng, seeds, tau, 1.0, shared))[1] for _ in range(2000)]
    assert np.mean([ci is not None and ci[0] <= 0 <= ci[1] for ci in cis]) >= 0.91


def test_seeds_of_the_same_users_do_not_shrink_the_interval_below_theirs() -> None:
    value, ci, error = pooled([Seen(0.5, (0.05, 13), "a")] * 9)
    assert value == 0.5
    assert error == pytest.approx((0.05, 13))
    assert ci == pytest.approx((0.5 - 0.05 * t.ppf(0.975, 13), 0.5 + 0.05 * t.ppf(0.975, 13)))


def test_seeds_with_users_of_their_own_shrink_it() -> None:
    value, ci, error = pooled([Seen(0.5, (0.05, 4), str(i)) for i in range(4)])
    assert value == 0.5
    assert error == pytest.approx((0.025, 16))
    assert ci == pytest.approx((0.5 - 0.025 * t.ppf(0.975, 16), 0.5 + 0.025 * t.ppf(0.975, 16)))


def test_where_the_degrees_of_freedom_are_not_known_it_is_the_normals() -> None:
    _, ci, error = pooled([Seen(0.5, (0.05, math.inf), str(i)) for i in range(4)])
    assert error == (0.025, math.inf)
    assert ci == pytest.approx((0.5 - 0.025 * 1.959964, 0.5 + 0.025 * 1.959964))


def test_where_nothing_varies_there_is_no_certainty() -> None:
    for splits in ("aaa", "abc"):
        value, ci, error = pooled([Seen(1.0, (0.0, 4), split, (0.48, 1.0)) for split in splits])
        assert (value, ci, error) == (1.0, (0.48, 1.0), (0.0, 2))


def test_one_seed_keeps_its_own_interval() -> None:
    assert pooled([Seen(0.5, (0.05, 4), "a", (0.3, 0.55))]) == (0.5, (0.3, 0.55), (0.05, 4))


def test_a_seed_without_an_interval_leaves_none() -> None:
    assert pooled([Seen(0.5, (0.05, 4), "a"), Seen(0.7, None, "b")]) == (0.6, None, None)
