"""Area under the ROC curve, and the true-positive rate at a bounded false-positive rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

FPRS = (0.1, 0.01, 0.001)
"""False-positive rates at which a TPR is reported, where there are enough non-members."""


CELLS = 1 << 21
"""Numbers of a step, which bounds the memory."""


def steps(n: int, width: int, cells: int | None = None) -> Iterator[slice]:
    """Split ``n`` rows of ``width`` numbers into slices of at most ``cells`` numbers (:data:`CELLS`), or of one row."""
    step = max(1, (cells or CELLS) // width)
    return (slice(first, min(n, first + step)) for first in range(0, n, step))


def two_sided(members: BoolArray) -> bool:
    """Whether both sides have an item."""
    return bool(members.any() and not members.all())


class Undefined(ValueError):  # noqa: N818 - it names a state of the data, not a fault
    """The statistic is undefined for these data; the message is the reason to report in its place."""


def as_scores(scores: ArrayLike) -> FloatArray:
    """Return one-dimensional ``scores`` as floats; ValueError for another shape or NaN: handle missing scores first.

    Infinite scores are allowed: an impossible token has log-probability minus infinity.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"scores must have one dimension, not shape {array.shape}")
    if np.isnan(array).any():
        raise ValueError(f"{int(np.isnan(array).sum())} of {array.size} scores are NaN")
    return array


def auc(members: ArrayLike, others: ArrayLike) -> float:
    """Share of (member, non-member) pairs in which the member scores higher; a tie counts one half.

    The Mann-Whitney form of the area under the ROC curve, in [0, 1]; 0.5 is chance.

    Parameters
    ----------
    members, others
        Scores of the two sides, one-dimensional; higher = member.

    Raises
    ------
    Undefined
        Where a side is empty.
    ValueError
        Where a score is NaN.
    """
    inside, outside = _both_sides(members, others)
    return float(wins(inside, outside).sum() / (inside.size * outside.size))


def tpr_at_fpr(members: ArrayLike, others: ArrayLike, fpr: float, *, allow_finer: bool = False) -> float:
    """Return the largest true-positive rate with a false-positive rate of at most ``fpr``, uninterpolated.

    A score at or above the threshold counts as a member; equal scores are on the same side.

    Parameters
    ----------
    members, others
        Scores of the two sides, one-dimensional; higher = member.
    fpr
        The bound, in [0, 1]. Zero asks for the members above every non-member.
    allow_finer
        Also answer for 0 < ``fpr`` < 1/len(others). This equals the answer at ``fpr`` = 0 and looks stronger than it
        is, so by default it is refused.

    Raises
    ------
    Undefined
        Where a side is empty, or ``fpr`` is finer than one non-member.
    ValueError
        Where ``fpr`` is outside [0, 1] or a score is NaN.
    """
    if not 0.0 <= fpr <= 1.0:
        raise ValueError(f"a false-positive rate is in [0, 1], not {fpr}")
    inside, outside = _both_sides(members, others)
    if 0.0 < fpr < 1.0 / outside.size and not allow_finer:
        raise Undefined(f"a false-positive rate of {fpr:g} is finer than 1 of {outside.size} non-members")
    # count/n rounds as a decimal literal does, so 29/100 <= 0.29 is true, whereas floor(0.29 * 100) is 28.
    allowed = int(np.flatnonzero(np.arange(outside.size + 1) / outside.size <= fpr)[-1])
    if allowed == outside.size:
        return 1.0
    first_refused = np.sort(outside)[::-1][allowed]
    return float(np.mean(inside > first_refused))


def wins(members: FloatArray, others: FloatArray) -> FloatArray:
    """Count for each member score the lower non-member scores, ties as ½ -> [len(members)]."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, members, side="left")
    not_above = np.searchsorted(ordered, members, side="right")
    return (below + not_above) / 2.0


def midranks(scores: FloatArray) -> FloatArray:
    """Rank scores from 1; ties get their mean rank -> [len(scores)]."""
    _, which, often = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(often) - (often - 1) / 2)[which]


def numbered(names: Iterable[str]) -> tuple[list[str], IntArray]:
    """Sort the distinct names, and number each by its place among them -> distinct names, [len(names)].

    Unlike ``numpy.unique``, it makes no matrix as wide as the longest name.
    """
    listed = list(names)
    distinct = sorted(set(listed))
    place = {name: number for number, name in enumerate(distinct)}
    return distinct, np.array([place[name] for name in listed], dtype=np.int64)


def _both_sides(members: ArrayLike, others: ArrayLike) -> tuple[FloatArray, FloatArray]:
    inside, outside = as_scores(members), as_scores(others)
    if not inside.size or not outside.size:
        raise Undefined(
            f"an AUC needs both sides, but there are {inside.size} member and {outside.size} "
            "non-member scores"
        )
    return inside, outside
