"""Empirical ε of games: the rule that guesses, its ceiling, and what it says where there is nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prime_audit.audit.auc import Undefined
from prime_audit.audit.bounds import by_sharer, empirical_epsilon, guesses
from prime_audit.audit.design import Dealt, Design
from prime_audit.audit.epsilon import one_run_epsilon
from prime_audit.audit.mean_auc import TargetScores
from prime_audit.audit.splitting import split_epsilon

COINS = Design(unit="sharer", randomised=True, whole=True)
SELECTED = Design(unit="sharer", randomised=False)
ITEMS = Design(unit="item-within-sharer", randomised=True)


def dealt(target: str, members: np.ndarray, owners: list[str] | None = None) -> Dealt:
    names = owners or [f"s{i}" for i in range(members.size)]
    return Dealt(target=target, rows=np.arange(members.size), members=members.astype(bool), owners=names)


def test_the_extremes_are_guessed_and_the_rest_abstained_from() -> None:
    low, high = guesses(np.array([3.0, -1.0, 0.5, 9.0, 0.0, -2.0, 4.0, 1.0, 2.0]))
    assert sorted(low) == [1, 5]
    assert sorted(high) == [3, 6]
    low, high = guesses(np.zeros(8))  # of equal ones the earlier, and nobody on both sides
    assert (low.tolist(), high.tolist()) == ([0, 1], [2, 3])
    assert all(part.size == 0 for part in guesses(np.array([1.0, 2.0, 3.0])))


def test_all_right_is_the_ceiling_and_the_unmerged_base_is_subtracted() -> None:
    rng = np.random.default_rng(0)
    games = [dealt(f"t{t}", rng.integers(2, size=6)) for t in range(14)]
    flat = {d.target: rng.normal(size=6) * 100 for d in games}  # what sharers' items are like: no evidence
    told = {d.target: flat[d.target] + d.members for d in games}
    found = empirical_epsilon(COINS, games, told, flat, attacks=1, seed=0)
    made = 2 * (14 * 6 // 4)
    assert found.value == found.ceiling == one_run_epsilon(84, made, made)
    shared = empirical_epsilon(COINS, games, told, flat, attacks=5, seed=0)
    assert shared.ceiling == one_run_epsilon(84, made, made, alpha=0.01)
    # Turned round, every guess is wrong.
    wrong = empirical_epsilon(
        COINS, games, {t: 2 * flat[t] - s for t, s in told.items()}, flat, attacks=1, seed=0
    )
    assert wrong.value == 0.0


def test_null_coins_hardly_ever_give_a_bound() -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(300):
        games = [dealt(f"t{t}", rng.integers(2, size=6)) for t in range(14)]
        base = {d.target: np.zeros(6) for d in games}
        alike = rng.normal(size=6)  # the same sharers score high for every target
        scores = {d.target: alike + 0.3 * rng.normal(size=6) for d in games}
        found = empirical_epsilon(COINS, games, scores, base, attacks=1, seed=0)
        hits += found.value > 0
    print(f"null audits with one-run ε > 0: {hits / 300:.3f}")
    assert hits / 300 <= 0.08


def test_one_sided_targets_count_and_selected_games_have_no_bound() -> None:
    games = [dealt("t0", np.ones(4)), dealt("t1", np.zeros(4))]
    scores = {"t0": np.full(4, 2.0), "t1": np.full(4, 1.0)}
    base = {t: np.zeros(4) for t in scores}
    found = empirical_epsilon(COINS, games, scores, base, attacks=1, seed=0)
    assert found.value == found.ceiling == one_run_epsilon(8, 4, 4)
    with pytest.raises(Undefined, match="selected, not drawn"):
        empirical_epsilon(SELECTED, games, scores, base, attacks=1, seed=0)
    with pytest.raises(Undefined, match="with the unmerged base's scores"):
        empirical_epsilon(COINS, games, scores, None, attacks=1, seed=0)
    with pytest.raises(Undefined, match="no coins"):
        empirical_epsilon(COINS, games[:0], {}, {}, attacks=1, seed=0)


def test_items_of_their_owners_own_go_through_the_split_bound() -> None:
    rng = np.random.default_rng(2)
    games, scores = [], {}
    for t in range(40):
        members = rng.permutation([True, True, False, False])
        games.append(dealt(f"t{t}", members, [f"t{t}"] * 4))
        scores[f"t{t}"] = members + 0.1 * rng.normal(size=4)
    found = empirical_epsilon(ITEMS, games, scores, None, attacks=2, seed=7)
    panels = [TargetScores(d.target, scores[d.target], d.owners, d.members) for d in games]
    same = split_epsilon(panels, seed=7, alpha=0.025)
    assert (found.value, found.ceiling) == (same.value / 2, same.ceiling / 2)  # of adding, not of exchanging
    assert found.value == found.ceiling > 0.5
    free = empirical_epsilon(replace(ITEMS, fixed=False), games, scores, None, attacks=2, seed=7)
    assert free == same  # each item by a coin of its own: no exchange
    with pytest.raises(Undefined, match="two sharers each"):  # one person
        empirical_epsilon(ITEMS, games[:1], scores, None, attacks=1, seed=0)


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
