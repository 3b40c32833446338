"""Empirical ε from scores without a fixed threshold: choose it on one half, count on the other.

The best threshold of the same data finds ε > 0 where there is none. So half of the sharers, drawn by seed, choose the
threshold. Only the others are counted: for them it was fixed beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray, Undefined, numbered
from prime_audit.audit.epsilon import epsilon_bound, epsilon_ceiling
from prime_audit.audit.mean_auc import TargetScores, playable


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A lower bound on ε."""

    value: float
    """Lower bound on ε, with confidence 1 - alpha; 0 where nothing is shown."""
    ceiling: float
    """The largest bound possible with as many guesses: every one right."""


@dataclass(frozen=True, kw_only=True)
class EpsilonBound(Bound):
    """A lower bound on ε by a threshold, with its counts."""

    threshold: float
    """A score at or above it counts as a member; chosen on the other half."""
    tp: int
    """Members at or above the threshold."""
    n_members: int
    """Members counted, one per sharer."""
    fp: int
    """Non-members at or above the threshold."""
    n_others: int
    """Non-members counted, one per sharer."""


@dataclass(frozen=True)
class _Pool:
    scores: FloatArray
    members: BoolArray
    owners: IntArray
    """Number of the sharer, [rows]."""


def split_epsilon(
    panels: Sequence[TargetScores], *, seed: int, alpha: float = 0.05, delta: float = 0.0
) -> EpsilonBound:
    """Lower bound on ε at a threshold chosen on a random half of the sharers and counted on the other.

    Halves are balanced over sharers that are members, non-members, or both; a sharer is never split. The threshold is
    midway between two scores of the choosing half, where that half's own (L - δ)/U is highest. Counted trials must be
    independent. So each sharer of the other half gives at most one trial per side: one of their rows, drawn by seed
    over items and targets. If you pass no sharers, the rows must be independent. Undefined where a half has no members
    or no non-members.
    """
    known = playable(panels)
    _, owners = numbered(sharer for panel in known for sharer in panel.sharers)
    scores, members = (np.concatenate([getattr(p, name) for p in known]) for name in ("scores", "members"))
    pool = _Pool(scores, members, owners)
    rng = np.random.default_rng(seed)
    choosing = _half(pool, rng)[pool.owners]
    threshold = _choose(pool.scores[choosing], pool.members[choosing], alpha, delta)
    inside = _one_each(pool, ~choosing & pool.members, rng)
    outside = _one_each(pool, ~choosing & ~pool.members, rng)
    if not inside.size or not outside.size:
        raise Undefined("an ε needs members and non-members of two sharers each, but one half lacks a side")
    tp, fp = int((inside >= threshold).sum()), int((outside >= threshold).sum())
    return EpsilonBound(
        value=epsilon_bound(tp, inside.size, fp, outside.size, alpha, delta),
        ceiling=epsilon_ceiling(inside.size, outside.size, alpha, delta),
        threshold=threshold,
        tp=tp,
        n_members=inside.size,
        fp=fp,
        n_others=outside.size,
    )


def _half(pool: _Pool, rng: np.random.Generator) -> BoolArray:
    """Whether each sharer is in the choosing half, [sharers]; the odd one of a kind is counted."""
    count = int(pool.owners.max()) + 1
    member, other = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    member[pool.owners[pool.members]] = 1
    other[pool.owners[~pool.members]] = 1
    chosen = np.zeros(count, dtype=np.bool_)
    for kind in (1, 2, 3):
        alike = rng.permutation(np.flatnonzero(member + 2 * other == kind))
        chosen[alike[: alike.size // 2]] = True
    return chosen


def _choose(scores: FloatArray, members: BoolArray, alpha: float, delta: float) -> float:
    inside, outside = scores[members], scores[~members]
    if not inside.size or not outside.size:
        raise Undefined("an ε needs members and non-members of two sharers each, but one half lacks a side")
    ordered = np.unique(scores)
    tp = inside.size - np.searchsorted(np.sort(inside), ordered)
    fp = outside.size - np.searchsorted(np.sort(outside), ordered)
    lower = np.where(tp > 0, betaincinv(np.maximum(tp, 1), inside.size - tp + 1, alpha / 2), 0.0)
    rest = outside.size - fp
    upper = np.where(rest > 0, betaincinv(fp + 1, np.maximum(rest, 1), 1 - alpha / 2), 1.0)
    best = int(np.argmax((lower - delta) / upper))
    if best == 0:
        return float(ordered[0])
    with np.errstate(invalid="ignore"):
        middle = (ordered[best - 1] + ordered[best]) / 2
    return float(middle if np.isfinite(middle) else ordered[best])


def _one_each(pool: _Pool, rows: BoolArray, rng: np.random.Generator) -> FloatArray:
    """Score of one of each sharer's rows, drawn at random, [sharers with such rows]."""
    shuffled = rng.permutation(np.flatnonzero(rows))
    _, first = np.unique(pool.owners[shuffled], return_index=True)
    drawn: FloatArray = pool.scores[shuffled[first]]
    return drawn
