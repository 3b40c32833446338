"""Tests judged together: max-T, the tail, and families of a run, against computations by hand and by simulation."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, hypergeom, rankdata

from prime_audit.audit.auc import FloatArray, Undefined
from prime_audit.audit.design import Dealt
from prime_audit.audit.permutation import (
    Column,
    Relabelled,
    Top,
    not_excluded,
    over_families,
    relabel,
    tail_size,
)

SHARERS, EACH = 3, 4
OWNERS = [f"s{n // EACH}" for n in range(SHARERS * EACH)]
MEMBERS = np.array([1, 1, 0, 0, 1, 0, 1, 0, 0, 0, 1, 1], dtype=bool)


def column(scores: list[FloatArray], base: list[FloatArray], keep: list[list[int]] | None = None) -> Column:
    """Return one score of targets that list some of the items each."""
    keep = keep or [list(range(len(OWNERS)))] * len(scores)
    dealt = [
        Dealt(
            target=f"t{t}",
            rows=np.array(own),
            members=MEMBERS[own],
            owners=[OWNERS[i] for i in own],
            items=[f"i{i}" for i in own],
        )
        for t, own in enumerate(keep)
    ]
    return Column(
        dealt=dealt,
        scores={f"t{t}": scores[t][own] for t, own in enumerate(keep)},
        base={f"t{t}": base[t][own] for t, own in enumerate(keep)},
    )


def everything() -> list[np.ndarray]:
    """All ways to relabel: within each sharer as many members."""
    ways = []
    for own in range(SHARERS):
        labels = MEMBERS[own * EACH : (own + 1) * EACH]
        ways.append([np.isin(np.arange(EACH), c) for c in combinations(range(EACH), int(labels.sum()))])
    return [np.concatenate(parts) for parts in product(*ways)]


def auc(scores: FloatArray, labels: np.ndarray) -> float:
    inside, total = int(labels.sum()), labels.size
    return float((rankdata(scores)[labels].sum() - inside * (inside + 1) / 2) / (inside * (total - inside)))


def statistics(one: Column, labels: np.ndarray) -> tuple[float, float, float]:
    """AUC, gain and number of members in the tail, by hand."""
    aucs, gains, sums, often = [], [], np.zeros(labels.size), np.zeros(labels.size)
    assert one.base is not None
    for d in one.dealt:
        own = labels[d.rows]
        if own.any() and not own.all():
            aucs.append(auc(one.scores[d.target], own))
            gains.append(aucs[-1] - auc(one.base[d.target], own))
        sums[d.rows] += one.scores[d.target] - one.base[d.target]
        often[d.rows] += 1
    top = np.argmax(sums / often)  # 5 % of 12 items is one
    return float(np.mean(aucs)), float(np.mean(gains)), float(labels[top])


@pytest.mark.parametrize("unequal", [False, True])
def test_every_p_equals_enumeration(unequal: bool) -> None:
    """With equal lists by weights on the units; with unequal ones by counting every target's members."""
    rng = np.random.default_rng(3)
    base = [rng.normal(size=12) for _ in range(3)]
    lists = [list(range(12)), [0, 1, 2, 4, 5, 7, 8, 9], [1, 2, 3, 4, 5, 6, 9, 10, 11]] if unequal else None
    columns = [
        column([b + shift * MEMBERS + rng.normal(size=12) for b in base], base, lists)
        for shift in (0.8, 0.2, 0.0)
    ]
    found = relabel(columns, unit="item-within-sharer", n=20_000, seed=0)
    assert all(isinstance(one, Relabelled) for one in found)
    ways = everything()
    truth = np.array([[statistics(one, labels) for labels in ways] for one in columns])  # [columns, ways, 3]
    data = np.array([statistics(one, MEMBERS) for one in columns])
    of_base = truth[:, :, 0] - truth[:, :, 1]

    def share(draws: FloatArray, observed: float) -> float:
        return float(np.mean(draws >= observed - 1e-9))

    def z(draws: FloatArray, observed: FloatArray) -> tuple[FloatArray, FloatArray]:
        mean, sd = draws.mean(axis=1), draws.std(axis=1)
        return (draws - mean[:, None]) / sd[:, None], (observed - mean) / sd

    kinds = [z(truth[:, :, k], data[:, k]) for k in range(3)]
    bases = z(of_base, data[:, 0] - data[:, 1])
    already = np.minimum(kinds[0][0], bases[0]), np.minimum(kinds[0][1], bases[1])
    draws = np.concatenate([kinds[1][0], kinds[2][0], already[0]])
    observed = np.concatenate([kinds[1][1], kinds[2][1], already[1]])
    # Statistics of few values: columns' deviations are estimated, so that two that tie exactly may part by a little.
    limits = []
    for slack in (-0.05, 0.05):
        adjusted, highest = np.zeros(9), 0.0
        for place in np.argsort(-observed):
            rest = draws[observed <= observed[place] + slack].max(axis=0, initial=-np.inf)
            highest = adjusted[place] = max(highest, share(rest, observed[place] - slack))
        limits.append(adjusted)
    for c, one in enumerate(found):
        assert isinstance(one, Relabelled)
        pairs = [
            (one.p_auc, share(truth[c, :, 0], data[c, 0])),
            (one.p_reversed, share(-truth[c, :, 0], -data[c, 0])),
            (one.p_gain, share(truth[c, :, 1], data[c, 1])),
            (one.p_tail, share(truth[c, :, 2], data[c, 2])),
            (one.p_base, share(of_base[c], data[c, 0] - data[c, 1])),
        ]
        least, most = ((min(own[c], own[3 + c]), own[6 + c]) for own in limits)
        for p, low, high in zip((one.adjusted, one.adjusted_already), least, most, strict=True):
            assert p is not None
            assert low - 0.015 <= p <= high + 0.015
        for p, exact in pairs:
            assert p is not None
            assert abs(p - exact) < 4 * np.sqrt(exact * (1 - exact) / one.n) + 2 / one.n
        assert one.gain == pytest.approx(data[c, 1])
        assert one.tail == data[c, 2]


