"""One figure of several seeds."""

from __future__ import annotations

import numpy as np
import pytest

from prime_audit.boards.pooling import Seen, pooled


def drawn(rng: np.random.Generator, seeds: int, tau: float, users: float, shared: bool) -> list[Seen]:
    """Simulate seeds: a true value of 0, spread between seeds, and an honest interval over users."""
    common = rng.normal(0, users)
    found = []
    for seed in range(seeds):
        value = rng.normal(0, tau) + (common if shared else rng.normal(0, users))
        half = 1.959964 * users * np.sqrt(rng.chisquare(30) / 30)
        found.append(Seen(value, (value - half, value + half), "same" if shared else str(seed)))
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
    seen = [Seen(0.5, (0.4, 0.6), "a")] * 9
    value, ci = pooled(seen)
    assert value == 0.5
    assert ci == pytest.approx((0.4, 0.6))


def test_seeds_with_users_of_their_own_shrink_it() -> None:
    value, ci = pooled([Seen(0.5, (0.4, 0.6), str(i)) for i in range(4)])
    assert value == 0.5
    assert ci == pytest.approx((0.45, 0.55))


def test_one_seed_keeps_its_own_interval() -> None:
    assert pooled([Seen(0.5, (0.3, 0.55), "a")]) == (0.5, (0.3, 0.55))


def test_a_seed_without_an_interval_leaves_none() -> None:
    assert pooled([Seen(0.5, (0.4, 0.6), "a"), Seen(0.7, None, "b")]) == (0.6, None)
