"""Paired tests against scipy's permutation test, against enumeration, and against what they must be by symmetry."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test, t
from sklearn.metrics import f1_score, roc_auc_score, root_mean_squared_error

from prime_audit.audit.auc import Undefined
from prime_audit.audit.intervals import auc_difference
from prime_audit.audit.mean_auc import TargetScores
from prime_audit.lamp.metrics import metric_table
from prime_audit.lamp.tasks import TASKS
from prime_audit.record import Comparison
from prime_audit.runs.utility import Answers, comparisons
from prime_audit.studies.paired import Side, Test, auc_test, corrected, panels_of, utility_test

Texts = list[str]


def side(task: str, users: Sequence[str], golds: Texts, *repeats: Texts) -> Side:
    return Side(tuple(metric_table(TASKS[task], golds, p) for p in repeats), tuple(users))


def tags(rng: np.random.Generator, n: int, golds: Texts | None = None, share: float = 0.0) -> Texts:
    """Draw tags; with golds, that share of them right."""
    drawn = [TASKS["LaMP-2"].labels[i] for i in rng.integers(5, size=n)]
    return (
        drawn
        if golds is None
        else [g if rng.random() < share else d for g, d in zip(golds, drawn, strict=True)]
    )


def people(rng: np.random.Generator, users: int) -> list[str]:
    """Draw who asks each question: uneven numbers, in no order."""
    own = [f"u{u}" for u in range(users) for _ in range(int(rng.integers(2, 6)))]
    return [own[i] for i in rng.permutation(len(own))]


def answered(seed: int, count: int, first: float, second: float) -> tuple[list[str], Texts, Texts, Texts]:
    """Draw who asks each question, the right tags, and the answers of two models with these shares right."""
    rng = np.random.default_rng(seed)
    users = people(rng, count)
    golds = tags(rng, len(users))
    return users, golds, tags(rng, len(users), golds, first), tags(rng, len(users), golds, second)


def compared(users: Sequence[str], golds: Texts, a: Texts, b: Texts, metric: str, seed: int) -> Test:
    return utility_test(side("LaMP-2", users, golds, a), side("LaMP-2", users, golds, b), metric, seed=seed)


def swapped(users: Sequence[str], a: Texts, b: Texts, chosen: set[str]) -> tuple[Texts, Texts]:
    pairs = [(y, x) if u in chosen else (x, y) for u, x, y in zip(users, a, b, strict=True)]
    return [x for x, _ in pairs], [y for _, y in pairs]


def enumerated(
    users: Sequence[str], a: Texts, b: Texts, metric: Callable[[Texts], float]
) -> tuple[float, float]:
    """Difference and two-sided p by every swap of the users' answers, one by one."""
    names = sorted(set(users))
    observed, hits, total = metric(a) - metric(b), 0, 0
    for coins in itertools.product([False, True], repeat=len(names)):
        one, other = swapped(users, a, b, {n for n, c in zip(names, coins, strict=True) if c})
        hits += abs(metric(one) - metric(other)) >= abs(observed) - 1e-12
        total += 1
    return observed, hits / total


# -- utility -----------------------------------------------------------------------------------------------


