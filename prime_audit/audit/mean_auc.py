"""The leakage statistic: the AUC of each target, averaged, with an interval over sharers *and* targets.

The entry is ``intervals.auc_interval``, which comes here where both vary.

Items of one sharer resemble each other, and one sharer serves many targets. So neither items nor targets are
independent, and the interval resamples both. A draw gives every sharer and every target a multiplicity, by sampling
each with replacement, independently. A pair of items counts as often as the product of its two sharers'
multiplicities, and a target's AUC as often as the target's. This two-way ("pigeonhole") bootstrap is too wide where
only one of the two varies (Owen 2007). It is too narrow where only a handful of sharers are ever members: check
``member_sharers``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray, Undefined, as_scores, auc, two_sided, wins
from prime_audit.audit.bootstrap import Estimate, percentile_interval

_PATIENCE = 50
"""Batches of draws before giving up on a game whose draws rarely have both sides."""


@dataclass(frozen=True, eq=False)
class TargetScores:
    """The scored items of one target's game: a *panel*."""

    target: str
    """The target's id, unique among the panels."""
    scores: FloatArray
    """One score per item, [items]; higher = member; no NaN."""
    sharers: Sequence[str]
    """Owner of each item, [items]; the unit that is resampled."""
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
    redrawn: int = 0
    """Bootstrap draws in which no target had both sides, and which were redrawn."""


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


@dataclass(frozen=True)
class _Matrices:
    """One target's game, reduced to what a draw needs."""

    rows: IntArray
    """Positions of the member sharers among all sharers, [member sharers]."""
    columns: IntArray
    """Positions of the non-member sharers, [non-member sharers]."""
    wins: FloatArray
    """Item pairs won by the member, ties as ½, [score sets, member sharers, non-member sharers]."""
    pairs: FloatArray
    """All item pairs, [member sharers, non-member sharers]."""

    def aucs(self, multiplicity: FloatArray) -> FloatArray:
        """AUC of each score set in each draw, [score sets, draws]; NaN where a side is absent.

        With every multiplicity 1 it is ``auc.auc``; from sums by sharer it costs a matrix product a draw.
        ``multiplicity``: of each sharer in each draw, [draws, sharers].
        """
        inside, outside = multiplicity[:, self.rows], multiplicity[:, self.columns]
        total = np.einsum("bj,bj->b", inside @ self.pairs, outside)
        won = np.einsum("abj,bj->ab", inside @ self.wins, outside)
        aucs: FloatArray = np.divide(won, total, out=np.full_like(won, np.nan), where=total > 0)
        return aucs


def _matrices(panels: Sequence[TargetScores], position: Mapping[str, int]) -> _Matrices:
    """Reduce one target's panels (one a score set) over ``position``, the sharers' places."""
    owner = np.array([position[sharer] for sharer in panels[0].sharers], dtype=np.int64)
    inside = panels[0].members
    rows, row_of, row_items = np.unique(owner[inside], return_inverse=True, return_counts=True)
    columns, column_items = np.unique(owner[~inside], return_counts=True)
    won = np.zeros((len(panels), rows.size, columns.size))
    for which, panel in enumerate(panels):
        for place, column in enumerate(columns):
            beaten = wins(panel.scores[inside], panel.scores[~inside & (owner == column)])
            won[which, :, place] = np.bincount(row_of, weights=beaten, minlength=rows.size)
    return _Matrices(rows, columns, won, np.outer(row_items, column_items).astype(np.float64))


def two_way(
    score_sets: Sequence[Sequence[TargetScores]], *, n: int = 1000, seed: int, level: float = 0.95
) -> AucEstimate:
    """Mean AUC over targets of one score set, or the first's minus the second's, with its two-way percentile interval.

    Within a draw, a target is left out if its members or its non-members all have multiplicity zero. A draw that
    leaves no target is drawn again and counted in ``redrawn``. There is no interval where one of the sides comes from
    a single sharer: the draws would not vary it. Undefined where no target has both sides.
    """
    games = [panels for panels in zip(*score_sets, strict=True) if panels[0].playable]
    if not games:
        raise Undefined("no target has both members and non-members")
    targets = [panels[0].target for panels in games]
    if len(set(targets)) < len(targets):
        raise ValueError("several panels of one target")
    names = sorted({sharer for panels in games for sharer in panels[0].sharers})
    position = {name: place for place, name in enumerate(names)}
    matrices = [_matrices(panels, position) for panels in games]
    per_target = np.array([_contrast(game.aucs(np.ones((1, len(names)))))[0] for game in matrices])
    inside = len(set().union(*(game.rows.tolist() for game in matrices)))
    outside = len(set().union(*(game.columns.tolist() for game in matrices)))
    ci, reason, redrawn = None, None, 0
    if min(inside, outside) < 2:
        side = "members" if inside < 2 else "non-members"
        reason = f"an interval over sharers needs two on each side, but all {side} belong to one sharer"
    else:
        draws, redrawn = _draws(matrices, len(names), n, np.random.default_rng(seed))
        if draws.size == n:
            ci = percentile_interval(draws, level)
        else:
            reason = f"only {draws.size} of {draws.size + redrawn} bootstrap draws had both sides"
    return AucEstimate(
        value=float(per_target.mean()),
        ci=ci,
        reason=reason,
        n=sum(panels[0].scores.size for panels in games),
        per_target=dict(zip(targets, per_target.tolist(), strict=True)),
        left_out=tuple(panel.target for panel in score_sets[0] if not panel.playable),
        member_sharers=inside,
        other_sharers=outside,
        redrawn=redrawn,
    )


def _contrast(aucs: FloatArray) -> FloatArray:
    """[score sets, draws] -> [draws]: the one statistic, or the first minus the second."""
    figure: FloatArray = aucs[0] if len(aucs) == 1 else aucs[0] - aucs[1]
    return figure


def _draws(
    games: Sequence[_Matrices], sharers: int, n: int, rng: np.random.Generator
) -> tuple[FloatArray, int]:
    """``n`` draws of the mean over targets (fewer where ``_PATIENCE`` ends), and the number of redraws."""
    kept = np.empty(0)
    redrawn = 0
    for _ in range(_PATIENCE):
        drawn = _draw_batch(games, sharers, n, rng)
        valid = np.flatnonzero(np.isfinite(drawn))[: n - kept.size]
        kept = np.concatenate([kept, drawn[valid]])
        used = int(valid[-1]) + 1 if kept.size == n else n
        redrawn += used - valid.size
        if kept.size == n:
            break
    return kept, redrawn


def _draw_batch(games: Sequence[_Matrices], sharers: int, n: int, rng: np.random.Generator) -> FloatArray:
    """``n`` draws of the mean over targets; NaN where no target had both sides."""
    sharer_counts = _multiplicities(sharers, n, rng)
    target_counts = _multiplicities(len(games), n, rng)
    total, weight = np.zeros(n), np.zeros(n)
    for place, game in enumerate(games):
        figures = _contrast(game.aucs(sharer_counts))
        defined = np.isfinite(figures)
        counts = np.where(defined, target_counts[:, place], 0.0)
        total += counts * np.where(defined, figures, 0.0)
        weight += counts
    means: FloatArray = np.divide(total, weight, out=np.full(n, np.nan), where=weight > 0)
    return means


def _multiplicities(units: int, n: int, rng: np.random.Generator) -> FloatArray:
    """How often each unit occurs in each of ``n`` samples with replacement, [n, units]."""
    return rng.multinomial(units, np.full(units, 1.0 / units), size=n).astype(np.float64)
