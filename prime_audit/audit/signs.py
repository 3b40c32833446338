"""Signs that held-out items were selected: where the data say which they are, this run did not draw them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from prime_audit.audit.auc import BoolArray, IntArray
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
    p = position_p(places, lengths, owners)
    if p is None or p >= LEVEL:
        return ()
    side = "later" if np.mean((places - 0.5) / lengths) > 0.5 else "earlier"
    return (
        f"the held-out items came with the data and are {side} in their owners' histories than random ones "
        f"(rank-sum test, p {p:.1g})",
    )


def marked(dealt: Dealt, pool: Pool) -> Dealt:
    """Return a game of trained against held-out items with what its judge must know: were they given, any signs."""
    return replace(dealt, given=pool.given, signs=signs(pool)) if dealt.reason is None else dealt
