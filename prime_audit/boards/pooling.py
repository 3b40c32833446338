"""One figure from several seeds: their mean, with an interval over users and seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, variance

from scipy.special import stdtrit

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Seen:
    """One seed's figure."""

    value: float
    ci: tuple[float, float] | None
    """95 % interval over the users of this seed's data."""
    split: str
    """Hash of the users: seeds with the same hash tested the same people."""


def pooled(seen: Sequence[Seen]) -> tuple[float, tuple[float, float] | None]:
    """Pool seeds -> mean, 95 % interval (None if any seed has none).

    A single seed has its own interval. Of several, each seed's variance over users is the square of its interval's half
    width over 1.96. Seeds with the same users (one split): the mean users' variance, which more seeds do not shrink,
    plus the variance of the seeds' values over their number. Seeds with different users: the larger of the mean users'
    variance and the variance of the values, over their number (random effects with equal weights, DerSimonian and Laird
    1986). The spread of a few values takes Student's t with Satterthwaite's degrees of freedom (as Hartung and Knapp
    2001), so three seeds that disagree give a wide interval.
    """
    if len(seen) == 1:
        return seen[0].value, seen[0].ci
    groups: dict[str, list[Seen]] = {}
    for one in seen:
        groups.setdefault(one.split, []).append(one)
    means = [fmean(s.value for s in group) for group in groups.values()]
    value = fmean(means)
    if any(s.ci is None for s in seen):
        return value, None
    users, seeds = _parts(list(groups.values()), means)
    half = _quantile(users, *seeds) * math.sqrt(users + seeds[0])
    return value, (value - half, value + half)


def _parts(groups: Sequence[Sequence[Seen]], means: Sequence[float]) -> tuple[float, tuple[float, int]]:
    """Split the mean's variance into the users' part, and the seeds' with its degrees of freedom."""
    users = fmean(fmean(_users_variance(s) for s in group) for group in groups)
    if len(groups) == 1:
        values = [s.value for s in groups[0]]
        return users, (variance(values) / len(values), len(values) - 1)
    spread = variance(means)
    if spread <= users:
        return users / len(groups), (0.0, 1)
    return 0.0, (spread / len(groups), len(groups) - 1)


def _quantile(users: float, seeds: float, freedom: int) -> float:
    """Student's 97.5 % point, by Satterthwaite; the users' part counts as known."""
    if seeds == 0:
        return _Z
    return float(stdtrit(freedom * ((users + seeds) / seeds) ** 2, 0.975))


def _users_variance(seen: Seen) -> float:
    low, high = seen.ci or (seen.value, seen.value)
    return ((high - low) / 2 / _Z) ** 2
