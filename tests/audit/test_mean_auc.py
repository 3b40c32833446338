"""The mean AUC, and its interval against leaving the people out by hand, and by simulation."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from prime_audit.audit.auc import Undefined, auc
from prime_audit.audit.epsilon import clopper_pearson
from prime_audit.audit.intervals import auc_difference, auc_interval
from prime_audit.audit.mean_auc import AucEstimate, TargetScores, leave_one_out, target_auc
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


def heldout_panels(rng: np.random.Generator, targets: int, sharers: int = 4) -> list[TargetScores]:
    """Make games of whoever is in each: several sharers' items, members by coin; scores have ties."""
    owner = np.repeat(np.arange(sharers), rng.integers(1, 6, size=sharers))
    panels = []
    for target in range(targets):
        rows = np.flatnonzero(np.isin(owner, rng.choice(sharers, max(2, sharers - 1), replace=False)))
        scores = rng.integers(0, 4, size=rows.size).astype(float)
        panels.append(
            TargetScores(f"t{target}", scores, [f"s{i}" for i in owner[rows]], rng.random(rows.size) < 0.5)
        )
    return panels


def estimated(panels: Sequence[TargetScores], minus: Sequence[TargetScores] | None = None) -> AucEstimate:
    return (auc_interval(panels) if minus is None else auc_difference(panels, minus)).estimate


def by_hand(panels: Sequence[TargetScores], sharer: str) -> float:
    """Compute the mean AUC of the targets that both sides are left of, without a sharer's items."""
    figures = []
    for panel in panels:
        kept = np.array([name != sharer for name in panel.sharers])
        inside, outside = panel.scores[kept & panel.members], panel.scores[kept & ~panel.members]
        if inside.size and outside.size:
            figures.append(auc(inside, outside))
    return float(np.mean(figures)) if figures else float("nan")


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(2, 6), st.sampled_from(["paper", "heldout"]))
def test_counted_it_is_what_leaving_out_by_hand_gives(
    seed: int, targets: int, sharers: int, game: str
) -> None:
    rng = np.random.default_rng(seed)
    made = (
        paper_panels(rng, targets=targets, sharers=sharers, k=1, spread=1.0)
        if game == "paper"
        else heldout_panels(rng, targets, sharers)
    )
    panels = [p for p in made if p.playable]
    if not panels:
        return
    others = [TargetScores(p.target, rng.permutation(p.scores), p.sharers, p.members) for p in panels]
    names = sorted({s for p in panels for s in p.sharers})
    own, theirs = ([by_hand(side, name) for name in names] for side in (panels, others))
    np.testing.assert_allclose(leave_one_out([panels]).without, own, rtol=1e-12)
    found = leave_one_out([panels, others])
    np.testing.assert_allclose(found.without, np.subtract(own, theirs), rtol=1e-9, atol=1e-12)
    each = [target_auc(p.scores, p.members) for p in panels]
    np.testing.assert_allclose(leave_one_out([panels]).per_target, each, rtol=1e-12)
    flags = [(s, m) for p in panels for s, m in zip(p.sharers, p.members.tolist(), strict=True)]
    assert found.inside.tolist() == [(name, True) in flags for name in names]
    assert found.outside.tolist() == [(name, False) in flags for name in names]


def test_the_interval_is_students_on_the_logit_scale() -> None:
    panels = paper_panels(np.random.default_rng(2), targets=3, k=3)
    found = estimated(panels)
    without = np.array([by_hand(panels, f"s{i}") for i in range(SHARERS)])
    sharers = (SHARERS - 1) / SHARERS * ((without - without.mean()) ** 2).sum()
    targets = np.var([target_auc(p.scores, p.members) for p in panels], ddof=1) / 3
    people = min(found.member_sharers, found.other_sharers) - 1
    _, se, freedom = max((t.ppf(0.975, f) * v**0.5, v**0.5, f) for v, f in ((sharers, people), (targets, 2)))
    assert found.se == pytest.approx(se)
    assert found.freedom == freedom
    reach = t.ppf(0.975, freedom) * found.se / (found.value * (1 - found.value))
    odds = np.log(found.value / (1 - found.value))
    assert found.ci == pytest.approx(tuple(1 / (1 + np.exp(-odds + reach * np.array([1, -1])))))


def test_value_counts_and_per_target_figures() -> None:
    panels = paper_panels(np.random.default_rng(3), targets=4)
    estimate = estimated(panels)
    expected = {p.target: target_auc(p.scores, p.members) for p in panels}
    assert dict(estimate.per_target) == pytest.approx(expected)
    assert estimate.value == pytest.approx(np.mean(list(expected.values())))
    assert estimate.n == 4 * SHARERS * 3
    assert (estimate.left_out, estimate.reason) == ((), None)
    assert 2 <= estimate.member_sharers <= SHARERS
    assert estimate == estimated(panels)


@given(st.integers(0, 1000))
def test_negation_and_monotone_transforms(seed: int) -> None:
    panels = paper_panels(np.random.default_rng(seed), targets=2, spread=1.0)
    estimate = estimated(panels)

    def mapped(sign: float) -> list[TargetScores]:
        return [TargetScores(p.target, np.exp(sign * p.scores), p.sharers, p.members) for p in panels]

    negated = estimated(mapped(-1.0))
    assert estimated(mapped(1.0)) == estimate
    assert negated.value == pytest.approx(1 - estimate.value)
    assert estimate.ci is not None
    assert negated.ci == pytest.approx((1 - estimate.ci[1], 1 - estimate.ci[0]))


