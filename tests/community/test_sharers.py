"""Who shares, and what of it: clusters, held-out items, similarity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prime_audit.community.sharers import choose_sharers, cluster_users, cosines, hold_out
from prime_audit.lamp.data import Item, User


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
