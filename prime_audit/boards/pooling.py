"""One figure of several seeds: their mean, with an interval for users and seeds both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, variance

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Seen:
    """One seed's figure."""

    value: float
    ci: tuple[float, float] | None
    """95 % interval over the users of this seed's data."""
    split: str
    """Hash of the users: seeds that share it tested the same people."""


def pooled(seen: Sequence[Seen]) -> tuple[float, tuple[float, float] | None]:
    """Pool seeds -> mean, 95 % interval (None where no seed has one).

    A single seed keeps its own interval. Of several, each seed's variance over users is its interval's half width over
    1.96, squared. Seeds with the same users (one split): the users' variance, averaged, does not shrink with more
    seeds; the variance of the seeds' values over their number is added. Seeds with users of their own: the larger of
    the users' mean variance and the variance of the values, over their number: DerSimonian and Laird's random effects
    (1986) with equal weights. Mixed: the first within each split, the second between splits.
    """
    value = fmean(s.value for s in seen)
    if len(seen) == 1:
        return value, seen[0].ci
    if any(s.ci is None for s in seen):
        return value, None
    groups: dict[str, list[Seen]] = {}
    for one in seen:
        groups.setdefault(one.split, []).append(one)
    means = [fmean(s.value for s in group) for group in groups.values()]
    within = fmean(_within(group) for group in groups.values())
    value = fmean(means)
    total = within if len(groups) == 1 else max(within, variance(means)) / len(groups)
    half = _Z * math.sqrt(total)
    return value, (value - half, value + half)


def _within(group: Sequence[Seen]) -> float:
    """Variance of a split's mean: over its users, and over its seeds."""
    users = fmean(_users_variance(s) for s in group)
    return users + (variance([s.value for s in group]) / len(group) if len(group) > 1 else 0.0)


def _users_variance(seen: Seen) -> float:
    low, high = seen.ci or (seen.value, seen.value)
    return ((high - low) / 2 / _Z) ** 2
