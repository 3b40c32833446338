"""Empirical ε of games: the rules that guess, their ceilings, validity and power where the truth is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from prime_audit.audit.auc import Undefined
from prime_audit.audit.bounds import by_sharer, empirical_epsilon, guesses, matched_gaps
from prime_audit.audit.design import Dealt, Design
from prime_audit.audit.epsilon import one_run_epsilon

COINS = Design(unit="sharer", randomised=True, whole=True)
SELECTED = Design(unit="sharer", randomised=False)
ITEMS = Design(unit="item-within-sharer", randomised=True)


def dealt(target: str, members: np.ndarray, owners: list[str] | None = None) -> Dealt:
    names = owners or [f"s{i}" for i in range(members.size)]
    return Dealt(target=target, rows=np.arange(members.size), members=members.astype(bool), owners=names)


def halves(rng: np.random.Generator, sharers: int, each: int) -> Dealt:
    """Deal every sharer ``each`` member items and as many others, in random order."""
    members = [rng.permutation(np.arange(2 * each) % 2 == 0) for _ in range(sharers)]
    return dealt("t", np.concatenate(members), [f"s{s}" for s in range(sharers) for _ in range(2 * each)])


def published(game: Dealt, epsilon: float, rng: np.random.Generator) -> np.ndarray:
    """Publish each item's membership by randomised response: ε of adding or removing one item is ``epsilon``."""
    wrong = rng.random(game.members.size) >= 1 / (1 + math.exp(-epsilon))
    return (game.members ^ wrong) + 1e-6 * rng.random(game.members.size)


def bound(
    game: Dealt, scores: np.ndarray, base: np.ndarray | None = None, *, attacks: int = 1, seed: int = 0
):
    bases = None if base is None else {game.target: base}
    return empirical_epsilon(ITEMS, [game], {game.target: scores}, bases, attacks=attacks, seed=seed)


# -- matched pairs -----------------------------------------------------------------------------------------


def test_all_pairs_right_is_half_of_what_an_exchange_shows() -> None:
    rng = np.random.default_rng(0)
    game = halves(rng, 5, 4)
    found = bound(game, game.members + 0.1 * rng.random(40))
    assert found.value == found.ceiling == one_run_epsilon(20, 10, 10) / 2  # the ten widest of twenty
    shared = bound(game, game.members + 0.1 * rng.random(40), attacks=5)
    assert shared.ceiling == one_run_epsilon(20, 10, 10, alpha=0.01) / 2
    assert bound(game, -(game.members + 0.1 * rng.random(40))).value == 0.0


def test_pairs_are_matched_within_the_part_that_members_were_drawn_in() -> None:
    members = np.array([True, False] * 8)
    strata = ["a"] * 8 + ["b"] * 8
    game = Dealt(target="t", rows=np.arange(16), members=members, owners=["s"] * 16, strata=strata)
    gains = members + np.array([0.0] * 8 + [100.0] * 8)
    gaps = matched_gaps(ITEMS, [game], [gains], np.random.default_rng(0))
    assert gaps.tolist() == [1.0] * 8  # never 101 or -99


def test_what_items_are_like_under_the_base_is_no_evidence() -> None:
    rng = np.random.default_rng(1)
    game = halves(rng, 6, 4)
    flat = 100 * rng.normal(size=48)
    assert bound(game, flat + game.members, flat).value == bound(game, flat, flat).ceiling
    assert bound(game, flat, flat).value == 0.0  # all gaps are 0: no guess is made


def test_an_item_that_several_targets_are_asked_is_one_trial() -> None:
    rng = np.random.default_rng(2)
    game = halves(rng, 6, 4)
    scores = [game.members + rng.normal(size=48) for _ in range(9)]
    games = [
        Dealt(target=f"t{n}", rows=game.rows, members=game.members, owners=game.owners) for n in range(9)
    ]
    told = {f"t{n}": own for n, own in enumerate(scores)}
    many = empirical_epsilon(ITEMS, games, told, None, attacks=1, seed=3)
    assert many == bound(game, np.mean(scores, axis=0), seed=3)
    # Ids name an item whatever its place.
    order = rng.permutation(48)
    names = [f"i{n}" for n in range(48)]
    first = Dealt(target="a", rows=game.rows, members=game.members, owners=game.owners, items=names)
    other = Dealt(
        target="b",
        rows=np.arange(48),
        members=game.members[order],
        owners=[game.owners[n] for n in order],
        items=[names[n] for n in order],
    )
    both = {"a": scores[0], "b": scores[1][order]}
    again = empirical_epsilon(ITEMS, [first, other], both, None, attacks=1, seed=3)
    assert again == bound(game, (scores[0] + scores[1]) / 2, seed=3)


