"""Held-out items that came with the data: their places show whether they may have been drawn at random."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise, product

import numpy as np
import pytest

from prime_audit.audit.auc import BoolArray, IntArray
from prime_audit.audit.pool import Pool
from prime_audit.audit.signs import LEVEL, OF_WORDS, UNKNOWN, position_p, signs, spacing_p, words_p
from prime_audit.games.heldout import heldout
from prime_audit.plugins import Audited

SHARERS, HISTORY, OUT = 12, 30, 6


def pool_of(places: list[np.ndarray], *, given: bool = True) -> Pool:
    """Pool the held-out items at these places, 1 to HISTORY, of one sharer each, with as many trained ones."""
    rng = np.random.default_rng(0)
    rows = []
    for number, out in enumerate(places):
        inside = rng.choice(np.setdiff1d(np.arange(1, HISTORY + 1), out), out.size, replace=False)
        rows += [(f"s{number}", int(p), False) for p in out] + [(f"s{number}", int(p), True) for p in inside]
    owners, where, trained = zip(*rows, strict=True)
    texts = [str(n) for n in range(len(rows))]
    every = np.ones(len(rows), dtype=np.bool_)
    return Pool(
        owners=owners,
        ids=texts,
        prompts=texts,
        golds=texts,
        trained=np.array(trained),
        last=every,
        drawn=every,
        twins=[()] * len(rows),
        places=np.array([(p, HISTORY) for p in where], dtype=np.int64),
        given=given,
    )


WAYS = {
    "last": np.arange(HISTORY - OUT, HISTORY),
    "first": np.arange(OUT),
    "last but one": np.arange(HISTORY - OUT - 1, HISTORY - 1),
}


@pytest.mark.parametrize("way", WAYS)
def test_items_held_out_by_time_show(way: str) -> None:
    pool = pool_of([WAYS[way] + 1] * SHARERS)
    (said,) = signs(pool)
    assert ("earlier" if way == "first" else "later") in said
    dealt = heldout.plugin.deal(Audited(target="t", merged=["s0", "s1"]), pool)
    assert dealt.given
    assert dealt.signs == (said,)
    assert signs(replace(pool, given=False)) == ()
    assert signs(replace(pool, places=np.zeros((0, 2), dtype=np.int64))) == (UNKNOWN,)


def test_items_held_out_at_random_seldom_show() -> None:
    rng = np.random.default_rng(1)
    fired = sum(
        bool(signs(pool_of([rng.choice(HISTORY, OUT, replace=False) + 1 for _ in range(SHARERS)])))
        for _ in range(300)
    )
    assert fired <= 2


def test_the_p_is_the_rank_sum_tests_normal_one() -> None:
    """By listing all draws: mean and variance of the sum of places, over two sharers of five and four items."""
    sums = [sum(a) + sum(b) for a in combinations(range(1, 6), 2) for b in combinations(range(1, 5), 1)]
    observed = 5 + 4 + 4
    from scipy.stats import norm

    z = (observed - np.mean(sums)) / np.std(sums)
    found = position_p(np.array([5, 4, 4]), np.array([5, 5, 4]), np.array([0, 0, 1]))
    assert found == pytest.approx(2 * norm.sf(abs(z)))
    assert position_p(np.array([1]), np.array([1]), np.array([0])) is None
    assert LEVEL == 0.001


def test_the_p_of_even_gaps_is_the_normal_one_of_exact_moments() -> None:
    """By listing all draws of three of seven items of one person and two of six of another."""

    def squares(places: tuple[int, ...], whole: int) -> int:
        return sum((b - a) ** 2 for a, b in pairwise((*places, places[0] + whole)))

    draws = list(product(combinations(range(1, 8), 3), combinations(range(1, 7), 2)))
    sums = [squares(a, 7) + squares(b, 6) for a, b in draws]
    from scipy.stats import norm

    # A person who holds out a single item, or all, says nothing.
    places, lengths = np.array([1, 3, 6, 2, 5, 1, 1, 2]), np.array([7, 7, 7, 6, 6, 9, 2, 2])
    owners = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    z = (squares((1, 3, 6), 7) + squares((2, 5), 6) - np.mean(sums)) / np.std(sums)
    assert spacing_p(places, lengths, owners) == pytest.approx(norm.cdf(z))
    assert spacing_p(places[5:], lengths[5:], owners[5:]) is None


@pytest.mark.parametrize("way", ["every fifth", "one of each five", "every fifth but one"])
def test_evenly_spaced_items_show(way: str) -> None:
    rng = np.random.default_rng(2)
    places = []
    for _ in range(4 * SHARERS):
        every = np.arange(3, HISTORY + 1, 5)  # neither late nor early
        if way == "one of each five":
            every = every + rng.integers(-2, 3, every.size)
        places.append(np.delete(every, 2) if way == "every fifth but one" else every)
    (found,) = signs(pool_of(places))
    assert "more evenly spaced" in found


@pytest.mark.parametrize("out", [2, 3, 6])
def test_random_items_are_seldom_too_even(out: int) -> None:
    rng = np.random.default_rng(3)
    lengths, owners = np.full(8 * out, 12), np.repeat(np.arange(8), out)
    draws = (np.concatenate([rng.choice(12, out, replace=False) + 1 for _ in range(8)]) for _ in range(2000))
    found = np.array([spacing_p(places, lengths, owners) for places in draws])
    assert np.mean(found < 0.05) < 0.06
    assert np.mean(found < LEVEL) < 0.004
    assert np.mean(found < 0.5) > 0.4


THEMES = ("rain", "sun", "snow", "wind", "fog", "hail", "storm", "mist", "cloud", "frost")


def said_by(
    rng: np.random.Generator, shift: float, people: int = 8, each: int = 12
) -> tuple[list[str], BoolArray, IntArray]:
    """Texts of few words that repeat, half of each person's held out; ``shift`` of these have a word more often."""
    out = np.tile(np.arange(each) % 2 == 0, people)
    owners = np.repeat(np.arange(people), each)
    texts = [
        f"{THEMES[owner]} and {' '.join(rng.choice(THEMES, 3))}{' today' if held and rng.random() < shift else ''}"
        for held, owner in zip(out, owners, strict=True)
    ]
    return texts, out, owners


