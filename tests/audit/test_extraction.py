"""Extraction: the difference, its interval and its p against computations of their own."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from scipy.stats import t

from prime_audit.audit.extraction import gap


def items(*sharers: tuple[int, int, int, int]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return items of sharers with so many trained, of them extracted, held out, of them extracted."""
    rows = [
        (f"s{n}", side, place < out)
        for n, (inside, hits, others, misses) in enumerate(sharers)
        for side, count, out in ((True, inside, hits), (False, others, misses))
        for place in range(count)
    ]
    owners, trained, found = zip(*rows, strict=True)
    return list(owners), np.array(trained), np.array(found)


def test_the_difference_and_its_interval_are_of_sharers_alike() -> None:
    counts = [(4, 3, 4, 1), (2, 1, 6, 0), (5, 5, 5, 5), (3, 0, 3, 0), (2, 2, 2, 0)]
    own = np.array([3 / 4 - 1 / 4, 1 / 2, 0, 0, 1])
    found = gap(*items(*counts), seed=0)
    assert found.difference == pytest.approx(own.mean())
    half = t.ppf(0.975, 4) * own.std(ddof=1) / np.sqrt(5)
    assert found.ci == pytest.approx((own.mean() - half, own.mean() + half))
    assert (found.sharers, found.reason) == (5, None)


def test_the_p_is_that_of_all_relabellings() -> None:
    counts = [(3, 2, 2, 0), (2, 1, 3, 1)]
    owners, _, extracted = items(*counts)
    blocks = [np.flatnonzero(np.array(owners) == f"s{n}") for n in range(2)]

    def mean(chosen: tuple[tuple[int, ...], ...]) -> float:
        return float(
            np.mean(
                [
                    extracted[list(c)].mean() - extracted[np.setdiff1d(b, c)].mean()
                    for c, b in zip(chosen, blocks, strict=True)
                ]
            )
        )

    every = [mean(c) for c in product(*(combinations(b, k) for b, k in zip(blocks, (3, 2), strict=True)))]
    observed = np.mean([2 / 3 - 0, 1 / 2 - 1 / 3])
    exact = np.mean(np.array(every) >= observed - 1e-12)
    assert gap(*items(*counts), seed=1).p == pytest.approx(exact, abs=0.02)


def test_what_says_nothing_has_no_interval() -> None:
    none = gap(*items(*[(4, 0, 4, 0)] * 6), seed=0)
    assert (none.difference, none.ci, none.p) == (0.0, None, 1.0)
    assert "same difference" in str(none.reason)
    assert "needs 5 sharers" in str(gap(*items(*[(4, 1, 4, 0)] * 3), seed=0).reason)
    lonely = gap(*items((4, 1, 0, 0)), seed=0)
    assert (lonely.difference, lonely.sharers) == (None, 0)