def test_an_item_on_both_sides_is_left_out_and_one_without_a_partner_too() -> None:
    members = np.array([True, True, True, False, False, True])
    game = dealt("t", members, ["a"] * 5 + ["b"])  # b has no held-out item; a's third member no partner
    assert bound(game, members * 1.0).ceiling == one_run_epsilon(2, 1, 1) / 2
    turned = Dealt(target="u", rows=game.rows, members=members ^ (game.rows == 0), owners=game.owners)
    scores = {"t": members * 1.0, "u": members * 1.0}
    few = empirical_epsilon(ITEMS, [game, turned], scores, None, attacks=1, seed=0)
    assert few.ceiling == one_run_epsilon(2, 1, 1) / 2
    with pytest.raises(Undefined, match="no pairs"):
        bound(dealt("t", np.array([True, False]), ["a", "b"]), np.zeros(2))


def test_pairs_are_within_the_strata_that_members_were_drawn_in() -> None:
    rng = np.random.default_rng(8)
    strata = [f"s{s} {kind}" for s in range(6) for kind in "ab" for _ in range(4)]
    game = dealt("t", np.tile([True, False], 24), [one.split()[0] for one in strata])
    game = replace(game, strata=strata)
    flat = 100.0 * np.array([one.endswith("b") for one in strata]) + rng.random(
        48
    )  # strata differ, members do not
    gaps = matched_gaps(ITEMS, [game], [flat], rng)
    assert gaps.size == 24
    assert np.abs(gaps).max() < 1
    uneven = replace(game, members=np.array([one.endswith("b") for one in strata]))
    with pytest.raises(Undefined, match="no pairs"):  # no stratum has both sides
        bound(uneven, flat)


def test_people_and_rows_are_matched_where_these_were_drawn() -> None:
    rng = np.random.default_rng(4)
    coins = rng.permutation(np.arange(40) % 2 == 0)
    people = Design(unit="sharer", randomised=True)
    owners = [f"s{n}" for n in range(40) for _ in range(3)]
    same = {f"t{n}": dealt(f"t{n}", np.repeat(coins, 3), owners) for n in range(4)}
    told = {t: d.members + 0.1 * rng.random(120) for t, d in same.items()}
    once = empirical_epsilon(people, list(same.values()), told, None, attacks=1, seed=0)
    assert once.value == once.ceiling == one_run_epsilon(20, 10, 10) / 2
    anew = {t: dealt(t, np.repeat(rng.permutation(coins), 3), owners) for t in same}
    told = {t: d.members + 0.1 * rng.random(120) for t, d in anew.items()}
    with pytest.raises(Undefined, match="people are members for one target and not for another"):
        empirical_epsilon(people, list(anew.values()), told, None, attacks=1, seed=0)
    rows = Design(unit="item", randomised=True)
    single = dealt("t", coins)
    found = empirical_epsilon(rows, [single], {"t": coins * 1.0}, None, attacks=1, seed=0)
    assert found == once


def test_ids_and_order_of_the_rows_do_not_tell_who_is_a_member() -> None:
    # Members are listed first, and all gaps are as wide: what the order could tell, it would tell here.
    game = dealt("t", np.tile(np.arange(8) < 4, 50), [f"s{s}" for s in range(50) for _ in range(8)])
    rng = np.random.default_rng(5)
    hits = sum(bound(game, rng.integers(2, size=400).astype(float), seed=run).value > 0 for run in range(200))
    assert hits <= 18  # 5 %, and three standard deviations more


