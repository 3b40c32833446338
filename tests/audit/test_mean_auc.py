"""The mean AUC and its two-way interval against resampling of the items themselves, and by simulation."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prime_audit.audit import mean_auc
from prime_audit.audit.auc import Undefined, auc
from prime_audit.audit.intervals import auc_difference
from prime_audit.audit.mean_auc import (
    TargetScores,
    _draw_batch,
    _reduced,
    target_auc,
    two_way,
)
from tests.audit.whole import whole_sharers

SHARERS = 6


def paper_panels(
    rng: np.random.Generator,
    *,
    targets: int,
    sharers: int = SHARERS,
    items: int = 3,
    k: int = 2,
    spread: float = 0.0,
) -> list[TargetScores]:
    """Make games with k random member sharers a target; ``spread``: scale of what a sharer's items share."""
    owner = [f"s{i}" for i in range(sharers) for _ in range(items)]
    taste = np.repeat(rng.normal(size=sharers), items) * spread
    panels = []
    for target in range(targets):
        chosen = set(rng.choice(sharers, k, replace=False).tolist())
        scores = np.round(taste + rng.normal(size=sharers * items), 1)  # rounding makes ties
        flags = {f"s{i}": i in chosen for i in range(sharers)}
        panels.append(whole_sharers(f"t{target}", scores, owner, flags))
    return panels


def heldout_panels(rng: np.random.Generator, targets: int) -> list[TargetScores]:
    owner = [f"s{i}" for i in range(4) for _ in range(5)]
    return [
        TargetScores(f"t{t}", rng.integers(0, 4, size=20).astype(float), owner, rng.random(20) < 0.5)
        for t in range(targets)
    ]


def brute_draw(
    panels: Sequence[TargetScores], sharer_counts: dict[str, int], target_counts: Sequence[int]
) -> float:
    """Compute a draw by really repeating the items and the targets."""
    figures: list[float] = []
    for panel, times in zip(panels, target_counts, strict=True):
        repeats = np.array([sharer_counts[s] for s in panel.sharers])
        scores, members = np.repeat(panel.scores, repeats), np.repeat(panel.members, repeats)
        if members.any() and not members.all():
            figures += [auc(scores[members], scores[~members])] * times
    return float(np.mean(figures)) if figures else float("nan")


@pytest.mark.parametrize("game", ["paper", "heldout"])
def test_draws_equal_resampled_items(game: str) -> None:
    rng = np.random.default_rng(1)
    panels = paper_panels(rng, targets=3, k=1) if game == "paper" else heldout_panels(rng, 3)
    names = sorted(set(panels[0].sharers))
    matrices = [_reduced([panel], {name: i for i, name in enumerate(names)}) for panel in panels]
    drawn = _draw_batch(matrices, len(names), 60, np.random.default_rng(5))
    replay = np.random.default_rng(5)
    sharer_counts = replay.multinomial(len(names), np.full(len(names), 1 / len(names)), size=60)
    target_counts = replay.multinomial(3, np.full(3, 1 / 3), size=60)
    expected = [
        brute_draw(panels, dict(zip(names, s.tolist(), strict=True)), t.tolist())
        for s, t in zip(sharer_counts, target_counts, strict=True)
    ]
    np.testing.assert_allclose(drawn, expected, rtol=1e-12)


def test_the_interval_is_the_percentiles_of_valid_draws() -> None:
    panels = paper_panels(np.random.default_rng(2), targets=2, k=1)
    estimate = two_way([panels], n=300, seed=9, level=0.9)
    names = sorted(set(panels[0].sharers))
    matrices = [_reduced([panel], {name: i for i, name in enumerate(names)}) for panel in panels]
    rng = np.random.default_rng(9)
    stream = np.concatenate([_draw_batch(matrices, len(names), 300, rng) for _ in range(3)])
    valid = np.flatnonzero(np.isfinite(stream))[:300]
    assert estimate.ci == pytest.approx(tuple(np.quantile(stream[valid], [0.05, 0.95])))
    assert estimate.redrawn == valid[-1] + 1 - 300
    assert estimate.redrawn > 0


def test_value_counts_and_per_target_figures() -> None:
    panels = paper_panels(np.random.default_rng(3), targets=4)
    estimate = two_way([panels], n=50, seed=0)
    expected = {p.target: target_auc(p.scores, p.members) for p in panels}
    assert dict(estimate.per_target) == pytest.approx(expected)
    assert estimate.value == pytest.approx(np.mean(list(expected.values())))
    assert estimate.n == 4 * SHARERS * 3
    assert (estimate.left_out, estimate.reason) == ((), None)
    assert 2 <= estimate.member_sharers <= SHARERS
    assert estimate == two_way([panels], n=50, seed=0)


@given(st.integers(0, 1000))
def test_negation_and_monotone_transforms(seed: int) -> None:
    panels = paper_panels(np.random.default_rng(seed), targets=2, spread=1.0)
    estimate = two_way([panels], n=40, seed=0)

    def mapped(sign: float) -> list[TargetScores]:
        return [TargetScores(p.target, np.exp(sign * p.scores), p.sharers, p.members) for p in panels]

    negated = two_way([mapped(-1.0)], n=40, seed=0)
    assert two_way([mapped(1.0)], n=40, seed=0) == estimate
    assert negated.value == pytest.approx(1 - estimate.value)
    assert estimate.ci is not None
    assert negated.ci == pytest.approx((1 - estimate.ci[1], 1 - estimate.ci[0]))


