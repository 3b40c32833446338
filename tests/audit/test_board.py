"""Corrections over a board: seeds combined, and Benjamini and Hochberg's step over cells."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import combine_pvalues, false_discovery_control

from prime_audit.audit.board import Looks, board_wide, stouffer


def test_seeds_are_combined_as_scipy_does() -> None:
    rng = np.random.default_rng(0)
    for size in (2, 3, 7):
        p = rng.random(size)
        assert stouffer(p.tolist(), [9999] * size) == pytest.approx(
            combine_pvalues(p, method="stouffer").pvalue
        )
    assert stouffer([0.3], [999]) == 0.3


def test_a_seed_alone_vetoes_nothing() -> None:
    clipped = [1e-3] * 9 + [0.999]
    assert stouffer([1e-5] * 9 + [1.0], [999] * 10) == pytest.approx(
        combine_pvalues(clipped, "stouffer").pvalue
    )
    still = Looks.of(1.0, None, None, None, 999, 0.5)
    assert board_wide([[Looks(0.01), still]]) == [(0.01, 1.0)]  # nothing varies in that seed


def test_one_look_a_cell_is_benjamini_and_hochbergs_step() -> None:
    p = np.random.default_rng(1).random(40) ** 3
    found = board_wide([[Looks(float(one))] for one in p])
    assert [leak for leak, _ in found] == pytest.approx(false_discovery_control(p).tolist())
    assert {already for _, already in found} == {1.0}
    assert board_wide([]) == []


def test_looks_of_a_cell_share_one_error_and_a_seed_without_p_is_left_out() -> None:
    assert board_wide([[Looks(0.01, 0.5)]]) == [(0.02, 1.0)]
    assert board_wide([[Looks(0.2, 0.01, 0.005)]]) == [(0.03, 0.015)]
    assert board_wide([[Looks(0.01), Looks(None)]]) == [(0.01, 1.0)]
    assert board_wide([[Looks(None)]]) == [(1.0, 1.0)]


def test_a_board_without_leaks_seldom_calls_any() -> None:
    rng, boards = np.random.default_rng(2), 400
    called = 0
    for _ in range(boards):
        cells = [[Looks(*rng.random(3)) for _ in range(3)] for _ in range(48)]
        called += any(min(both) <= 0.05 for both in board_wide(cells))
    assert called / boards <= 0.05 + 0.033  # three standard deviations
