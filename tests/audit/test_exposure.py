"""Exposure against a count by hand, its bounds, its mean by chance, and its p."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from prime_audit.audit.exposure import RELABELLINGS, by_chance, exposures, most, relabelled_p

SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=12)


@given(SCORES, SCORES)
def test_exposure_is_the_rank_among_the_untrained(trained: list[int], untrained: list[int]) -> None:
    found = exposures(np.array(trained, float), np.array(untrained, float))
    for score, value in zip(trained, found.tolist(), strict=True):
        # The midrank from above, of the candidate itself among itself and the untrained.
        rank = rankdata([-score, *(-u for u in untrained)])[0]
        equal = untrained.count(score) / 2  # the midrank counts half of the equal ones, as ours does
        above = sum(u > score for u in untrained)
        assert rank == 1 + above + equal
        assert value == pytest.approx(math.log2(len(untrained) + 1) - math.log2(rank), abs=1e-12)
        assert -1e-12 <= value <= most(len(untrained)) + 1e-12


def test_its_ends_and_its_mean_by_chance() -> None:
    assert exposures(np.array([9.0, 0.0]), np.arange(1.0, 8.0)).tolist() == [3.0, 0.0]
    rng, untrained = np.random.default_rng(0), 6
    drawn = [exposures(rng.normal(size=1), rng.normal(size=untrained))[0] for _ in range(20_000)]
    assert by_chance(untrained) == pytest.approx(np.mean(drawn), abs=0.03)
    assert by_chance(1) == 0.5


def test_p_is_the_share_of_relabellings_with_as_high_a_mean() -> None:
    """Two targets share a sharer; all 6 · 6 draws of half of each sharer's four canaries, against 1999 random ones."""
    rng = np.random.default_rng(5)
    groups, trained = np.repeat([0, 1], 4), np.tile([True, False, True, False], 2)
    rows = [np.arange(8), np.arange(4)]
    scores = [np.round(rng.normal(size=own.size) + trained[own], 1) for own in rows]

    def mean(labels: np.ndarray) -> float:
        sides = [(s[labels[own]], s[~labels[own]]) for s, own in zip(scores, rows, strict=True)]
        return float(sum(exposures(*both).mean() for both in sides))

    halves = [np.isin(np.arange(4), own) for own in combinations(range(4), 2)]
    every = [mean(np.concatenate(pair)) for pair in product(halves, halves)]
    exact = np.mean([value >= mean(trained) - 1e-9 for value in every])
    found = relabelled_p(scores, rows, trained, groups, np.random.default_rng(0))
    assert abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / RELABELLINGS) + 1 / RELABELLINGS