def test_a_mean_agrees_with_scipy() -> None:
    users, golds, a, b = answered(3, 9, 0.7, 0.4)
    found = compared(users, golds, a, b, "accuracy", seed=0)

    def right(texts: Texts) -> np.ndarray:
        return np.array(
            [
                sum(x == g for x, g, u in zip(texts, golds, users, strict=True) if u == name)
                for name in sorted(set(users))
            ]
        )

    theirs = permutation_test(
        (right(a), right(b)),
        lambda x, y, axis: (x.sum(axis=axis) - y.sum(axis=axis)) / len(users),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert found.exact
    assert found.users == 9
    assert found.difference == pytest.approx(theirs.statistic, abs=1e-12)
    assert found.p == pytest.approx(theirs.pvalue, abs=1e-12)


def test_f1_is_swapped_whole_not_averaged_over_users() -> None:
    users, golds, a, b = answered(4, 7, 0.6, 0.3)
    found = compared(users, golds, a, b, "f1", seed=0)

    def f1(texts: Texts) -> float:
        return float(
            f1_score(golds, texts, labels=list(TASKS["LaMP-2"].labels), average="macro", zero_division=0)
        )

    assert (found.difference, found.p) == pytest.approx(enumerated(users, a, b, f1), abs=1e-12)


def test_rmse_and_repetitions() -> None:
    rng = np.random.default_rng(5)
    users = people(rng, 6)
    scores = [[str(s) for s in rng.integers(1, 6, len(users))] for _ in range(5)]
    golds, (a1, a2, b1, b2) = scores[0], scores[1:]
    found = utility_test(
        side("LaMP-3", users, golds, a1, a2), side("LaMP-3", users, golds, b1, b2), "RMSE", seed=0
    )

    def rmse(texts: Texts) -> float:  # of two repetitions, end to end: the mean of the two
        half = len(golds)
        y = [float(g) for g in golds]
        return float(
            np.mean(
                [
                    root_mean_squared_error(y, [float(x) for x in part])
                    for part in (texts[:half], texts[half:])
                ]
            )
        )

    both = enumerated([*users, *users], a1 + a2, b1 + b2, rmse)
    assert (found.difference, found.p) == pytest.approx(both, abs=1e-12)


def test_of_many_users_swaps_are_drawn_and_agree() -> None:
    users, golds, a, b = answered(6, 16, 0.65, 0.5)  # 65,536 swaps: scipy can enumerate them, we draw
    sides = side("LaMP-2", users, golds, a), side("LaMP-2", users, golds, b)
    found = utility_test(*sides, "accuracy", seed=0)
    names = sorted(set(users))
    gain = np.array(
        [
            sum((x == g) - (y == g) for x, y, g, u in zip(a, b, golds, users, strict=True) if u == name)
            for name in names
        ]
    )
    signs = 1 - 2 * ((np.arange(2**16)[:, None] >> np.arange(16)) & 1)
    exact = np.mean(np.abs(signs @ gain) >= abs(gain.sum()))
    assert not found.exact
    assert found.p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 9999) + 2e-4)
    assert found == utility_test(*sides, "accuracy", seed=0)


