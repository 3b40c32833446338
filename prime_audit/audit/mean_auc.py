"""The leakage statistic: the AUC of each target, averaged, and its standard error over sharers and targets.

The entry is ``intervals.auc_interval``. Items of one sharer resemble each other, and one sharer serves many targets.
So neither items nor targets are independent. The standard error comes from leaving out one sharer at a time, with all
their items in every target's game, on either side. Where the targets' own spread gives a larger variance (their AUC
may differ by more than by who is merged), that is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike

from prime_audit.audit.auc import (
    BoolArray,
    FloatArray,
    IntArray,
    Undefined,
    as_scores,
    auc,
    numbered,
    two_sided,
)
from prime_audit.audit.jackknife import Estimate


@dataclass(frozen=True, eq=False)
class TargetScores:
    """The scored items of one target's game: a *panel*."""

    target: str
    """The target's id, unique among the panels."""
    scores: FloatArray
    """One score per item, [items]; higher = member; no NaN."""
    sharers: Sequence[str]
    """Owner of each item, [items]; the unit that is left out."""
    members: BoolArray
    """Whether the item is a member, [items]; with held-out items a sharer is on both sides."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", as_scores(self.scores))
        object.__setattr__(self, "members", np.asarray(self.members, dtype=np.bool_))
        if not self.scores.shape == self.members.shape == (len(self.sharers),):
            raise ValueError(
                f"target {self.target!r}: {self.scores.size} scores, {self.members.size} member flags and "
                f"{len(self.sharers)} sharers"
            )

    @property
    def playable(self) -> bool:
        """Whether both sides have an item."""
        return two_sided(self.members)


@dataclass(frozen=True, kw_only=True)
class AucEstimate(Estimate):
    """A mean AUC over targets (or a difference of two), with its sample sizes."""

    n: int = 0
    """Scored items, over all targets that count."""
    per_target: Mapping[str, float] = field(default_factory=dict)
    """The AUC of each target that counts."""
    left_out: tuple[str, ...] = ()
    """Targets without members or without non-members; they do not count."""
    member_sharers: int = 0
    """Distinct sharers that are a member for any target: the interval's sample size."""
    other_sharers: int = 0
    """Distinct sharers that are a non-member for any target."""


def playable(panels: Sequence[TargetScores]) -> list[TargetScores]:
    """Leave out the targets with one side only; Undefined where none is left."""
    found = [panel for panel in panels if panel.playable]
    if not found:
        raise Undefined("no target has both members and non-members")
    return found


def target_auc(scores: ArrayLike, member_mask: ArrayLike) -> float:
    """AUC of one target's items: ``scores`` [items], higher = member; ``member_mask`` [items]. Errors as ``auc``."""
    values, mask = as_scores(scores), np.asarray(member_mask, dtype=np.bool_)
    return auc(values[mask], values[~mask])


def same_game(one: TargetScores, other: TargetScores) -> bool:
    """Whether two panels have the same target, sharers and members in the same order."""
    same = one.target == other.target and tuple(one.sharers) == tuple(other.sharers)
    return same and bool(np.array_equal(one.members, other.members))


def contrast(aucs: FloatArray) -> FloatArray:
    """[score sets, draws] -> [draws]: the one statistic, or the first minus the second."""
    figure: FloatArray = aucs[0] if len(aucs) == 1 else aucs[0] - aucs[1]
    return figure


@dataclass(frozen=True, eq=False)
class LeftOut:
    """The mean over targets, of one score set's AUC or of the first's minus the second's, and without each person."""

    per_target: FloatArray
    """The figure of each target, [targets]."""
    without: FloatArray
    """The mean over targets without each sharer, [sharers]; NaN where that leaves no target both sides."""
    inside: BoolArray
    """Whether each sharer is a member for any target, [sharers]."""
    outside: BoolArray
    """Whether each is a non-member for any."""


def leave_one_out(score_sets: Sequence[Sequence[TargetScores]]) -> LeftOut:
    """Leave out every sharer in turn, from all targets; a target that has one side left does not count then.

    Counted, not repeated: an AUC without a sharer is what all pairs of items give, less those with an item of the
    sharer. ``score_sets``: one or two sets of panels of the same games, all with both sides.
    """
    games = score_sets[0]
    names, owner = numbered(chain.from_iterable(p.sharers for p in games))
    target = np.repeat(np.arange(len(games)), [p.scores.size for p in games])
    members = np.concatenate([p.members for p in games])
    _, first, cell = np.unique(target * len(names) + owner, return_index=True, return_inverse=True)
    # A cell is one sharer in one target's game.
    of_target, of_sharer = target[first], owner[first]
    sides = np.stack([_count(target, members), _count(target, ~members)])
    own = np.stack([_count(cell, members), _count(cell, ~members)])
    pairs, left = sides.prod(axis=0), (sides[:, of_target] - own).prod(axis=0)
    whole, less = [], []
    for panels in score_sets:
        scores = np.concatenate([p.scores for p in panels])
        won = _won(target, scores, members)
        total = _count(target, members, won)
        # A pair within a sharer was subtracted twice: with its member, and with its non-member.
        kept = total[of_target] - _count(cell, None, won) + _count(cell, members, _won(cell, scores, members))
        whole.append(total / pairs)
        less.append(np.divide(kept, left, out=np.full(left.size, np.nan), where=left > 0))
    per_target, rest = contrast(np.stack(whole)), contrast(np.stack(less))
    gone = ~np.isfinite(rest)
    change = np.where(gone, 0.0, rest) - per_target[of_target]
    count = len(games) - _count(of_sharer, gone)
    total = per_target.sum() + _count(of_sharer, None, change)
    return LeftOut(
        per_target,
        np.divide(total, count, out=np.full(count.size, np.nan), where=count > 0),
        _count(of_sharer, own[0] > 0) > 0,
        _count(of_sharer, own[1] > 0) > 0,
    )


def _count(groups: IntArray, which: BoolArray | None, weights: FloatArray | None = None) -> FloatArray:
    """Sum the weights (1) of those in ``which`` (all) by group -> [groups]."""
    if weights is None or which is None:
        counted = np.bincount(groups, which if weights is None else weights)
    else:
        counted = np.bincount(groups, np.where(which, weights, 0.0))
    return counted.astype(np.float64)


def _won(groups: IntArray, scores: FloatArray, members: BoolArray) -> FloatArray:
    """Count for each item the pairs of its group that a member won, ties as ½ -> [items].

    Of a member: the non-members below it. Of a non-member: the members above it.
    """
    order = np.lexsort((scores, groups))
    group, score, inside = groups[order], scores[order], members[order]
    starts = np.append(True, (group[1:] != group[:-1]) | (score[1:] != score[:-1]))
    tie = np.cumsum(starts) - 1
    bounds = np.append(np.flatnonzero(starts), order.size)
    ends = np.append(0, np.cumsum(np.bincount(groups)))
    before = np.stack([np.append(0, np.cumsum(~inside)), np.append(0, np.cumsum(inside))])
    halfway = (before[:, bounds[:-1]] + before[:, bounds[1:]])[:, tie] / 2
    lower, upper = before[0, ends[group]], before[1, ends[group + 1]]
    won = np.empty(order.size)
    won[order] = np.where(inside, halfway[0] - lower, upper - halfway[1])
    return won
