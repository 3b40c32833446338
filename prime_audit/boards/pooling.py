"""One figure from several seeds: their mean, with an interval over users and seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import NamedTuple

from prime_audit.audit.jackknife import limits


@dataclass(frozen=True)
class Seen:
    """One seed's figure."""

    value: float
    error: tuple[float, float] | None
    """Standard error over the users of this seed's data, and its degrees of freedom (infinite: not known)."""
    split: str
    """Hash of the users: seeds with the same hash tested the same people."""
    ci: tuple[float, float] | None = None
    """Its own interval, which a single seed keeps."""


class Pooled(NamedTuple):
    """A mean over seeds."""

    value: float
    ci: tuple[float, float] | None
    """95 % interval; None if any seed has no error."""
    error: tuple[float, float] | None
    """Standard error and degrees of freedom."""


def pooled(seen: Sequence[Seen]) -> Pooled:
    """Pool seeds.

    A single seed has its own interval. Of several with the same users (one split): the mean users' variance, which more
    seeds do not shrink, plus the variance of the seeds' values over their number. Seeds with different users: the
    larger of the mean users' variance and the variance of the values, over their number (random effects with equal
    weights, DerSimonian and Laird 1986). Student's t has Satterthwaite's degrees of freedom (as Hartung and Knapp
    2001), so three seeds that disagree give a wide interval. Where nothing varies, they are the fewest of the parts',
    and the interval holds those of the seeds.
    """
    if len(seen) == 1:
        (one,) = seen
        return Pooled(one.value, one.ci, one.error)
    groups: dict[str, list[Seen]] = {}
    for one in seen:
        groups.setdefault(one.split, []).append(one)
    means = [fmean(s.value for s in group) for group in groups.values()]
    value = fmean(means)
    if any(s.error is None for s in seen):
        return Pooled(value, None, None)
    parts = _parts(list(groups.values()), means)
    total = sum(part for part, _ in parts)
    shares = sum(part**2 / freedom for part, freedom in parts)
    fewest = min(freedom for _, freedom in parts)
    error = math.sqrt(total), total**2 / shares if shares else math.inf if total else fewest
    own = [s.ci for s in seen if s.ci is not None]
    if total or len(own) < len(seen):
        return Pooled(value, limits(value, *error), error)
    return Pooled(value, (min(low for low, _ in own), max(high for _, high in own)), error)


def _parts(groups: Sequence[Sequence[Seen]], means: Sequence[float]) -> list[tuple[float, float]]:
    """Split the mean's variance into the users' part and the seeds', each with its degrees of freedom."""
    own = [[s.error for s in group if s.error is not None] for group in groups]
    users = fmean(fmean(se**2 for se, _ in errors) for errors in own)
    freedoms = [min(freedom for _, freedom in errors) for errors in own]
    if len(groups) == 1:
        values = [s.value for s in groups[0]]
        return [(users, freedoms[0]), (variance(values) / len(values), len(values) - 1)]
    spread = variance(means)
    if spread < users:  # of equal ones, that of the fewest
        return [(users / len(groups), sum(freedoms))]
    return [(spread / len(groups), len(groups) - 1)]