def test_a_duplicate_and_a_constant_change_no_p() -> None:
    rng = np.random.default_rng(4)
    base = [rng.normal(size=12) for _ in range(2)]
    columns = [column([b + rng.normal(size=12) for b in base], base) for _ in range(3)]
    still = column([np.zeros(12)] * 2, [np.zeros(12)] * 2)
    plain = relabel(columns, unit="item-within-sharer", n=500, seed=0)
    more = relabel([*columns, columns[0], still], unit="item-within-sharer", n=500, seed=0)
    assert more[:3] == plain
    assert more[3] == plain[0]
    assert isinstance(more[4], Relabelled)
    assert (more[4].p_gain, more[4].adjusted) == (1.0, 1.0)


def test_a_corrected_p_is_never_below_its_own_and_hardly_above_bonferroni() -> None:
    rng = np.random.default_rng(5)
    base = [rng.normal(size=12) for _ in range(2)]
    columns = [column([b + rng.normal(size=12) for b in base], base) for _ in range(6)]
    for one in relabel(columns, unit="item-within-sharer", n=5000, seed=0):
        assert isinstance(one, Relabelled)
        plain = min(one.p_gain, one.p_tail)
        assert plain <= one.adjusted <= min(1.0, 18 * plain) + 0.02
        assert one.p_auc <= one.adjusted_auc <= min(1.0, 6 * one.p_auc) + 0.02


def test_large_data_get_fewer_relabellings_the_same_number_every_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(6)
    base = [rng.normal(size=12)]
    one = column([base[0] + rng.normal(size=12)], base)
    monkeypatch.setattr("prime_audit.audit.permutation.BUDGET", 1.0)
    found = relabel([one], unit="item-within-sharer", seed=0)
    assert isinstance(found[0], Relabelled)
    assert found[0].n == 999
    assert found == relabel([one], unit="item-within-sharer", seed=0)


def games_of_sharers(rng: np.random.Generator, alone: bool) -> Column:
    """Ten people, each with a model that merges three others of few; ``alone``: nobody's own items are listed."""
    level, dealt, scores = rng.normal(size=10), [], {}
    for t in range(10):
        others = [s for s in range(10) if s != t or not alone]
        merged = rng.choice([s for s in range(5) if s != t], 3, replace=False)
        own = np.repeat(others, 3)
        dealt.append(
            Dealt(
                target=f"t{t}", rows=own, members=np.isin(own, merged), owners=[f"s{s}" for s in own.tolist()]
            )
        )
        scores[f"t{t}"] = level[own] + 0.3 * rng.normal(size=own.size)
    return Column(dealt=dealt, scores=scores)


def test_targets_that_select_differently_among_unequal_lists_have_no_p() -> None:
    """One relabelling a target rejects in a quarter of null audits; none is common to these lists."""
    rng = np.random.default_rng(7)
    with pytest.raises(Undefined, match="differs between targets that list different units"):
        relabel([games_of_sharers(rng, alone=True)], unit="sharer", n=99, seed=0, drawn=False)
    (found,) = relabel([games_of_sharers(rng, alone=False)], unit="sharer", n=99, seed=0, drawn=False)
    assert isinstance(found, Relabelled)
    (apart,) = relabel([games_of_sharers(rng, alone=True)], unit="sharer", apart=True, n=99, seed=0)
    assert isinstance(apart, Relabelled)  # coins of their own for each target


def test_the_tail_is_long_enough_for_a_p_and_short_for_few_members() -> None:
    assert [tail_size(n) for n in (1, 12, 100, 192, 500, 501, 800, 10_000)] == [1, 1, 5, 10, 10, 11, 16, 200]


def strata(rows: list[tuple[int, int, int, int]]) -> Top:
    return Top(*np.array(rows, dtype=float).T)


