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

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from prime_audit.audit.auc import (
    BoolArray,
    FloatArray,
    IntArray,
    Undefined,
    as_scores,
    auc,
    steps,
    two_sided,
    wins,
)
from prime_audit.audit.bootstrap import Estimate, percentile_interval

_PATIENCE = 50
"""Batches of draws before giving up on a game whose draws rarely have both sides."""
_CELLS = 1 << 22
"""Numbers of a step: draws times sharers or items. Memory is bounded by it; no figure depends on it."""
_DENSE, _ALWAYS = 16, 1 << 16
"""A game is reduced to matrices of pairs of sharers where they hold at most so many numbers an item, or in all: they
are faster then."""


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
    """A game of few sharers: a draw costs a product over pairs of them, however many items they have."""

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

        ``multiplicity``: of each sharer in each draw, [draws, sharers].
        """
        inside, outside = multiplicity[:, self.rows], multiplicity[:, self.columns]
        total = np.einsum("bj,bj->b", inside @ self.pairs, outside)
        won = np.einsum("abj,bj->ab", inside @ self.wins, outside)
        return _divided(won, total)


@dataclass(frozen=True)
class _Sorted:
    """A game of many sharers: a draw costs a sum over the items, in the order of their scores."""

    rows: IntArray
    columns: IntArray
    inside: IntArray
    """Owner's position of each member item, [members]."""
    outside: IntArray
    """The same of each non-member item, by ascending score in each score set, [score sets, others]."""
    below: IntArray
    """Non-members below each member, [score sets, members]."""
    not_above: IntArray
    """The same, with those of the same score."""

    def aucs(self, multiplicity: FloatArray) -> FloatArray:
        parts = steps(len(multiplicity), self.inside.size + self.outside.shape[1], _CELLS)
        return np.concatenate([self._some(multiplicity[at]) for at in parts], axis=1)

    def _some(self, multiplicity: FloatArray) -> FloatArray:
        by_sharer = np.ascontiguousarray(multiplicity.T)  # draws lie beside each other: one item is one read
        members = by_sharer[self.inside]
        won = np.empty((len(self.outside), len(multiplicity)))
        passed = np.zeros((self.outside.shape[1] + 1, len(multiplicity)))
        for which, outside in enumerate(self.outside):
            np.cumsum(by_sharer[outside], axis=0, out=passed[1:])
            beaten = passed[self.below[which]] + passed[self.not_above[which]]
            won[which] = np.einsum("ib,ib->b", members, beaten) / 2
        return _divided(won, members.sum(axis=0) * passed[-1])


_Game: TypeAlias = _Matrices | _Sorted
"""One target's game, reduced to what a draw needs.

With every multiplicity 1 an AUC is ``auc.auc``. Pairs are counted exactly, so the reductions give the same figures.
"""


def _divided(won: FloatArray, total: FloatArray) -> FloatArray:
    aucs: FloatArray = np.divide(won, total, out=np.full_like(won, np.nan), where=total > 0)
    return aucs


def _reduced(panels: Sequence[TargetScores], position: Mapping[str, int]) -> _Game:
    """Reduce one target's panels (one a score set) over ``position``, the sharers' places."""
    owner = np.array([position[sharer] for sharer in panels[0].sharers], dtype=np.int64)
    inside = panels[0].members
    rows, columns = np.unique(owner[inside]), np.unique(owner[~inside])
    if rows.size * columns.size <= max(_ALWAYS, _DENSE * owner.size):
        return _matrices(panels, owner, rows, columns)
    return _sorted(panels, owner, rows, columns)


def _matrices(
    panels: Sequence[TargetScores], owner: IntArray, rows: IntArray, columns: IntArray
) -> _Matrices:
    inside = panels[0].members
    row_of, column_of = np.searchsorted(rows, owner[inside]), np.searchsorted(columns, owner[~inside])
    row_items, column_items = np.bincount(row_of), np.bincount(column_of)
    won = np.zeros((len(panels), rows.size, columns.size))
    for which, panel in enumerate(panels):
        members, others = panel.scores[inside], panel.scores[~inside]
        # One pass over all non-members for each row, or over all members for each column: whichever is less.
        if rows.size < columns.size:
            for row in range(rows.size):
                beaten_by = members[row_of == row].size - wins(others, members[row_of == row])
                won[which, row] = np.bincount(column_of, weights=beaten_by, minlength=columns.size)
        else:
            for column in range(columns.size):
                beaten = wins(members, others[column_of == column])
                won[which, :, column] = np.bincount(row_of, weights=beaten, minlength=rows.size)
    return _Matrices(rows, columns, won, np.outer(row_items, column_items).astype(np.float64))


