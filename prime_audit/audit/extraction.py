"""How much more often trained items are extracted than held-out ones of the same people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prime_audit.audit.jackknife import limits

FEWEST = 5
"""Sharers that an interval needs."""
RELABELLINGS = 9_999


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The share of trained items that were extracted minus that of held-out ones, a mean over sharers."""

    difference: float | None
    """None where no sharer has items of both kinds."""
    ci: tuple[float, float] | None
    """95 % interval, Student's t over sharers."""
    p: float | None
    """One-sided: which of each sharer's items were trained on is exchanged at random."""
    sharers: int
    """Those with items of both kinds; the others are left out."""
    reason: str | None
    """Why there is no interval, or no difference."""


def gap(owners: Sequence[str], trained: ArrayLike, extracted: ArrayLike, *, seed: int) -> Gap:
    """Compare trained with held-out items [items] of the same ``owners``, each sharer counting alike.

    Under the null hypothesis, which of a sharer's extracted items were trained on is a draw without replacement: their
    number is hypergeometric. So the relabellings are drawn by counts, ``RELABELLINGS`` of them.
    """
    who, place = np.unique(np.asarray(owners, dtype=np.str_), return_inverse=True)
    inside, found = np.asarray(trained, dtype=np.bool_), np.asarray(extracted, dtype=np.bool_)
    count = [np.bincount(place, weights=w, minlength=who.size).astype(int) for w in (inside, ~inside, found)]
    known = (count[0] > 0) & (count[1] > 0)
    of_trained, of_others, total = (c[known] for c in count)
    if not known.any():
        why = "no sharer has trained and held-out items"
        return Gap(difference=None, ci=None, p=None, sharers=0, reason=why)
    hits = np.bincount(place, weights=inside & found, minlength=who.size).astype(int)[known]

    def differences(inside_hits: np.ndarray) -> np.ndarray:
        return np.asarray(inside_hits / of_trained - (total - inside_hits) / of_others)

    own = differences(hits)
    drawn = np.random.default_rng(seed).hypergeometric(
        total, of_trained + of_others - total, of_trained, size=(RELABELLINGS, own.size)
    )
    as_high = int((differences(drawn).mean(axis=1) >= own.mean() - 1e-12).sum())
    value, reason, ci = float(own.mean()), None, None
    if own.size < FEWEST:
        reason = f"an interval needs {FEWEST} sharers, not {own.size}"
    elif np.ptp(own) == 0:
        reason = "all sharers have the same difference, so how much they vary is unknown"
    else:
        ci = limits(value, float(own.std(ddof=1)) / own.size**0.5, own.size - 1)
    p = (1 + as_high) / (1 + RELABELLINGS)
    return Gap(difference=value, ci=ci, p=p, sharers=int(own.size), reason=reason)