def test_the_interval_is_that_of_the_record() -> None:
    users, golds, a, b = answered(7, 60, 0.7, 0.4)
    ids = [str(i) for i in range(len(users))]
    theirs: list[Comparison] = comparisons(
        TASKS["LaMP-2"], Answers("a", users, ids, golds, a), Answers("b", users, ids, golds, b)
    )
    for one in theirs:
        found = compared(users, golds, a, b, one.metric, seed=11)
        assert found.difference == pytest.approx(one.difference, abs=1e-12)
        assert found.ci == pytest.approx(one.ci, abs=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_symmetries(seed: int, count: int) -> None:
    users, golds, a, b = answered(seed, count, 0.6, 0.4)
    one, other = side("LaMP-2", users, golds, a), side("LaMP-2", users, golds, b)
    there, back = utility_test(one, other, "f1", seed=1), utility_test(other, one, "f1", seed=1)
    assert there.difference == pytest.approx(-back.difference, abs=1e-12)
    assert there.p == pytest.approx(back.p)
    assert 2 / 2**count <= there.p <= 1
    same = utility_test(one, one, "f1", seed=1)
    assert (same.difference, same.p) == (0.0, 1.0)
    assert there.ci is None  # macro-F1 of so few
    assert there.reason is not None
    accuracy = utility_test(one, other, "accuracy", seed=1)
    assert (accuracy.ci is None) == (count == 1) == (accuracy.reason is not None)


def test_nothing_is_found_where_there_is_nothing() -> None:
    rng, low, n = np.random.default_rng(8), 0, 300
    for _ in range(n):
        users = people(rng, 8)
        golds = tags(rng, len(users))
        sides = [side("LaMP-2", users, golds, tags(rng, len(users), golds, 0.5)) for _ in range(2)]
        low += utility_test(*sides, "accuracy", seed=0).p <= 0.05
    assert low <= 0.05 * n + 3 * np.sqrt(0.05 * 0.95 * n)


def test_other_questions_are_refused() -> None:
    one = side("LaMP-3", ["u", "v"], ["1", "2"], ["1", "2"])
    with pytest.raises(ValueError, match="different questions"):
        utility_test(one, side("LaMP-3", ["v", "u"], ["1", "2"], ["1", "2"]), "MAE", seed=0)
    with pytest.raises(ValueError, match="repetitions"):
        utility_test(one, side("LaMP-3", ["u", "v"], ["1", "2"], ["1", "2"], ["1", "1"]), "MAE", seed=0)


# -- membership --------------------------------------------------------------------------------------------


def games(rng: np.random.Generator, lift: float, targets: int = 6, members: int = 2) -> list[TargetScores]:
    sharers = np.repeat([f"s{i}" for i in range(6)], 4)
    found = []
    for target in range(targets):
        inside = np.isin(sharers, [f"s{(target + i) % 6}" for i in range(members)])
        found.append(
            TargetScores(f"t{target}", rng.normal(size=24) + lift * inside, sharers.tolist(), inside)
        )
    return found


def test_aucs_are_compared_by_the_intervals_own_error() -> None:
    rng = np.random.default_rng(9)
    first, second = games(rng, 1.0), games(rng, 0.0)
    aucs = [np.array([roc_auc_score(p.members, p.scores) for p in side]) for side in (first, second)]
    found, theirs = auc_test(first, second), auc_difference(first, second).estimate
    assert found.difference == pytest.approx(np.mean(aucs[0] - aucs[1]), abs=1e-12)
    assert found.ci == theirs.ci
    assert theirs.se is not None
    assert found.p == pytest.approx(2 * t.sf(abs(found.difference) / theirs.se, theirs.freedom))
    assert (found.users, found.exact) == (6, None)
    back = auc_test(second, first)
    assert (back.difference, back.p) == pytest.approx((-found.difference, found.p))
    assert auc_test(first, first).p == 1.0


@pytest.mark.parametrize("game", ["heldout", "paper"])
def test_what_two_methods_do_to_all_targets_alike_is_no_difference(game: str) -> None:
    """What a method does to an item is the same in every target's game: swapping targets rejects every other time."""
    rng, low, n = np.random.default_rng(14), 0, 200
    owner = np.repeat(np.arange(8), 8)
    for _ in range(n):
        trained = np.concatenate([rng.permutation(np.arange(8) % 2 == 0) for _ in range(8)])
        did = [rng.normal(size=8)[owner] + rng.normal(size=owner.size) for _ in range(2)]
        sides: list[list[TargetScores]] = [[], []]
        for target in range(10):
            merged = np.isin(owner, rng.choice(8, 4, replace=False))
            rows = np.flatnonzero(merged) if game == "heldout" else np.arange(owner.size)
            inside = trained[rows] if game == "heldout" else merged
            for side_, scores in zip(sides, did, strict=True):
                noisy = scores[rows] + 0.3 * rng.normal(size=rows.size)
                side_.append(TargetScores(f"t{target}", noisy, [f"s{o}" for o in owner[rows]], inside))
        p = auc_test(*sides).p
        assert p is not None
        low += p <= 0.05
    assert low <= 0.07 * n


def test_other_members_have_neither_interval_nor_p() -> None:
    rng = np.random.default_rng(10)
    found = auc_test(games(rng, 1.0), games(rng, 1.0, members=3))
    assert (found.ci, found.p, found.p_adjusted) == (None, None, None)
    assert found.reason is not None
    assert "merge different sharers" in found.reason
    assert found.users == 6


def test_targets_that_only_one_can_be_played_on_do_not_count() -> None:
    rng = np.random.default_rng(11)
    first, second = games(rng, 1.0), games(rng, 1.0)
    second[0] = replace(second[0], members=np.zeros(24, dtype=bool))
    assert auc_test(first, second[:-1]).users == 4
    with pytest.raises(Undefined):
        auc_test(first, [])


def test_panels_are_read_from_rows() -> None:
    rows = [
        {"target": "t", "sharer": s, "member": m, "score": x}
        for s, m, x in (("a", True, 1.0), ("a", True, 3.0), ("b", False, 0.0), ("b", False, 5.0))
    ]
    (items,) = panels_of(rows, whole=False)
    assert items.scores.tolist() == [1.0, 3.0, 0.0, 5.0]
    (sharers,) = panels_of(rows, whole=True)
    assert sharers.scores.tolist() == [2.0, 2.5]
    assert list(sharers.sharers) == ["a", "b"]
    assert sharers.members.tolist() == [True, False]


def test_holm_over_the_family() -> None:
    one = auc_test(games(np.random.default_rng(12), 1.0), games(np.random.default_rng(13), 0.0))
    family = [replace(one, p=p) for p in (0.04, 0.01, 0.03)]
    assert [x.p_adjusted for x in corrected(family)] == pytest.approx([0.06, 0.03, 0.06])
    without = [family[0], replace(one, p=None), *family[1:]]
    assert [x.p_adjusted for x in corrected(without)] == [
        pytest.approx(0.06),
        None,
        0.03,
        pytest.approx(0.06),
    ]
    assert corrected([]) == ()
