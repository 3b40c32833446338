"""Cutting work: everything once, within the budget, of like length; small sets of adapters share a batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from prime_audit.engine.batches import batches, unite

LENGTHS = st.lists(st.integers(1, 400), max_size=60)


@given(LENGTHS, st.integers(1, 3000), st.sampled_from([0, 30, 1000, float("inf")]), st.integers(1, 3))
def test_every_row_once_within_the_budget(lengths, tokens, worth, kinds):
    made = list(
        batches(
            range(len(lengths)),
            group=lambda i: i % kinds,
            length=lengths.__getitem__,
            tokens=tokens,
            worth=worth,
        )
    )
    assert sorted(i for batch in made for i in batch) == list(range(len(lengths)))
    for batch in made:
        longest = max(lengths[i] for i in batch)
        assert len({i % kinds for i in batch}) == 1
        assert len(batch) == 1 or len(batch) * longest <= tokens
        assert sum(longest - lengths[i] for i in batch) <= worth


@given(
    st.lists(st.frozensets(st.sampled_from("abcdefgh"), max_size=4), max_size=30),
    st.integers(1, 500),
    st.integers(0, 8),
)
def test_pools_hold_their_sets_and_no_more_than_is_allowed(sets, tokens, most):
    pools = unite(sets, lambda _: 10, tokens, most)
    assert pools.keys() == set(sets)
    for own, pool in pools.items():
        assert own <= pool
        assert len(pool) <= max(most, len(own))
        inside = [s for s in sets if pools[s] == pool]
        assert 10 * len(inside) <= tokens or len(set(inside)) == 1
    if frozenset() in pools:
        assert pools[frozenset()] == frozenset()


def test_one_candidate_a_target_shares_a_batch():
    """What a sequential optimizer asks: few rows of many sets."""
    sets = [frozenset(names) for names in ("abc", "abd", "acd", "bcd")]
    assert set(unite(sets, lambda _: 10, 1000, 4).values()) == {frozenset("abcd")}
    assert len(set(unite(sets, lambda _: 10, 1000, 3).values())) == 4