def _sorted(panels: Sequence[TargetScores], owner: IntArray, rows: IntArray, columns: IntArray) -> _Sorted:
    inside = panels[0].members
    sets = [(panel.scores[inside], panel.scores[~inside]) for panel in panels]
    orders = [np.argsort(others, kind="stable") for _, others in sets]
    ascending = [others[order] for (_, others), order in zip(sets, orders, strict=True)]
    places = [(members, others) for (members, _), others in zip(sets, ascending, strict=True)]
    return _Sorted(
        rows=rows,
        columns=columns,
        inside=owner[inside],
        outside=np.stack([owner[~inside][order] for order in orders]),
        below=np.stack([np.searchsorted(others, members, side="left") for members, others in places]),
        not_above=np.stack([np.searchsorted(others, members, side="right") for members, others in places]),
    )


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
    reduced = [_reduced(panels, position) for panels in games]
    per_target = np.array([contrast(game.aucs(np.ones((1, len(names)))))[0] for game in reduced])
    inside = len(set().union(*(game.rows.tolist() for game in reduced)))
    outside = len(set().union(*(game.columns.tolist() for game in reduced)))
    ci, reason, redrawn = None, None, 0
    if min(inside, outside) < 2:
        side = "members" if inside < 2 else "non-members"
        reason = f"an interval over sharers needs two on each side, but all {side} belong to one sharer"
    else:
        draws, redrawn = _draws(reduced, len(names), n, np.random.default_rng(seed))
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


def contrast(aucs: FloatArray) -> FloatArray:
    """[score sets, draws] -> [draws]: the one statistic, or the first minus the second."""
    figure: FloatArray = aucs[0] if len(aucs) == 1 else aucs[0] - aucs[1]
    return figure


def _draws(games: Sequence[_Game], sharers: int, n: int, rng: np.random.Generator) -> tuple[FloatArray, int]:
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


def _draw_batch(games: Sequence[_Game], sharers: int, n: int, rng: np.random.Generator) -> FloatArray:
    """``n`` draws of the mean over targets; NaN where no target had both sides."""
    parts = []
    for sharer_counts, target_counts in _counts(sharers, len(games), n, rng):
        total, weight = np.zeros(len(sharer_counts)), np.zeros(len(sharer_counts))
        for place, game in enumerate(games):
            figures = contrast(game.aucs(sharer_counts))
            defined = np.isfinite(figures)
            counts = np.where(defined, target_counts[:, place], 0.0)
            total += counts * np.where(defined, figures, 0.0)
            weight += counts
        parts.append(np.divide(total, weight, out=np.full(total.size, np.nan), where=weight > 0))
    return np.concatenate(parts)


def _counts(
    sharers: int, targets: int, n: int, rng: np.random.Generator
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Multiplicities of sharers and of targets in ``n`` draws, in steps: [some draws, sharers], [same, targets].

    The sharers' are drawn before the targets', whatever the steps: with several, their stream is run through twice.
    """
    sizes = [at.stop - at.start for at in steps(n, max(sharers, targets), _CELLS)]
    if len(sizes) == 1:
        yield _multiplicities(sharers, n, rng), _multiplicities(targets, n, rng)
        return
    behind = copy.deepcopy(rng)
    for size in sizes:
        _multiplicities(sharers, size, rng)
    for size in sizes:
        yield _multiplicities(sharers, size, behind), _multiplicities(targets, size, rng)


def _multiplicities(units: int, n: int, rng: np.random.Generator) -> FloatArray:
    """How often each unit occurs in each of ``n`` samples with replacement, [n, units]."""
    return rng.multinomial(units, np.full(units, 1.0 / units), size=n).astype(np.float64)