def test_difference_on_the_same_draws() -> None:
    rng = np.random.default_rng(4)
    base = paper_panels(rng, targets=5, sharers=10, spread=2.0)
    shifted = [TargetScores(p.target, p.scores + 0.5 * p.members, p.sharers, p.members) for p in base]
    gain = two_way([shifted, base], n=200, seed=0)
    alone, before = two_way([shifted], n=200, seed=0), two_way([base], n=200, seed=0)
    assert gain.value == pytest.approx(alone.value - before.value)
    assert gain.ci is not None
    assert alone.ci is not None
    assert gain.ci[1] - gain.ci[0] < alone.ci[1] - alone.ci[0]
    same = two_way([base, base], n=50, seed=0)
    assert (same.value, same.ci) == (0.0, (0.0, 0.0))


def test_difference_refuses_another_game() -> None:
    one = paper_panels(np.random.default_rng(0), targets=2)
    with pytest.raises(ValueError, match="shorter"):
        auc_difference(one, one[:1], seed=0)
    other = [TargetScores(p.target, p.scores, p.sharers, ~p.members) for p in one]
    with pytest.raises(ValueError, match="of different games"):
        auc_difference(one, other, seed=0)


def test_targets_without_both_sides_do_not_count() -> None:
    panels = paper_panels(np.random.default_rng(0), targets=2)
    nobody = TargetScores("lonely", panels[0].scores, panels[0].sharers, np.zeros(SHARERS * 3, dtype=bool))
    with_lonely = two_way([[*panels, nobody]], n=50, seed=0)
    assert with_lonely.left_out == ("lonely",)
    assert with_lonely.value == two_way([panels], n=50, seed=0).value
    with pytest.raises(Undefined, match="no target has both"):
        two_way([[nobody]], seed=0)


def test_one_member_sharer_gives_no_interval() -> None:
    panel = whole_sharers("t", [3.0, 1.0, 2.0], ["a", "b", "c"], {"a": True, "b": False, "c": False})
    estimate = two_way([[panel]], seed=0)
    assert (estimate.value, estimate.ci) == (1.0, None)
    assert estimate.reason is not None
    assert "all members belong to one sharer" in estimate.reason


def test_faulty_panels() -> None:
    with pytest.raises(ValueError, match="'t': 2 scores, 1 member flags and 2 sharers"):
        TargetScores("t", np.zeros(2), ["a", "b"], np.array([True]))
    with pytest.raises(ValueError, match="NaN"):
        TargetScores("t", np.array([np.nan]), ["a"], np.array([True]))
    panels = paper_panels(np.random.default_rng(0), targets=1)
    with pytest.raises(ValueError, match="several panels of one target"):
        two_way([panels * 2], seed=0)


def test_coverage_of_the_null_where_sharers_differ() -> None:
    # Scores carry no membership but much of whose item it is: the truth is ½ (members are drawn by lot).
    rng, runs = np.random.default_rng(0), 200
    covered = naive = 0
    for run in range(runs):
        panels = paper_panels(rng, targets=8, sharers=24, items=6, k=6, spread=1.0)
        estimate = two_way([panels], n=200, seed=run)
        assert estimate.ci is not None
        covered += estimate.ci[0] <= 0.5 <= estimate.ci[1]
        pooled = panels[0]
        inside, outside = pooled.scores[pooled.members], pooled.scores[~pooled.members]
        sd = np.sqrt((inside.size + outside.size + 1) / (12 * inside.size * outside.size))
        naive += abs(auc(inside, outside) - 0.5) <= 1.96 * sd
    assert covered / runs >= 0.92
    assert naive / runs < 0.85  # the interval that forgets whose items they are


@pytest.mark.parametrize("game", ["paper", "heldout"])
def test_steps_and_reductions_change_no_figure(game: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(11)
    panels = paper_panels(rng, targets=4) if game == "paper" else heldout_panels(rng, 4)
    base = [TargetScores(p.target, rng.normal(size=p.scores.size), p.sharers, p.members) for p in panels]
    by_pairs = [two_way([panels], n=60, seed=3), two_way([panels, base], n=60, seed=3)]
    monkeypatch.setattr(mean_auc, "_DENSE", 0)
    monkeypatch.setattr(mean_auc, "_ALWAYS", 0)
    assert [two_way([panels], n=60, seed=3), two_way([panels, base], n=60, seed=3)] == by_pairs
    monkeypatch.setattr(mean_auc, "_CELLS", 50)
    assert [two_way([panels], n=60, seed=3), two_way([panels, base], n=60, seed=3)] == by_pairs


def test_many_sharers_take_no_matrix_of_pairs() -> None:
    """3,000 people: 9 million pairs are 144 MB as matrices of wins and of pairs."""
    owner = [f"s{i}" for i in range(3000) for _ in range(2)]
    panel = TargetScores("t", np.arange(6000) % 7, owner, np.arange(6000) % 2 == 0)
    tracemalloc.start()
    two_way([[panel]], n=40, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20
