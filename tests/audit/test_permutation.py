"""Permutation tests: against enumeration, by simulation of their size and power, and what must not change them."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, mannwhitneyu

from prime_audit.audit import auc, exchange, permutation
from prime_audit.audit.auc import FloatArray, Undefined
from prime_audit.audit.design import Dealt, Unit
from prime_audit.audit.mean_auc import TargetScores, target_auc
from prime_audit.audit.permutation import (
    Column,
    Permutation,
    holm,
    naive_item_p,
    permutation_test,
    relabel,
    unit_of,
)
from tests.audit.whole import whole_sharers


def mean_auc(panels: list[TargetScores], labels: list[np.ndarray]) -> float:
    values = [
        target_auc(p.scores, row)
        for p, row in zip(panels, labels, strict=True)
        if row.any() and not row.all()
    ]
    return float(np.mean(values))


def share(panels: list[TargetScores], relabelled: list[list[np.ndarray]]) -> tuple[float, float]:
    """Share of relabellings with a mean AUC as high, and as low, as the data's."""
    observed = mean_auc(panels, [p.members for p in panels])
    figures = np.array([mean_auc(panels, labels) for labels in relabelled])
    return float(np.mean(figures >= observed - 1e-12)), float(np.mean(figures <= observed + 1e-12))


def column_of(panels: list[TargetScores], base: list[FloatArray] | None = None) -> Column:
    """Return the panels as one score of a method."""
    dealt = [
        Dealt(target=p.target, rows=np.arange(p.scores.size), members=p.members, owners=p.sharers)
        for p in panels
    ]
    known = None if base is None else {p.target: b for p, b in zip(panels, base, strict=True)}
    return Column(dealt=dealt, scores={p.target: p.scores for p in panels}, base=known)


def close(test: Permutation, exact: tuple[float, float]) -> None:
    for found, truth in zip((test.p, test.p_reversed), exact, strict=True):
        assert abs(found - truth) < 4 * np.sqrt(truth * (1 - truth) / test.n) + 1 / test.n


def test_items_within_sharers_equals_enumeration_joint_over_targets() -> None:
    rng = np.random.default_rng(0)
    owner = ["a"] * 3 + ["b"] * 4
    coins = np.array([1, 0, 0, 1, 1, 0, 0], dtype=bool)
    panels = [TargetScores(f"t{t}", rng.normal(size=7) + 0.8 * coins, owner, coins) for t in range(2)]
    panels.append(
        TargetScores("only a", rng.normal(size=3), ["a"] * 3, coins[:3])
    )  # her items, the same coins
    ways = []
    for a, b in product(permutations(range(3)), permutations(range(4))):
        labels = np.concatenate([coins[:3][list(a)], coins[3:][list(b)]])
        ways.append([labels, labels, labels[:3]])
    test = permutation_test(panels, unit="item-within-sharer", n=4999, seed=0)
    close(test, share(panels, ways))
    assert test.floor == pytest.approx(1 / (3 * 6))


def test_items_are_known_by_id_where_ids_are_given() -> None:
    rng = np.random.default_rng(1)
    coins = np.array([True, False, True, False])
    first = TargetScores("t0", rng.normal(size=4), ["a"] * 4, coins)
    turned = TargetScores("t1", first.scores[::-1], ["a"] * 4, coins[::-1])  # the same items in another order
    ids = [["w", "x", "y", "z"], ["z", "y", "x", "w"]]
    test = permutation_test([first, turned], unit="item-within-sharer", n=499, seed=0, items=ids)
    alone = permutation_test([first], unit="item-within-sharer", n=499, seed=0, items=ids[:1])
    assert test == alone


def test_sharers_equal_enumeration_where_targets_select_differently() -> None:
    rng = np.random.default_rng(2)
    owner = [f"s{i}" for i in range(5) for _ in range(2 + i % 2)]
    coins = np.array([[1, 1, 0, 0, 0], [1, 0, 1, 0, 0]], dtype=bool)
    places = np.array([int(o[1]) for o in owner])
    panels = [TargetScores(f"t{t}", rng.normal(size=len(owner)), owner, coins[t][places]) for t in range(2)]
    ways = [[coins[t][list(order)][places] for t in range(2)] for order in permutations(range(5))]
    test = permutation_test(panels, unit="sharer", n=4999, seed=0)
    close(test, share(panels, ways))
    assert test.floor == pytest.approx(1 / 60)  # 5!/2!: two columns of the coins are equal


