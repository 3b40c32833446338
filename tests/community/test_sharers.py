"""Who shares, and what of it: clusters, held-out items, similarity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prime_audit.audit.mean_auc import TargetScores
from prime_audit.audit.permutation import permutation_test
from prime_audit.community.held import hold_back
from prime_audit.community.sharers import choose_sharers, cluster_users, cosines, hold_out, singles
from prime_audit.lamp.data import Dataset, Item, User


def user(name: str, items: int) -> User:
    return User(name, tuple(Item(f"{name}-{n}", {"text": str(n)}) for n in range(items)))


def test_of_each_cluster_the_longest_history_shares_if_long_enough() -> None:
    users = [user("a", 12), user("b", 20), user("c", 10), user("d", 11), user("e", 20)]
    chosen = choose_sharers(users, np.array([0, 0, 1, 2, 0]), min_history=10, heldout=0.2, seed=0)
    assert [(s.user.id, s.cluster) for s in chosen] == [("b", 0), ("d", 2)]  # c has no more than 10


@given(st.integers(2, 60), st.floats(0, 0.9), st.integers(0, 9))
def test_held_out_and_trained_are_a_partition_in_order(items: int, share: float, seed: int) -> None:
    one = user("a", items)
    sharer = hold_out(one, 0, share, seed)
    ids = [i.id for i in one.history]
    assert len(sharer.heldout) == (max(1, int(share * items)) if share else 0)
    assert sorted([*sharer.trained, *sharer.heldout], key=ids.index) == ids
    assert list(sharer.trained) == sorted(sharer.trained, key=ids.index)
    assert sharer == hold_out(one, 0, share, seed)


def test_what_is_held_out_is_the_users_own_affair() -> None:
    alone = choose_sharers([user("b", 20)], np.array([0]), min_history=1, heldout=0.2, seed=3)
    among = choose_sharers(
        [user("a", 20), user("b", 20)], np.array([0, 1]), min_history=1, heldout=0.2, seed=3
    )
    assert alone[0].heldout == among[1].heldout
    assert [i.removeprefix("a") for i in among[0].heldout] != [i.removeprefix("b") for i in among[1].heldout]


def test_clusters_find_groups_and_never_outnumber_users() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.eye(3) * 10, 5, axis=0) + rng.normal(0, 0.1, (15, 3))
    found = cluster_users(groups, 3, seed=0)
    assert [len(set(found[i : i + 5].tolist())) for i in (0, 5, 10)] == [1, 1, 1]
    assert len(set(found.tolist())) == 3
    assert len(set(cluster_users(groups[:2], 50, seed=0).tolist())) == 2
    np.testing.assert_array_equal(found, cluster_users(groups, 3, seed=0))
    cluster_users(np.ones((6, 3)), 4, seed=0)  # all alike: no warning, no failure


def test_cosines() -> None:
    from sklearn.metrics.pairwise import cosine_similarity

    rng = np.random.default_rng(1)
    one, many = rng.normal(size=8), rng.normal(size=(5, 8))
    assert cosines(one, many) == pytest.approx(cosine_similarity(one[None], many)[0])


@given(
    st.lists(st.sampled_from("abcdefghij"), min_size=2, max_size=30), st.floats(0.05, 0.9), st.integers(0, 99)
)
def test_copies_are_in_no_game(texts: list[str], share: float, seed: int) -> None:
    once = {f"i{n}" for n, t in enumerate(texts) if texts.count(t) == 1}
    one = User("u", tuple(Item(f"i{n}", {"text": f"{t}!", "title": "x"}) for n, t in enumerate(texts)))
    sharer = hold_out(one, 0, share, seed)
    assert set(sharer.heldout) <= once == set(singles(one))
    assert len(sharer.heldout) == min(max(1, int(share * len(texts))), len(once), len(texts) - 1)
    assert sharer.trained  # always something
    _, held = hold_back(
        Dataset(task="LaMP-4", source="x", layout="world", adapt=(), targets=(one,), candidates=()),
        share,
        seed,
    )
    game = [*held["u"].members, *held["u"].others]
    assert set(game) <= once
    assert len(game) == len(set(game))


def test_with_copies_the_test_of_nothing_holds_its_level() -> None:
    rejected = []
    for trial in range(200):
        rng = np.random.default_rng(trial)
        panels = []
        for number in range(6):
            texts = [f"w{n}" for n in range(10)] + [f"w{n}" for n in range(10, 15) for _ in range(2)]
            one = User(f"u{number}", tuple(Item(f"i{n}", {"text": t}) for n, t in enumerate(texts)))
            held = hold_back(
                Dataset(task="LaMP-4", source="x", layout="world", adapt=(), targets=(one,), candidates=()),
                0.2,
                trial,
            )[1][one.id]
            law = {t: float(rng.normal()) for t in texts}  # copies score alike
            asked = [*held.members, *held.others]
            scores = np.array([law[texts[int(i[1:])]] for i in asked])
            members = np.array([i in held.members for i in asked])
            panels.append(TargetScores(one.id, scores, [one.id] * len(asked), members))
        rejected.append(permutation_test(panels, unit="item-within-sharer", n=199, seed=trial).p <= 0.05)
    assert 0.01 <= np.mean(rejected) <= 0.09
