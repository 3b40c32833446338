"""The interval of a mean AUC: the people who own the items are left out one at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from prime_audit.audit.auc import tpr_at_fpr
from prime_audit.audit.jackknife import LEVEL, limits, share_limits, variance, widest
from prime_audit.audit.mean_auc import AucEstimate, LeftOut, TargetScores, leave_one_out, playable, same_game

Over = Literal["sharers and targets", "targets", "items"]
"""What an interval takes as independent."""


@dataclass(frozen=True)
class Interval:
    """A mean AUC over targets, and the unit of its interval."""

    estimate: AucEstimate
    over: Over


def auc_interval(panels: Sequence[TargetScores], *, level: float = LEVEL) -> Interval:
    """Mean AUC over targets, with an interval clustered by the owners of the items.

    Leave-one-out jackknife over sharers with Student's t, or over the targets' own spread where that is wider
    (``mean_auc``). Where all items of each target belong to one person (the target game), persons are targets. One
    target's items are the unit if they belong to one person, or each to a different one.

    The degrees of freedom are the people of the smaller side, less one: a handful of members carry little, however
    many are not. Of the targets' spread, the targets less one. Limits are taken on the logit scale.

    Parameters
    ----------
    panels
        One game per target.
    level
        Nominal coverage.

    Returns
    -------
    Interval
        Its ``estimate`` has no ``ci``, and the reason, where the data allow none.

    Raises
    ------
    Undefined
        Where no target has both sides.
    """
    return _interval([panels], level)


def auc_difference(
    first: Sequence[TargetScores], second: Sequence[TargetScores], *, level: float = LEVEL
) -> Interval:
    """Mean AUC of ``first`` minus that of ``second``: two scores of the same items, clustered as ``auc_interval``.

    For example the personalised model's scores against those of the unmerged base; the same people are left out of
    both. Limits are on the plain scale, cut to [−1, 1]. Arguments and result as ``auc_interval``.

    Raises
    ------
    Undefined
        Where no target has both sides.
    ValueError
        Where the two differ in targets, sharers or members, or in their order.
    """
    if [same_game(*pair) for pair in zip(first, second, strict=True)].count(False):
        raise ValueError("the two sets of panels are of different games")
    return _interval([first, second], level)


def _interval(sets: Sequence[Sequence[TargetScores]], level: float) -> Interval:
    """Estimate one set's mean AUC, or the first's minus the second's."""
    known = [playable(panels) for panels in sets]
    games = known[0]
    targets = [panel.target for panel in games]
    if len(set(targets)) < len(targets):
        raise ValueError("several panels of one target")
    over, one_person = _over(games), len(targets) == 1 and len(set(games[0].sharers)) == 1
    found = leave_one_out([_apart(panels) for panels in known] if one_person else known)
    estimate = AucEstimate(
        value=float(found.per_target.mean()),
        ci=None,
        n=sum(panel.scores.size for panel in games),
        per_target=dict(zip(targets, found.per_target.tolist(), strict=True)),
        left_out=tuple(panel.target for panel in sets[0] if not panel.playable),
        member_sharers=1 if one_person else int(found.inside.sum()),
        other_sharers=1 if one_person else int(found.outside.sum()),
    )
    if lacking := _lacking(found, over):
        return Interval(replace(estimate, reason=lacking), over)
    squared, freedom = _spread(found, level)
    se = math.sqrt(squared)
    if len(sets) == 1:
        ci = share_limits(estimate.value, se, freedom, level=level)
    else:
        low, high = limits(estimate.value, se, freedom, level=level)
        ci = max(-1.0, low), min(1.0, high)
    return Interval(replace(estimate, ci=ci, se=se, freedom=freedom), over)


def _spread(found: LeftOut, level: float) -> tuple[float, int]:
    """Return the variance of the mean, over sharers or over targets, with its degrees of freedom: the wider of both."""
    errors = [(variance(found.without), int(min(found.inside.sum(), found.outside.sum())) - 1)]
    if (count := found.per_target.size) > 1:
        without = (found.per_target.sum() - found.per_target) / (count - 1)
        errors.append((variance(without), count - 1))
    return widest(errors, level=level)


def _lacking(found: LeftOut, over: Over) -> str | None:
    """Say why there is no interval; None where there is one."""
    fewest = min(found.inside.sum(), found.outside.sum())
    if over == "items" and fewest < 2:
        return "an interval needs two items on each side"
    if fewest < 2:
        side = "members" if found.inside.sum() < 2 else "non-members"
        return f"an interval over sharers needs two on each side, but all {side} belong to one sharer"
    if np.isnan(found.without).any():
        return (
            "an interval over sharers needs two on each side: without one of them, no target has both sides"
        )
    return None


def _over(known: Sequence[TargetScores]) -> Over:
    """Return the independent unit, from the shape of the data."""
    alone = all(len(set(panel.sharers)) == 1 for panel in known)
    if len(known) == 1 and (alone or len(set(known[0].sharers)) == len(known[0].sharers)):
        return "items"
    if alone and len({panel.sharers[0] for panel in known}) == len(known):
        return "targets"
    return "sharers and targets"


def _apart(panels: Sequence[TargetScores]) -> list[TargetScores]:
    """Take each item as a person of its own."""
    return [replace(p, sharers=[str(item) for item in range(p.scores.size)]) for p in panels]


def mean_tpr(panels: Sequence[TargetScores], fpr: float) -> float:
    """Mean over targets of the true-positive rate at ``fpr``; Undefined where one has too few non-members for it."""
    rates = [tpr_at_fpr(p.scores[p.members], p.scores[~p.members], fpr) for p in playable(panels)]
    return float(np.mean(rates))
