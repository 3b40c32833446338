"""The interval that fits the shape of the data: over sharers and targets, over targets, or over items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtri

from prime_audit.audit.auc import FloatArray, steps, tpr_at_fpr, wins
from prime_audit.audit.bootstrap import percentile_interval
from prime_audit.audit.mean_auc import AucEstimate, TargetScores, playable, same_game, target_auc, two_way

Over = Literal["sharers and targets", "targets", "items"]
"""What an interval takes as independent."""


@dataclass(frozen=True)
class Interval:
    """A mean AUC over targets, and the unit of its interval."""

    estimate: AucEstimate
    over: Over


def auc_interval(
    panels: Sequence[TargetScores], *, n: int = 1000, seed: int, level: float = 0.95
) -> Interval:
    """Mean AUC over targets, with an interval clustered by the owners of the items.

    * All items of each target belong to one person (the target game): bootstrap over targets. The two-way bootstrap
      would count that person's variation twice.
    * One target whose items belong to one person, or each to a different one: over items (DeLong et al. 1988).
    * Otherwise: the two-way bootstrap over sharers and targets, ``two_way``.

    Parameters
    ----------
    panels
        One game per target.
    n
        Bootstrap draws; DeLong's interval needs none.
    seed
        Of numpy's default generator; the same arguments give the same interval.
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
    return _interval([panels], n, seed, level)


def auc_difference(
    first: Sequence[TargetScores],
    second: Sequence[TargetScores],
    *,
    n: int = 1000,
    seed: int,
    level: float = 0.95,
) -> Interval:
    """Mean AUC of ``first`` minus that of ``second``: two scores of the same items, clustered as ``auc_interval``.

    For example the personalised model's scores against those of the unmerged base. Over items by DeLong's variance of
    a difference, otherwise on the same draws. Arguments and result as ``auc_interval``.

    Raises
    ------
    Undefined
        Where no target has both sides.
    ValueError
        Where the two differ in targets, sharers or members, or in their order.
    """
    if [same_game(*pair) for pair in zip(first, second, strict=True)].count(False):
        raise ValueError("the two sets of panels are of different games")
    return _interval([first, second], n, seed, level)


def _interval(sets: Sequence[Sequence[TargetScores]], n: int, seed: int, level: float) -> Interval:
    """Estimate one set's mean AUC, or the first's minus the second's, by what the data's shape takes as independent."""
    over = _over(sets[0])
    if over == "items":
        return Interval(_over_items(sets, level), over)
    if over == "targets":
        return Interval(_over_targets(sets, n, seed, level), over)
    return Interval(two_way(sets, n=n, seed=seed, level=level), over)


def _over(panels: Sequence[TargetScores]) -> Over:
    """Return the independent unit, from the shape of the data."""
    known = playable(panels)
    alone = all(len(set(panel.sharers)) == 1 for panel in known)
    if len(known) == 1 and (alone or len(set(known[0].sharers)) == len(known[0].sharers)):
        return "items"
    if alone and len({panel.sharers[0] for panel in known}) == len(known):
        return "targets"
    return "sharers and targets"


def mean_tpr(panels: Sequence[TargetScores], fpr: float) -> float:
    """Mean over targets of the true-positive rate at ``fpr``; Undefined where one has too few non-members for it."""
    rates = [tpr_at_fpr(p.scores[p.members], p.scores[~p.members], fpr) for p in playable(panels)]
    return float(np.mean(rates))


def _over_targets(sets: Sequence[Sequence[TargetScores]], n: int, seed: int, level: float) -> AucEstimate:
    """Bootstrap over targets: of one set of panels, or of the first's values minus the second's."""
    figures = [np.array([target_auc(p.scores, p.members) for p in playable(panels)]) for panels in sets]
    values = figures[0] - figures[1] if len(sets) > 1 else figures[0]
    rng = np.random.default_rng(seed)
    sizes = [at.stop - at.start for at in steps(n, values.size)]
    means = [values[rng.integers(values.size, size=(size, values.size))].mean(axis=1) for size in sizes]
    ci = percentile_interval(np.concatenate(means), level)
    return _summary(sets[0], playable(sets[0]), values.tolist(), ci, None)


def _over_items(sets: Sequence[Sequence[TargetScores]], level: float) -> AucEstimate:
    """DeLong's interval of one target's AUC, or of the difference of two scores of the same items."""
    parts = [_placements(playable(panels)[0]) for panels in sets]
    beaten, beaten_by = parts[0] if len(parts) == 1 else (a - b for a, b in zip(*parts, strict=True))
    panel, value = playable(sets[0])[0], float(beaten.mean())
    if min(beaten.size, beaten_by.size) < 2:
        return _summary(sets[0], [panel], [value], None, "an interval needs two items on each side")
    variance = beaten.var(ddof=1) / beaten.size + beaten_by.var(ddof=1) / beaten_by.size
    reach = float(ndtri((1 + level) / 2) * np.sqrt(variance))
    least = 0.0 if len(parts) == 1 else -1.0
    return _summary(sets[0], [panel], [value], (max(least, value - reach), min(1.0, value + reach)), None)


def _placements(panel: TargetScores) -> tuple[FloatArray, FloatArray]:
    """Share of non-members below each member [members], and of members above each non-member [others].

    The mean of either is the AUC of ``auc.auc``; DeLong's variance needs the parts.
    """
    inside, outside = panel.scores[panel.members], panel.scores[~panel.members]
    return wins(inside, outside) / outside.size, 1 - wins(outside, inside) / inside.size


def _summary(
    panels: Sequence[TargetScores],
    known: Sequence[TargetScores],
    values: Sequence[float],
    ci: tuple[float, float] | None,
    reason: str | None,
) -> AucEstimate:
    """Put the targets' values and their interval into an estimate; the two-way bootstrap fills its own."""
    return AucEstimate(
        value=float(np.mean(values)),
        ci=ci,
        reason=reason,
        n=sum(panel.scores.size for panel in known),
        per_target={panel.target: value for panel, value in zip(known, values, strict=True)},
        left_out=tuple(panel.target for panel in panels if not panel.playable),
        member_sharers=len({s for p in known for s, m in zip(p.sharers, p.members, strict=True) if m}),
        other_sharers=len({s for p in known for s, m in zip(p.sharers, p.members, strict=True) if not m}),
    )
