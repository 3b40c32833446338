"""The interval that fits the shape of the data: over sharers and targets, over targets, or over items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

from prime_audit.audit.auc import Undefined, tpr_at_fpr, wins
from prime_audit.audit.bootstrap import percentile_interval
from prime_audit.audit.panels import AucEstimate, Panel, mean_auc_ci, target_auc

Over = Literal["sharers and targets", "targets", "items"]
"""What an interval takes as independent."""


@dataclass(frozen=True)
class Interval:
    """A mean AUC over targets, and over what its interval was made."""

    estimate: AucEstimate
    """The figure."""
    over: Over
    """What was taken as independent."""


def auc_interval(panels: Sequence[Panel], *, n: int = 1000, seed: int, level: float = 0.95) -> Interval:
    """Mean AUC over targets, its interval clustered as far as the data tell whose each item is.

    * Every target's items are one person's (the target game): bootstrap over targets. The two-way bootstrap would
      count that person's variation twice.
    * One target whose items are one person's, or are each somebody else's: over items (DeLong et al. 1988).
    * Otherwise: the two-way bootstrap over sharers and targets, ``mean_auc_ci``.

    Raises
    ------
    Undefined
        Where no target has both sides.
    """
    playable = [panel for panel in panels if panel.playable]
    if not playable:
        raise Undefined("no target has both members and non-members")
    alone = all(len(set(panel.sharers)) == 1 for panel in playable)
    if len(playable) == 1 and (alone or len(set(playable[0].sharers)) == len(playable[0].sharers)):
        return Interval(_over_items(panels, playable[0], level), "items")
    if alone and len({panel.sharers[0] for panel in playable}) == len(playable):
        return Interval(_over_targets(panels, playable, n, seed, level), "targets")
    return Interval(mean_auc_ci(panels, n=n, seed=seed, level=level), "sharers and targets")


def mean_tpr(panels: Sequence[Panel], fpr: float) -> float:
    """Mean over targets of the true-positive rate at ``fpr``.

    Raises
    ------
    Undefined
        Where no target has both sides, or the non-members of any target cannot carry the rate.
    """
    playable = [panel for panel in panels if panel.playable]
    if not playable:
        raise Undefined("no target has both members and non-members")
    rates = [tpr_at_fpr(p.scores[p.members], p.scores[~p.members], fpr) for p in playable]
    return float(np.mean(rates))


def _over_targets(
    panels: Sequence[Panel], playable: Sequence[Panel], n: int, seed: int, level: float
) -> AucEstimate:
    values = np.array([target_auc(panel.scores, panel.members) for panel in playable])
    drawn = np.random.default_rng(seed).integers(values.size, size=(n, values.size))
    ci = percentile_interval(values[drawn].mean(axis=1), level)
    return _estimate(panels, playable, values.tolist(), ci, None)


def _over_items(panels: Sequence[Panel], panel: Panel, level: float) -> AucEstimate:
    inside, outside = panel.scores[panel.members], panel.scores[~panel.members]
    beaten, beaten_by = wins(inside, outside) / outside.size, wins(outside, inside) / inside.size
    value = float(beaten.mean())
    if min(inside.size, outside.size) < 2:
        return _estimate(panels, [panel], [value], None, "an interval needs two items on each side")
    variance = beaten.var(ddof=1) / inside.size + beaten_by.var(ddof=1) / outside.size
    reach = float(norm.ppf((1 + level) / 2) * np.sqrt(variance))
    return _estimate(panels, [panel], [value], (max(0.0, value - reach), min(1.0, value + reach)), None)


def _estimate(
    panels: Sequence[Panel],
    playable: Sequence[Panel],
    values: Sequence[float],
    ci: tuple[float, float] | None,
    reason: str | None,
) -> AucEstimate:
    return AucEstimate(
        value=float(np.mean(values)),
        ci=ci,
        reason=reason,
        n=sum(panel.scores.size for panel in playable),
        per_target={panel.target: value for panel, value in zip(playable, values, strict=True)},
        left_out=tuple(panel.target for panel in panels if not panel.playable),
        member_sharers=len({s for p in playable for s, m in zip(p.sharers, p.members, strict=True) if m}),
        other_sharers=len({s for p in playable for s, m in zip(p.sharers, p.members, strict=True) if not m}),
    )
