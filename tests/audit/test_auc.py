"""AUC and TPR at a bounded FPR: vectors worked by hand, brute force, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from prime_audit.audit.auc import Undefined, auc, midranks, tpr_at_fpr
from prime_audit.audit.mean_auc import target_auc

MEMBERS, OTHERS = [3, 2, 2, 1], [2, 1, 1, 0]
sides = st.lists(st.integers(-20, 20), min_size=1, max_size=12)


def test_vectors_worked_by_hand() -> None:
    assert auc(MEMBERS, OTHERS) == 0.8125
    rates = [tpr_at_fpr(MEMBERS, OTHERS, fpr, allow_finer=True) for fpr in (0, 0.1, 0.25, 0.5)]
    assert rates == [0.25, 0.25, 0.75, 0.75]


def test_a_rate_finer_than_the_non_members_carry_is_refused() -> None:
    with pytest.raises(Undefined, match=r"0\.1 is finer than 1 of 4 non-members"):
        tpr_at_fpr(MEMBERS, OTHERS, 0.1)
    assert tpr_at_fpr(MEMBERS, OTHERS, 0.25) == 0.75
    assert tpr_at_fpr(MEMBERS, OTHERS, 0.0) == 0.25
    assert tpr_at_fpr(MEMBERS, OTHERS, 1.0) == 1.0


def test_a_decimal_rate_admits_the_count_it_names() -> None:
    # 0.29 * 100 is 28.999999999999996: twenty-nine false positives are allowed all the same.
    assert tpr_at_fpr([70.5], np.arange(100), 0.29) == 1.0
    assert tpr_at_fpr([70.5], np.arange(100), 0.28) == 0.0


@given(sides, sides)
def test_auc_is_the_share_of_pairs_won(members: list[int], others: list[int]) -> None:
    pairs = [(a > b) + 0.5 * (a == b) for a in members for b in others]
    assert auc(members, others) == sum(pairs) / len(pairs)


@given(sides, sides)
def test_auc_under_monotone_transforms_and_negation(members: list[int], others: list[int]) -> None:
    value = auc(members, others)
    assert auc([2.0**a for a in members], [2.0**b for b in others]) == value
    assert auc([-a for a in members], [-b for b in others]) == pytest.approx(1 - value)
    assert auc(others, members) == pytest.approx(1 - value)


@given(sides, sides, st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 0.75, 1.0]))
def test_tpr_is_the_best_threshold_within_the_bound(
    members: list[int], others: list[int], fpr: float
) -> None:
    thresholds = [*members, *others, 10**6]
    allowed = [t for t in thresholds if np.mean([o >= t for o in others]) <= fpr]
    best = max(float(np.mean([m >= t for m in members])) for t in allowed)
    assert tpr_at_fpr(members, others, fpr, allow_finer=True) == best


@pytest.mark.parametrize(("members", "others"), [([], [1.0]), ([1.0], [])])
def test_an_empty_side_is_undefined_never_a_half(members: list[float], others: list[float]) -> None:
    with pytest.raises(Undefined, match="needs both sides"):
        auc(members, others)
    with pytest.raises(Undefined, match="needs both sides"):
        tpr_at_fpr(members, others, 0.5)


def test_nan_is_refused_and_infinity_is_a_score() -> None:
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        auc([1.0, float("nan")], [0.0])
    assert auc([float("-inf"), 1.0], [0.0]) == 0.5
    with pytest.raises(ValueError, match=r"is in \[0, 1\]"):
        tpr_at_fpr([1.0], [0.0], 1.5)
    with pytest.raises(ValueError, match="one dimension"):
        auc([[1.0]], [0.0])


def test_target_auc_splits_by_the_mask() -> None:
    scores = [*MEMBERS, *OTHERS]
    assert target_auc(scores, [True] * 4 + [False] * 4) == 0.8125


def test_null_sd_matches_simulation() -> None:
    rng = np.random.default_rng(0)
    simulated = np.std([auc(rng.normal(size=20), rng.normal(size=30)) for _ in range(2000)])
    assert np.sqrt((20 + 30 + 1) / (12 * 20 * 30)) == pytest.approx(simulated, rel=0.06)


@given(st.lists(st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 1e-300, 2.0, np.inf]), min_size=1, max_size=20))
def test_midranks_are_those_of_scipy(scores: list[float]) -> None:
    assert midranks(np.array(scores)).tolist() == rankdata(scores).tolist()
