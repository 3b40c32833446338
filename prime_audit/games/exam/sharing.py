"""What merging takes away of what sharing leaks: the AUC of a merged model against that of the shared adapters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from prime_audit.audit.jackknife import Estimate, limits, variance, widest
from prime_audit.audit.mean_auc import TargetScores, target_auc
from prime_audit.games.exam.played import Played
from prime_audit.record import Comparison

MERGED, SHARED = "heldout", "adapter"
"""The two games, which ask of the same items."""


def taken_away(task: str, played: Sequence[Played]) -> Iterator[Comparison]:
    """Yield, by method and attack, the AUC of ``heldout`` minus that of ``adapter``, where both have one."""
    found = {(label, p.game.name): p for p in played for label in p.one.labels}
    for (label, game), merged in found.items():
        shared = found.get((label, SHARED))
        if game != MERGED or shared is None:
            continue
        judged = {one.attack for one in merged.judged} & {one.attack for one in shared.judged}
        for attack in (one.attack for one in merged.judged if one.attack in judged):
            gap = difference(merged.panels(attack), shared.panels(attack))
            yield Comparison(
                task=task,
                method=label,
                game=MERGED,
                attack=attack,
                baseline=SHARED,
                metric="auc",
                difference=gap.value,
                ci=gap.ci,
                n=sum(p.scores.size for p in merged.panels(attack)),
                reason=gap.reason,
                se=gap.se,
                freedom=gap.freedom,
            )


def difference(merged: Sequence[TargetScores], shared: Sequence[TargetScores]) -> Estimate:
    """Mean AUC of ``merged`` minus that of ``shared``, with an interval over sharers.

    A sharer is left out of both at once, so what their items share does not count twice; the degrees of freedom are
    those of the sharers in both. Where the panels' own spread gives a wider interval, that is taken (as for one AUC),
    with the degrees of freedom of the smaller set of panels.
    """
    first, second = _areas(merged), _areas(shared)
    value = float(first.mean() - second.mean())
    people = [{owner for panel in own for owner in panel.sharers} for own in (merged, shared)]
    both = len(people[0] & people[1])
    without = np.array(
        [
            _mean([_less(p, one) for p in merged]) - _mean([_less(p, one) for p in shared])
            for one in sorted(people[0] | people[1])
        ]
    )
    if both < 2 or not np.isfinite(without).all():
        return Estimate(
            value, None, "an interval over sharers needs two that are merged, and two more panels"
        )
    errors = [(variance(without), both - 1)]
    if several := [own for own in (first, second) if own.size > 1]:
        spread = sum(float(own.var(ddof=1)) / own.size for own in several)
        errors.append((spread, min(own.size for own in several) - 1))
    squared, freedom = widest(errors)
    se = math.sqrt(squared)
    low, high = limits(value, se, freedom)
    return Estimate(value, (max(-1.0, low), min(1.0, high)), se=se, freedom=freedom)


def _areas(panels: Sequence[TargetScores]) -> np.ndarray:
    return np.array([target_auc(p.scores, p.members) for p in panels if p.playable])


def _mean(panels: Sequence[TargetScores]) -> float:
    """Mean AUC of the panels with both sides; NaN where there is none."""
    found = _areas(panels)
    return float(found.mean()) if found.size else math.nan


def _less(panel: TargetScores, owner: str) -> TargetScores:
    """Leave a sharer's items out."""
    kept = np.array([name != owner for name in panel.sharers], dtype=np.bool_)
    names = [name for name in panel.sharers if name != owner]
    return TargetScores(panel.target, panel.scores[kept], names, panel.members[kept])
