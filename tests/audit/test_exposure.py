"""Exposure against a count by hand, its bounds, and its mean by chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from prime_audit.audit.exposure import by_chance, exposures, most

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