def test_a_difference_leaves_the_same_people_out_of_both() -> None:
    rng = np.random.default_rng(4)
    base = paper_panels(rng, targets=5, sharers=10, spread=2.0)
    shifted = [TargetScores(p.target, p.scores + 0.5 * p.members, p.sharers, p.members) for p in base]
    gain, alone, before = estimated(shifted, base), estimated(shifted), estimated(base)
    assert gain.value == pytest.approx(alone.value - before.value)
    assert gain.se is not None
    assert alone.se is not None
    assert gain.se < alone.se
    same = estimated(base, base)
    assert (same.value, same.ci) == (0.0, (0.0, 0.0))


def test_difference_refuses_another_game() -> None:
    one = paper_panels(np.random.default_rng(0), targets=2)
    with pytest.raises(ValueError, match="shorter"):
        auc_difference(one, one[:1])
    other = [TargetScores(p.target, p.scores, p.sharers, ~p.members) for p in one]
    with pytest.raises(ValueError, match="of different games"):
        auc_difference(one, other)


def test_targets_without_both_sides_do_not_count() -> None:
    panels = paper_panels(np.random.default_rng(0), targets=2)
    nobody = TargetScores("lonely", panels[0].scores, panels[0].sharers, np.zeros(SHARERS * 3, dtype=bool))
    with_lonely = estimated([*panels, nobody])
    assert with_lonely.left_out == ("lonely",)
    assert with_lonely.value == estimated(panels).value
    with pytest.raises(Undefined, match="no target has both"):
        estimated([nobody])


def test_one_member_sharer_gives_no_interval() -> None:
    panel = TargetScores("t", np.array([3.0, 1.0, 2.0, 0.0]), ["a", "b", "c", "c"], np.arange(4) == 0)
    estimate = estimated([panel])
    assert (estimate.value, estimate.ci, estimate.se, estimate.freedom) == (1.0, None, None, 0)
    assert estimate.reason is not None
    assert "all members belong to one sharer" in estimate.reason


def test_no_interval_where_all_hangs_on_one_sharer() -> None:
    """Sharer a is the only member of the first game and the only non-member of the second."""
    first = TargetScores("t", np.arange(3.0), ["a", "b", "c"], np.array([True, False, False]))
    second = TargetScores("u", np.arange(3.0), ["a", "b", "c"], np.array([False, True, True]))
    estimate = estimated([first, second])
    assert estimate.ci is None
    assert estimate.reason is not None
    assert "without one of them, no target has both sides" in estimate.reason


def test_nothing_varies_at_an_auc_of_1() -> None:
    panels = [TargetScores(f"t{i}", np.arange(4.0), ["a", "b", "a", "b"], np.arange(4) > 1) for i in range(3)]
    assert estimated(panels).ci == (
        pytest.approx(clopper_pearson(2, 2)[0]),
        1.0,
    )  # nothing varies over two people


def test_faulty_panels() -> None:
    with pytest.raises(ValueError, match="'t': 2 scores, 1 member flags and 2 sharers"):
        TargetScores("t", np.zeros(2), ["a", "b"], np.array([True]))
    with pytest.raises(ValueError, match="NaN"):
        TargetScores("t", np.array([np.nan]), ["a"], np.array([True]))
    panels = paper_panels(np.random.default_rng(0), targets=1)
    with pytest.raises(ValueError, match="several panels of one target"):
        estimated(panels * 2)


def covered(
    make: Callable[[np.random.Generator], list[TargetScores]], truth: float, runs: int = 200
) -> float:
    """Share of simulated data sets whose interval holds the truth."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(runs):
        low, high = estimated(make(rng)).ci or (0.0, 1.0)
        hits += low <= truth <= high
    return hits / runs


def test_coverage_of_the_null_where_sharers_differ() -> None:
    # Scores carry no membership but much of whose item it is: the truth is ½ (members are drawn by lot).
    rng, naive = np.random.default_rng(0), 0
    assert (
        covered(lambda rng: paper_panels(rng, targets=8, sharers=24, items=6, k=6, spread=1.0), 0.5) >= 0.92
    )
    for _ in range(200):
        one = paper_panels(rng, targets=1, sharers=24, items=6, k=6, spread=1.0)[0]
        inside, outside = one.scores[one.members], one.scores[~one.members]
        sd = np.sqrt((inside.size + outside.size + 1) / (12 * inside.size * outside.size))
        naive += abs(auc(inside, outside) - 0.5) <= 1.96 * sd
    assert naive / 200 < 0.85  # the interval that forgets whose items they are


@pytest.mark.parametrize("people", [3, 5, 8])
def test_coverage_with_few_people_who_leak_unequally(people: int) -> None:
    """Each sharer's items gain a log-normal step; the mean of Φ(step/√2) is the truth."""

    def make(rng: np.random.Generator) -> list[TargetScores]:
        step = rng.lognormal(-0.5, 1.0, size=people)
        owner = np.repeat(np.arange(people), 12)
        members = np.arange(owner.size) % 2 == 0
        item = rng.normal(size=owner.size) + step[owner] * members
        return [
            TargetScores(f"t{i}", item + 0.3 * rng.normal(size=item.size), [f"s{o}" for o in owner], members)
            for i in range(4)
        ]

    rng = np.random.default_rng(1)
    truth = np.mean([estimated(make(rng)).value for _ in range(400)])
    assert covered(make, float(truth)) >= 0.9


def test_many_sharers_take_no_matrix_of_pairs() -> None:
    """3,000 people: 9 million pairs are 144 MB as matrices of wins and of pairs."""
    owner = [f"s{i}" for i in range(3000) for _ in range(2)]
    panel = TargetScores("t", np.arange(6000) % 7, owner, np.arange(6000) % 2 == 0)
    tracemalloc.start()
    estimated([panel])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20
