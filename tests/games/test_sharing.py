"""What merging takes away of what sharing leaks: the difference of two games' AUC, and its interval over sharers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from prime_audit.audit.jackknife import Estimate
from prime_audit.audit.mean_auc import TargetScores
from prime_audit.games.exam.sharing import difference

ITEMS = 8


def shared(gain: np.ndarray, rng: np.random.Generator) -> list[TargetScores]:
    """One panel a sharer: half of the items trained on, raised by the sharer's own gain."""
    members = np.arange(ITEMS) % 2 == 0
    return [
        TargetScores(f"s{n}", rng.normal(size=ITEMS) + g * members, [f"s{n}"] * ITEMS, members)
        for n, g in enumerate(gain)
    ]


def merged(gain: np.ndarray, rng: np.random.Generator, targets: int = 6, each: int = 4) -> list[TargetScores]:
    """Panels of targets that merge ``each`` of the sharers, who keep a part of their gain."""
    members = np.tile(np.arange(ITEMS) % 2 == 0, each)
    panels = []
    for t in range(targets):
        chosen = rng.choice(gain.size, each, replace=False)
        raised = np.repeat(gain[chosen], ITEMS) * members
        owners = [f"s{n}" for n in chosen for _ in range(ITEMS)]
        panels.append(TargetScores(f"t{t}", rng.normal(size=members.size) + raised, owners, members))
    return panels


def found(seed: int, people: int = 8, leak: float = 1.0, left: float = 0.3) -> Estimate:
    rng = np.random.default_rng(seed)
    gain = leak * rng.gamma(2.0, 0.5, size=people)
    return difference(merged(left * gain, rng), shared(gain, rng))


def test_the_value_is_the_difference_of_the_two_shown() -> None:
    rng = np.random.default_rng(3)
    gain = np.ones(8)
    one, two = merged(gain, rng), shared(gain, rng)

    def area(panel: TargetScores) -> float:
        pairs = panel.scores[panel.members][:, None] - panel.scores[~panel.members]
        return float(((pairs > 0) + (pairs == 0) / 2).mean())

    value = np.mean([area(p) for p in one]) - np.mean([area(p) for p in two])
    assert difference(one, two).value == pytest.approx(value, abs=1e-12)


def test_nothing_is_taken_away_where_each_target_has_one_adapter_whole() -> None:
    panels = shared(np.ones(6), np.random.default_rng(0))
    own = [TargetScores(f"t{n}", p.scores, p.sharers, p.members) for n, p in enumerate(panels)]
    same = difference(own, panels)
    assert same.value == 0
    assert same.ci is not None
    assert same.ci[0] < 0 < same.ci[1]
    assert same.freedom == 5


def test_with_one_sharer_there_is_no_interval() -> None:
    panels = shared(np.ones(1), np.random.default_rng(0))
    one = difference(panels, panels)
    assert one.ci is None
    assert one.reason is not None
    assert not math.isnan(one.value)


def test_the_interval_covers_the_truth() -> None:
    truth = float(np.mean([found(seed, people=30).value for seed in range(30)]))
    cis = [found(seed).ci for seed in range(1000, 1060)]
    inside = [ci is not None and ci[0] <= truth <= ci[1] for ci in cis]
    assert np.mean(inside) > 0.9
    assert np.mean([found(seed, leak=0.0).ci[0] > 0 for seed in range(40)]) <= 0.1  # type: ignore[index]