def least_likely(rows: list[tuple[int, int, int, int]], j: int) -> float:
    """P(as few members as found), however j memorised members are spread over the strata: the largest."""
    found, largest = sum(row[3] for row in rows), 0.0
    for spread in product(*(range(row[3] + 1) for row in rows)):
        if sum(spread) == j:
            law = np.ones(1)
            for (n, m, k, _), own in zip(rows, spread, strict=True):
                law = np.convolve(law, hypergeom(n - own, m - own, k - own).pmf(np.arange(k - own + 1)))
            largest = max(largest, float(law[: found - j + 1].sum()))
    return largest


@given(st.lists(st.integers(4, 30), min_size=1, max_size=3), st.data())
def test_what_the_tail_excludes_is_on_the_safe_side_of_every_spread(
    sizes: list[int], data: st.DataObject
) -> None:
    rows = []
    for n in sizes:
        m, k = data.draw(st.integers(1, n - 1)), data.draw(st.integers(1, min(n, 6)))
        rows.append((n, m, k, data.draw(st.integers(max(0, k - (n - m)), min(k, m)))))
    members, found = sum(row[1] for row in rows), sum(row[3] for row in rows)
    bound = not_excluded(strata(rows))
    if found >= min(sum(row[2] for row in rows), members):
        assert bound is None
        return
    exact = max((j for j in range(found + 1) if least_likely(rows, j) > 0.05), default=0)
    assert bound is not None
    assert exact <= round(bound * members) <= found


def test_the_tail_excludes_nearly_what_one_stratum_allows() -> None:
    for found in range(3, 9):
        rows = [(192, 96, 10, found)]
        exact = max((j for j in range(found + 1) if least_likely(rows, j) > 0.05), default=0)
        bound = not_excluded(strata(rows))
        assert bound is not None
        assert exact <= round(bound * 96) <= exact + 1


def test_the_tail_bounds_95_percent_where_the_loud_are_seldom_members() -> None:
    """With one law for all items, as if from one pool, the bound is below the truth in a third of audits."""
    rng, runs = np.random.default_rng(0), 400
    below, pooled = 0, 0
    group, levels = np.repeat(np.arange(8), 16), np.repeat([2.0, 0.0] * 4, 16)
    for _ in range(runs):
        members = np.concatenate([rng.permutation(16) < m for m in [2, 12] * 4])
        scores = levels + rng.normal(size=group.size)
        scores[rng.choice(np.flatnonzero(members))] = 100.0  # one is memorised
        chosen = np.isin(np.arange(group.size), np.argsort(-scores)[:8])
        parts = np.stack([np.ones(group.size), members, chosen, chosen & members])
        for seen, pool in ((group, False), (np.zeros_like(group), True)):
            bound = not_excluded(Top(*(np.bincount(seen, own).astype(float) for own in parts)))
            low = bound is not None and bound * members.sum() < 0.5
            below, pooled = below + (low and not pool), pooled + (low and pool)
    assert below / runs <= 0.07
    assert pooled / runs > 0.2


def test_whole_people_with_many_items_have_no_tail_bound() -> None:
    rng, members = np.random.default_rng(1), np.repeat(np.arange(12) % 2 == 0, 5)
    dealt = Dealt(target="t", rows=np.arange(60), members=members, owners=[f"s{i // 5}" for i in range(60)])
    one = Column(dealt=[dealt], scores={"t": rng.normal(size=60)})
    (found,) = relabel([one], unit="sharer", n=99, seed=0, drawn=False)
    assert isinstance(found, Relabelled)
    assert (found.items, found.excluded) == (0, None)


@pytest.mark.parametrize("value", [0.0, -np.inf])
def test_a_score_that_does_not_vary_detects_nothing(value: float) -> None:
    still = column([np.full(12, value)] * 2, [np.full(12, value)] * 2)
    (found,) = relabel([still], unit="item-within-sharer", n=99, seed=0)
    assert isinstance(found, Relabelled)
    assert (found.still, found.detectable, found.p_gain) == (True, None, 1.0)


def test_no_gain_is_detectable_that_no_auc_can_reach() -> None:
    rng = np.random.default_rng(2)
    base = [rng.normal(size=12)]
    (found,) = relabel([column([-base[0]], base)], unit="item-within-sharer", n=999, seed=0)
    assert isinstance(found, Relabelled)
    assert found.detectable is None


@given(st.lists(st.lists(st.floats(0.001, 1), min_size=1, max_size=4), min_size=1, max_size=6))
def test_q_is_the_smallest_level_at_which_a_figure_is_called(families: list[list[float]]) -> None:
    found = over_families(families)
    least = [min(own) for own in families]
    by_family = false_discovery_control(least)
    assert [min(own) for own in found] == pytest.approx(by_family.tolist())
    for own, q in zip(families, found, strict=True):
        for p, level in zip(own, q, strict=True):
            for alpha, called in ((level * 1.0001, True), (level * 0.9999, False)):
                ordered = np.sort(least)
                ranks = np.arange(1, len(least) + 1)
                selected = int(ranks[ordered <= alpha * ranks / len(least)].max(initial=0))
                if level < 1:
                    assert (selected > 0 and p <= alpha * selected / len(least)) is called
    assert over_families([[0.02, 0.5]]) == [[0.02, 0.5]]
    assert over_families([[], [0.02]]) == [[], [0.04]]
