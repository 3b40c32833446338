"""Signs that held-out items were selected: where the data say which they are, this run did not draw them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice

import numpy as np

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray
from prime_audit.audit.design import Dealt
from prime_audit.audit.pool import Pool

LEVEL = 0.001
"""A p below it is a sign. Random draws of held-out items show one in a thousand times."""
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
    """Return the p of so many owners whose held-out items are evenly spaced (every fifth); None where none can be.

    Of the C(I, k) ways to draw k items of I, Σ_d max(0, I - (k - 1)d) are evenly spaced. How many owners' draws are, if
    all are random, is a sum of independent coins with these chances: the p is exact. ``places`` [items] are from 1 to
    I, ``lengths`` the I of each item's owner, ``owners`` who that is. Two or fewer items say nothing, nor do all.
    """
    chances, even = list[float](), 0
    for person in np.unique(owners):
        own = np.sort(places[owners == person])
        k, whole = own.size, int(lengths[owners == person][0])
        if 3 <= k < whole:
            ways = sum(whole - (k - 1) * step for step in range(1, (whole - 1) // (k - 1) + 1))
            chances.append(ways / math.comb(whole, k))
            even += np.unique(np.diff(own)).size == 1
    if not chances:
        return None
    counts: FloatArray = np.ones(1)
    for chance in chances:
        counts = np.asarray(np.convolve(counts, [1 - chance, chance]))
    return float(min(1.0, counts[even:].sum()))


def signs(pool: Pool) -> tuple[str, ...]:
    """Say what shows that held-out items which came with the data were not drawn at random; empty where nothing does.

    Items that a run draws itself are random: there is nothing to test, and no sign.
    """
    out: BoolArray = pool.drawn & ~pool.trained
    if not pool.given or not out.any():
        return ()
    if not len(pool.places):
        return (UNKNOWN,)
    places, lengths = pool.places[out].T
    _, owners = np.unique(np.array(pool.owners, dtype=np.str_)[out], return_inverse=True)
    side = "later" if np.mean((places - 0.5) / lengths) > 0.5 else "earlier"
    found = (
        (f"are {side} in their owners' histories than random ones (rank-sum test", position_p),
        (
            "are more often at even distances in their owners' histories than random ones (exact test",
            spacing_p,
        ),
    )
    every = ((what, test(places, lengths, owners)) for what, test in found)
    said = (
        f"the held-out items came with the data and {what}, p {p:.1g})"
        for what, p in every
        if p is not None and p < LEVEL
    )
    return tuple(islice(said, 1))  # the last ones are evenly spaced, too


def marked(dealt: Dealt, pool: Pool) -> Dealt:
    """Return a game of trained against held-out items with what its judge must know: were they given, any signs."""
    return replace(dealt, given=pool.given, signs=signs(pool)) if dealt.reason is None else dealt
