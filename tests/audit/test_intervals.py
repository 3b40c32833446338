"""Intervals by the shape of the data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import ttest_1samp

from prime_audit.audit.auc import Undefined
from prime_audit.audit.intervals import auc_difference, auc_interval, mean_tpr
from prime_audit.audit.mean_auc import TargetScores, target_auc


def items(rng: np.random.Generator, size: int, shift: float, target: str = "t") -> TargetScores:
    members = rng.random(size) < 0.5
    return TargetScores(
        target, rng.normal(size=size) + shift * members, [f"r{i}" for i in range(size)], members
    )


def test_items_are_independent_where_each_is_somebody_elses() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        found = auc_interval([items(rng, 60, 1.0)])
        assert found.over == "items"
        assert found.estimate.ci is not None
        covered += found.estimate.ci[0] <= 0.7602 <= found.estimate.ci[1]  # Φ(1/√2)
    assert 0.92 <= covered / 300 <= 0.98


@pytest.mark.parametrize("truth", [0.9, 0.95])
@pytest.mark.parametrize(("members", "others", "each"), [(5, 5, 1), (5, 40, 1), (5, 5, 4)])
def test_few_people_who_are_all_told_apart_are_no_certainty(
    truth: float, members: int, others: int, each: int
) -> None:
    rng = np.random.default_rng(10)
    people, covered = members + others, 0
    owner = np.repeat(np.arange(people), each)
    inside = owner < members
    for _ in range(200):
        alike = rng.normal(size=people)[owner]
        scores = (alike + rng.normal(size=owner.size)) / np.sqrt(2) + np.sqrt(2) * ndtri(truth) * inside
        ci = auc_interval([TargetScores("t", scores, [f"s{o}" for o in owner], inside)]).estimate.ci
        assert ci is not None
        covered += ci[0] <= truth <= ci[1]
    assert covered / 200 >= 0.93


def test_one_item_on_a_side_has_no_interval() -> None:
    found = auc_interval([TargetScores("t", np.arange(3.0), ["a", "b", "c"], np.array([True, False, False]))])
    assert found.estimate.ci is None
    assert found.estimate.reason == "an interval needs two items on each side"


def test_targets_are_the_unit_where_the_items_are_their_own() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        tastes = rng.normal(scale=0.5, size=12)
        panels = []
        for t, taste in enumerate(tastes):
            members = np.arange(20) % 2 == 0
            panels.append(
                TargetScores(f"t{t}", rng.normal(size=20) + taste * members, [f"t{t}"] * 20, members)
            )
        found = auc_interval(panels)
        assert found.over == "targets"
        assert found.estimate.ci is not None
        covered += found.estimate.ci[0] <= 0.5 <= found.estimate.ci[1]
    assert 0.88 <= covered / 200 <= 0.98


def test_otherwise_sharers_and_targets() -> None:
    rng = np.random.default_rng(2)
    owner = [f"s{i}" for i in range(6) for _ in range(4)]
    panels = [TargetScores(f"t{t}", rng.normal(size=24), owner, np.arange(24) % 2 == 0) for t in range(2)]
    found = auc_interval(panels)
    assert found.over == "sharers and targets"
    assert auc_interval([panels[0]]).over == "sharers and targets"


def test_values_and_counts() -> None:
    rng = np.random.default_rng(3)
    panel = items(rng, 30, 0.5)
    one_sided = TargetScores("u", np.zeros(2), ["x", "y"], np.array([True, True]))
    found = auc_interval([panel, one_sided]).estimate
    assert found.value == target_auc(panel.scores, panel.members)
    assert (found.n, found.left_out) == (30, ("u",))
    assert (found.member_sharers, found.other_sharers) == (panel.members.sum(), (~panel.members).sum())
    with pytest.raises(Undefined, match="no target has both"):
        auc_interval([one_sided])


def test_tpr_is_refused_where_one_target_cannot_carry_it() -> None:
    rng = np.random.default_rng(4)
    wide, narrow = items(rng, 60, 1.0, "wide"), items(rng, 8, 1.0, "narrow")
    assert mean_tpr([wide], 0.1) == mean_tpr(
        [wide, TargetScores("x", np.zeros(1), ["x"], np.array([True]))], 0.1
    )
    with pytest.raises(Undefined, match="finer than 1 of"):
        mean_tpr([wide, narrow], 0.1)


def test_a_difference_is_clustered_as_its_figure() -> None:
    rng = np.random.default_rng(8)
    games, second = [], []
    for t in range(9):
        members = np.arange(12) < 6
        games.append(TargetScores(f"t{t}", members + rng.normal(size=12), [f"t{t}"] * 12, members))
        second.append(TargetScores(f"t{t}", rng.normal(size=12), [f"t{t}"] * 12, members))
    found = auc_difference(games, second)
    assert found.over == "targets"
    each = [
        target_auc(a.scores, a.members) - target_auc(b.scores, b.members)
        for a, b in zip(games, second, strict=True)
    ]
    assert found.estimate.value == pytest.approx(np.mean(each))
    assert found.estimate.ci == pytest.approx(tuple(ttest_1samp(each, 0.0).confidence_interval(0.95)))
    same = auc_difference(games, games).estimate
    assert (same.value, same.ci) == (0.0, (0.0, 0.0))
    with pytest.raises(ValueError, match="of different games"):
        auc_difference(games, games[::-1])


def test_over_items_it_is_delongs_variance() -> None:
    """DeLong et al. 1988, but for one factor: (n − 1)/n of all items in place of each side's own."""
    rng = np.random.default_rng(9)
    members = np.arange(60) < 25
    one, other = members * 0.8 + rng.normal(size=60), rng.normal(size=60)
    pairs = [(s[members][:, None] > s[~members][None]).astype(float) for s in (one, other)]
    gap = pairs[0] - pairs[1]
    parts = gap.mean(1).var(ddof=1) / 25, gap.mean(0).var(ddof=1) / 35
    panels = [TargetScores("t", s, ["t"] * 60, members) for s in (one, other)]
    found = auc_difference([panels[0]], [panels[1]])
    assert found.over == "items"
    assert found.estimate.value == pytest.approx(gap.mean())
    assert found.estimate.se == pytest.approx(np.sqrt(59 / 60 * (parts[0] * 25 / 24 + parts[1] * 35 / 34)))
    assert found.estimate.freedom == 24