@pytest.mark.parametrize("epsilon", [0.0, 1.0, 2.0])
def test_the_bound_seldom_exceeds_a_known_epsilon_and_is_above_zero_where_it_can_be(epsilon: float) -> None:
    rng = np.random.default_rng(6)
    values = []
    for run in range(60):
        game = halves(rng, 50, 8)
        flat = rng.normal(size=50)[np.arange(800) // 16] + rng.normal(size=800)
        values.append(bound(game, flat + published(game, epsilon, rng), flat, attacks=14, seed=run).value)
    assert sum(v > epsilon for v in values) <= 7  # 5 %, and about three standard deviations more
    if epsilon == 2.0:
        assert np.mean([v > 0 for v in values]) >= 0.8


@pytest.mark.parametrize(("chance", "sides"), [(0.5, 8), (0.2, 8), (None, 3)])
def test_unfair_coins_and_unequal_sides_leave_pairs_fair(chance: float | None, sides: int) -> None:
    rng = np.random.default_rng(7)
    hits = 0
    for run in range(200):
        members = [
            rng.random(16) < chance if chance else rng.permutation(np.arange(16) < sides) for _ in range(20)
        ]
        game = dealt("t", np.concatenate(members), [f"s{s}" for s in range(20) for _ in range(16)])
        alike = rng.normal(size=20)[np.arange(320) // 16]  # what a sharer's items have in common
        hits += bound(game, alike + 0.1 * rng.normal(size=320), seed=run).value > 0
    assert hits <= 18


# -- coins -------------------------------------------------------------------------------------------------


def coins_bound(games: list[Dealt], scores: Mapping[str, np.ndarray], attacks: int = 1):
    base = {d.target: np.zeros(d.members.size) for d in games}
    return empirical_epsilon(COINS, games, scores, base, attacks=attacks, seed=0)


def test_the_extremes_are_guessed_and_the_rest_abstained_from() -> None:
    low, high = guesses(np.array([3.0, -1.0, 0.5, 9.0, 0.0, -2.0, 4.0, 1.0, 2.0]))
    assert sorted(low) == [1, 5]
    assert sorted(high) == [3, 6]
    low, high = guesses(np.zeros(8))  # of equal ones the earlier, and nobody on both sides
    assert (low.tolist(), high.tolist()) == ([0, 1], [2, 3])
    assert all(part.size == 0 for part in guesses(np.array([1.0, 2.0, 3.0])))


def test_coins_are_guessed_within_each_target() -> None:
    rng = np.random.default_rng(0)
    games = [dealt(f"t{t}", rng.permutation(np.arange(6) < 3)) for t in range(14)]
    flat = {d.target: rng.normal(size=6) * 100 for d in games}  # what sharers' items are like: no evidence
    told = {d.target: flat[d.target] + d.members for d in games}
    found = empirical_epsilon(COINS, games, told, flat, attacks=1, seed=0)
    assert found.value == found.ceiling == one_run_epsilon(84, 28, 28)  # one high and one low of each target
    shared = empirical_epsilon(COINS, games, told, flat, attacks=5, seed=0)
    assert shared.ceiling == one_run_epsilon(84, 28, 28, alpha=0.01)
    wrong = {t: 2 * flat[t] - s for t, s in told.items()}  # turned round, every guess is wrong
    assert empirical_epsilon(COINS, games, wrong, flat, attacks=1, seed=0).value == 0.0


@pytest.mark.parametrize("count", [0.0, 2.0])
def test_coins_that_tell_nothing_or_only_how_many_are_in_hardly_ever_give_a_bound(count: float) -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(200):
        games = [dealt(f"t{t}", rng.integers(2, size=8)) for t in range(14)]
        alike = rng.normal(size=8)  # the same sharers score high for every target
        scores = {d.target: alike + 0.3 * rng.normal(size=8) + count * (d.members.sum() - 4) for d in games}
        hits += coins_bound(games, scores).value > 0
    assert hits <= 18


def test_one_sided_targets_count_and_selected_games_have_no_bound() -> None:
    games = [dealt("t0", np.ones(4)), dealt("t1", np.zeros(4))]
    scores = {"t0": np.full(4, 2.0), "t1": np.full(4, 1.0)}
    found = coins_bound(games, scores)
    assert (found.value, found.ceiling) == (
        0.0,
        one_run_epsilon(8, 4, 4),
    )  # half right: who, they do not tell
    assert found == empirical_epsilon(COINS, games, scores, None, attacks=1, seed=0)
    with pytest.raises(Undefined, match="selected, not drawn"):
        empirical_epsilon(SELECTED, games, scores, None, attacks=1, seed=0)
    with pytest.raises(Undefined, match="3 coins are too few"):
        coins_bound([dealt("t", np.ones(3))], {"t": np.ones(3)})
    with pytest.raises(Undefined, match="no scores"):
        coins_bound(games[:0], {})


def test_a_sharers_items_are_averaged() -> None:
    owners = ["b", "a", "b", "a", "c"]
    game = Dealt(
        target="t",
        rows=np.array([10, 11, 12, 13, 14]),
        members=np.array([True, False, True, False, True]),
        owners=owners,
    )
    whole, scores = by_sharer(game, np.array([1.0, 2.0, 3.0, 6.0, -np.inf]))
    assert list(whole.owners) == ["a", "b", "c"]
    assert whole.members.tolist() == [False, True, True]
    assert whole.rows.tolist() == [11, 10, 14]
    assert scores == pytest.approx([4.0, 2.0, -np.inf])
    _, both = by_sharer(game, np.array([np.inf, 2.0, -np.inf, 6.0, 1.0]))
    assert not np.isnan(both).any()
