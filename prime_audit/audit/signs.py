"""Signs that held-out items were selected: where the data say which they are, this run did not draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from prime_audit.audit.auc import BoolArray, IntArray
from prime_audit.audit.design import Dealt
from prime_audit.audit.pool import Pool

LEVEL = 0.001
"""A p of either test of places below it is a sign: random draws show each at most once in a thousand times."""
OF_WORDS = 0.01
"""A p of the test of words at most as large is a sign."""
DRAWS = 1999
"""Relabellings of the test of words."""
UNKNOWN = "an older version stored the run: whether the held-out items were drawn at random is unknown"
"""Takes the place of a test where the items' places were not stored."""


def position_p(places: IntArray, lengths: IntArray, owners: IntArray) -> float | None:
    """Two-sided p of held-out items at these places [items] of their owners' histories; None where nothing can vary.

    A rank-sum test within each owner, pooled over owners: with k items held out of I, the sum of their places, 1 to I,
    has mean k(I + 1)/2 and variance k(I - k)(I + 1)/12 if they were drawn at random. z is the sum of all deviations
    over the root of the summed variances. ``lengths`` are the I of each item's owner, ``owners`` who that is.
    """
    people, first = np.unique(owners, return_index=True)
    sums = np.array([places[owners == person].sum() for person in people], dtype=np.float64)
    out = np.array([(owners == person).sum() for person in people], dtype=np.float64)
    whole = lengths[first].astype(np.float64)
    variance = float((out * (whole - out) * (whole + 1)).sum() / 12)
    if variance <= 0:
        return None
    return math.erfc(abs(float((sums - out * (whole + 1) / 2).sum())) / math.sqrt(2 * variance))


def spacing_p(places: IntArray, lengths: IntArray, owners: IntArray) -> float | None:
    """One-sided p of held-out items that are so evenly spaced, as every fifth is; None where nothing can vary.

    Of k items held out of I, the k gaps on the closed circle of I places sum to I. If the items were drawn at random,
    all ways to make I of k gaps are equally likely. The sum of squared gaps is least where they are equal (Greenwood
    1946). z is the sum of all owners' deviations over the root of the summed variances; both moments are exact. The sum
    is skewed to the right, so its lower tail is smaller than the normal's. Arguments as of :func:`position_p`.
    """
    deviation = variance = 0.0
    for person in np.unique(owners):
        own = np.sort(places[owners == person])
        whole = int(lengths[owners == person][0])
        if 2 <= own.size < whole:
            mean, spread = _squared_gaps(whole, own.size)
            deviation += float((np.diff(np.append(own, own[0] + whole)) ** 2).sum()) - mean
            variance += spread
    return math.erfc(-deviation / math.sqrt(2 * variance)) / 2 if variance > 0 else None


def _squared_gaps(whole: int, out: int) -> tuple[float, float]:
    """Mean and variance of the sum of ``out`` squared gaps that sum to ``whole``, if all ways are equally likely."""

    def moment(*orders: int) -> float:
        """Mean of the product of falling factorials of (gap - 1), of different gaps."""
        total = sum(orders)
        ways = math.perm(whole - out, total) / math.prod(range(out, out + total))
        return math.prod(map(math.factorial, orders)) * ways

    one, two = moment(1), moment(2)
    fourth = moment(4) + 10 * moment(3) + 25 * two + 15 * one + 1
    crossed = moment(2, 2) + 6 * moment(2, 1) + 2 * two + 9 * moment(1, 1) + 6 * one + 1
    mean = out * (two + 3 * one + 1)
    return mean, out * fourth + out * (out - 1) * crossed - mean**2


def words_p(texts: Sequence[str], out: BoolArray, owners: IntArray) -> float | None:
    """One-sided p of held-out items whose words differ from their owners' other items'; None where nothing can vary.

    Each item is a TF-IDF vector x of length 1. With y = 1 for held-out items and 0 for others, centred within each
    owner, the statistic is the squared length of the sum of y x: how far apart the two sides' words are (as the kernel
    two-sample test of Gretton et al. 2012). Its p comes from exchanging y within owners, as a random draw would, so it
    is exact. A classifier's scores out of fold would not do: each depends on the other items' sides. Where the words
    carry nothing, its AUC is below 1/2, and exchanging sides under fixed scores rejects 5 to 15 in a hundred
    random draws at .01. ``out`` is whether an item is held out, [items]; ``owners`` is who its owner is.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        x = TfidfVectorizer(token_pattern=r"(?u)\w+", sublinear_tf=True).fit_transform(texts)
    except ValueError as fault:
        if "empty vocabulary" not in str(fault):
            raise
        return None
    rng = np.random.default_rng(0)  # fixed: the same items give the same p in every run
    sides = np.empty((1 + DRAWS, out.size))
    for person in np.unique(owners):
        own = np.flatnonzero(owners == person)
        drawn = rng.random((DRAWS, own.size)).argsort(axis=1)
        sides[0, own], sides[1:, own] = out[own], out[own][drawn]
        sides[:, own] -= out[own].mean()
    apart = np.concatenate([np.square(x.T @ part.T).sum(axis=0) for part in np.array_split(sides, 20)])
    if np.ptp(apart) <= 1e-9 * max(apart.max(), 1.0):
        return None
    return float((apart >= apart[0] * (1 - 1e-9)).sum()) / (1 + DRAWS)


def signs(pool: Pool) -> tuple[str, ...]:
    """Say what shows that held-out items which came with the data were not drawn at random; empty where nothing does.

    Items that a run draws itself are random: there is nothing to test, and no sign.
    """
    out: BoolArray = pool.drawn & ~pool.trained
    if not pool.given or not out.any():
        return ()
    return _signs(pool) if len(pool.places) else (UNKNOWN,)


@lru_cache(maxsize=4)  # every target and method is dealt from the same few
def _signs(pool: Pool) -> tuple[str, ...]:
    out: BoolArray = pool.drawn & ~pool.trained
    places, lengths = pool.places[out].T
    _, everyone = np.unique(np.array(pool.owners, dtype=np.str_), return_inverse=True)
    owners, found = everyone[out], list[str]()
    side = "later" if np.mean((places - 0.5) / lengths) > 0.5 else "earlier"
    for what, name, test in (
        (side, "rank-sum test", position_p),
        ("more evenly spaced", "Greenwood's test", spacing_p),
    ):
        p = test(places, lengths, owners)
        if p is not None and p < LEVEL:
            found.append(f"are {what} in their owners' histories than random ones ({name}, p {p:.1g})")
    rows = np.flatnonzero(pool.drawn)
    texts = [f"{pool.prompts[row]}\n{pool.golds[row]}" for row in rows]
    p = words_p(texts, out[rows], everyone[rows])
    if p is not None and p <= OF_WORDS:
        found.append(
            f"have other words than their owners' trained items (exchanged within owners, p {p:.1g})"
        )
    return tuple(f"the held-out items came with the data and {what}" for what in found)


def marked(dealt: Dealt, pool: Pool) -> Dealt:
    """Return a game of trained against held-out items with what its judge must know: were they given, any signs."""
    return replace(dealt, given=pool.given, signs=signs(pool)) if dealt.reason is None else dealt