def test_the_p_of_words_is_that_of_exchanging_sides() -> None:
    """By hand: texts without a common word, one letter apart, so a side's vector is as long as its items are many."""
    assert words_p(["a b", "a b", "c d", "c d"], np.array([True, True, False, False]), np.zeros(4, int)) == (
        pytest.approx(2 / 6, abs=0.04)  # 2 of the 6 ways to hold two out put alike items on one side
    )
    assert words_p(["a b"] * 4, np.array([True, True, False, False]), np.zeros(4, int)) is None
    assert words_p(["!"] * 4, np.array([True, True, False, False]), np.zeros(4, int)) is None
    own = np.array([0, 0, 1, 1])  # nothing moves between people
    assert words_p(["a", "a", "b", "b"], np.array([True, False, True, False]), own) is None


def test_words_of_items_held_out_at_random_seldom_differ() -> None:
    """Scores out of fold with sides exchanged under them call such short, alike texts selected far too often."""
    rng = np.random.default_rng(0)
    found = [words_p(*said_by(rng, 0.0)) for _ in range(300)]
    assert sum(p is not None and p <= OF_WORDS for p in found) <= 9
    assert sum(p is not None and p <= 0.2 for p in found) == pytest.approx(60, abs=21)


def test_words_that_held_out_items_have_more_often_show() -> None:
    rng = np.random.default_rng(0)
    found = [words_p(*said_by(rng, 0.6)) for _ in range(20)]
    assert sum(p is not None and p <= OF_WORDS for p in found) >= 18


def test_a_choice_by_words_is_a_sign_in_every_game_of_held_out_items() -> None:
    pool = pool_of([np.random.default_rng(n).permutation(HISTORY)[:OUT] + 1 for n in range(SHARERS)])
    assert signs(pool) == ()
    chosen = replace(pool, golds=["yes" if kept else "no" for kept in pool.trained])
    (said,) = signs(chosen)
    assert "other words than their owners' trained items" in said