def test_one_coin_a_sharer_is_exchanged_over_targets_that_list_others() -> None:
    rng = np.random.default_rng(3)
    coins = {"a": True, "b": False, "c": True, "d": False}
    lists = [["a", "b", "c"], ["b", "c", "d"]]
    panels = [
        whole_sharers(f"t{t}", rng.normal(size=3), who, {s: coins[s] for s in who})
        for t, who in enumerate(lists)
    ]
    ways = []
    for order in permutations(coins):
        moved = dict(zip(coins, (coins[s] for s in order), strict=True))
        ways.append([np.array([moved[s] for s in who]) for who in lists])
    test = permutation_test(panels, unit="sharer", n=4999, seed=0)
    close(test, share(panels, ways))
    assert test.floor == pytest.approx(1 / 6)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_monotone_maps_and_negation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    owner = [f"s{i}" for i in range(5) for _ in range(4)]
    panels = [
        TargetScores(f"t{t}", rng.integers(0, 6, size=20), owner, np.arange(20) % 2 == 0) for t in range(2)
    ]

    def mapped(sign: float) -> Permutation:
        moved = [TargetScores(p.target, np.exp(sign * p.scores), p.sharers, p.members) for p in panels]
        return permutation_test(moved, unit="item-within-sharer", n=99, seed=0)

    plain, turned = mapped(1.0), mapped(-1.0)
    assert permutation_test(panels, unit="item-within-sharer", n=99, seed=0) == plain
    assert (turned.p, turned.p_reversed) == (plain.p_reversed, plain.p)
    assert turned.value == pytest.approx(1 - plain.value)
    assert plain.p + plain.p_reversed >= 1


def test_what_cannot_be_permuted() -> None:
    flags = {"a": True, "b": False}
    whole = whole_sharers("t", [1.0, 2.0, 3.0], ["a", "a", "b"], flags)
    with pytest.raises(Undefined, match="no relabelling by item-within-sharer"):
        permutation_test([whole], unit="item-within-sharer", seed=0)
    mixed = TargetScores("t", np.arange(3.0), ["a", "a", "b"], np.array([True, False, False]))
    with pytest.raises(ValueError, match="'a' is on both sides of 't'"):
        permutation_test([mixed], unit="sharer", seed=0)
    nobody = TargetScores("t", np.arange(2.0), ["a", "b"], np.zeros(2, dtype=bool))
    for test in (permutation_test, lambda p, **_: naive_item_p(p)):
        with pytest.raises(Undefined, match="no target has both"):
            test([nobody], unit="sharer", seed=0)  # type: ignore[operator]
    assert unit_of([whole]) == "sharer"
    assert unit_of([whole, mixed]) == "item-within-sharer"


def test_naive_p_is_mann_whitney() -> None:
    rng = np.random.default_rng(0)
    panel = TargetScores("t", rng.integers(0, 9, size=60), ["s"] * 60, rng.random(60) < 0.4)
    sides = panel.scores[panel.members], panel.scores[~panel.members]
    expected = mannwhitneyu(*sides, alternative="greater", method="asymptotic", use_continuity=False).pvalue
    assert naive_item_p([panel]) == pytest.approx(expected)
    assert naive_item_p([TargetScores("t", np.zeros(4), ["s"] * 4, np.arange(4) < 2)]) == 1.0


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_plain_p_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for plain, p in zip(p_values, adjusted, strict=True):
        assert plain <= p <= min(1.0, len(p_values) * plain) or p == max(adjusted)
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


RUNS, ALPHA = 400, 0.05


def null_scores(rng: np.random.Generator, owner: np.ndarray, targets: int) -> FloatArray:
    """Scores without membership, half of whose variance belongs to the sharer, under every target alike."""
    sharers, items = rng.normal(size=owner.max() + 1), rng.normal(size=owner.size)
    own = rng.normal(size=(targets, owner.size))
    scores: FloatArray = sharers[owner] * 1.0 + 0.8 * items + 0.6 * own
    return scores


def rejections(make: object) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    clustered = naive = 0
    for run in range(RUNS):
        panels, unit = make(rng)  # type: ignore[operator]
        clustered += permutation_test(panels, unit=unit, n=199, seed=run).p <= ALPHA
        naive += naive_item_p(panels) <= ALPHA
    return clustered / RUNS, naive / RUNS


def paper_game(rng: np.random.Generator) -> tuple[list[TargetScores], str]:
    """Twenty sharers of ten items; eight targets in two groups that merge the same five."""
    owner = np.repeat(np.arange(20), 10)
    scores = null_scores(rng, owner, 8)
    groups = [rng.permutation(np.arange(20) < 5) for _ in range(2)]
    names = [f"s{i}" for i in owner]
    return [TargetScores(f"t{t}", scores[t], names, groups[t % 2][owner]) for t in range(8)], "sharer"


def heldout_game(rng: np.random.Generator) -> tuple[list[TargetScores], str]:
    """Half of each sharer's items are members, the same ones for all eight targets."""
    owner = np.repeat(np.arange(20), 10)
    scores = null_scores(rng, owner, 8)
    coins = np.concatenate([rng.permutation(np.arange(10) < 5) for _ in range(20)])
    return [
        TargetScores(f"t{t}", scores[t], [f"s{i}" for i in owner], coins) for t in range(8)
    ], "item-within-sharer"


@pytest.mark.parametrize("game", [paper_game, heldout_game])
def test_null_audits_reject_at_the_level_they_claim(game: object) -> None:
    clustered, naive = rejections(game)
    print(f"{game.__name__}: clustered {clustered:.4f}, naive {naive:.4f}")  # type: ignore[attr-defined]
    assert 0.02 <= clustered <= 0.086
    assert naive > 2 * ALPHA


def test_relabelling_each_target_alone_would_reject_too_often() -> None:
    # What the joint relabelling is for: eight targets that share their members are not eight pieces of evidence.
    rng, runs = np.random.default_rng(0), 200
    alone = 0
    for run in range(runs):
        panels, _ = paper_game(rng)
        renamed = [
            TargetScores(p.target, p.scores, [f"{p.target} {s}" for s in p.sharers], p.members)
            for p in panels
        ]
        groups = [renamed[i : i + 1] for i in range(8)]
        draws = [_null_draws(group, run * 8 + i) for i, group in enumerate(groups)]
        observed = np.mean([target_auc(p.scores, p.members) for p in panels])
        alone += (1 + (np.mean(draws, axis=0) >= observed).sum()) / 100 <= ALPHA
    assert alone / runs > 0.15


def _null_draws(panels: list[TargetScores], seed: int) -> FloatArray:
    drawn = permutation._Drawn.of([column_of(panels)], "sharer", apart=False, n=99, seed=seed)
    draws: FloatArray = drawn.observed[0] + drawn.moved[0].astype(np.float64)
    return draws


def test_a_leak_in_half_the_items_variance_is_found_in_either_game() -> None:
    rng = np.random.default_rng(0)
    for game in (paper_game, heldout_game):
        panels, unit = game(rng)
        leaking = [TargetScores(p.target, p.scores + 1.5 * p.members, p.sharers, p.members) for p in panels]
        assert permutation_test(leaking, unit=unit, seed=0).p <= 2 / 1000  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", ["item", "item-within-sharer", "sharer"])
def test_steps_change_no_figure(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    owner = [f"s{i}" for i in range(5) for _ in range(6)]
    sides = rng.random((3, 30)) < 0.5 if unit != "sharer" else np.repeat(rng.random((3, 5)) < 0.5, 6, axis=1)
    panels = [TargetScores(f"t{t}", rng.integers(0, 9, size=30), owner, sides[t]) for t in range(3)]
    ids = [[f"i{place}" for place in range(30)]] * 3
    whole = permutation_test(panels, unit=unit, n=99, seed=0, items=ids)
    monkeypatch.setattr(auc, "CELLS", 20)
    monkeypatch.setattr(permutation, "CELLS", 20)
    assert permutation_test(panels, unit=unit, n=99, seed=0, items=ids) == whole


def test_every_subset_of_a_class_is_drawn_alike() -> None:
    panel = TargetScores("t", np.arange(5.0), ["s"] * 5, np.arange(5) < 2)
    units = permutation._Statistics([column_of([panel])], "item", False).units
    draws = exchange.draws(units, 5000, 700, np.random.default_rng(5))
    drawn = Counter(row.tobytes() for labels, _ in draws for row in labels)
    assert len(drawn) == 10
    assert sum(drawn.values()) == 5000
    assert chisquare(list(drawn.values())).pvalue > 1e-4


def test_memory_does_not_grow_with_relabellings_times_items() -> None:
    """400 relabellings of 20,000 items were 64 MB as permutations, and as much again as labels."""
    rng = np.random.default_rng(6)
    panel = TargetScores("t", rng.normal(size=20_000), ["s"] * 20_000, rng.random(20_000) < 0.5)
    tracemalloc.start()
    permutation_test([panel], unit="item", n=400, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 << 20


def test_members_drawn_within_parts_of_an_owners_items_exchange_within_these() -> None:
    rng = np.random.default_rng(3)
    members = np.array([True, True, False, False, True, False, True, False])
    strata = ["a"] * 4 + ["b"] * 4
    scores = rng.normal(size=8) + 0.5 * members + np.array([0.0] * 4 + [9.0] * 4)  # parts differ far more
    game = Dealt(target="t", rows=np.arange(8), members=members, owners=["s"] * 8, strata=strata)
    (found,) = relabel(
        [Column(dealt=[game], scores={"t": scores})], unit="item-within-sharer", n=20_000, seed=0
    )
    assert not isinstance(found, str)
    halves = [np.isin(np.arange(4), own) for own in combinations(range(4), 2)]
    panel = TargetScores("t", scores, ["s"] * 8, members)
    exact = share([panel], [[np.concatenate([a, b])] for a in halves for b in halves])
    assert abs(found.p_auc - exact[0]) < 4 * np.sqrt(exact[0] * (1 - exact[0]) / 20_000) + 1e-4
