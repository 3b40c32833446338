"""Two methods on the same users: the difference, its interval, and a permutation test whose unit is the user.

The null: it makes no difference which of the two methods a user got. Then their two sets of answers may be swapped as
a whole without changing any distribution. The p-value is the share of all swaps whose difference is at least as far
from 0. The statistic is the metric itself, pooled as in the tables (also F1 and RMSE, which are no means over users).
Up to 14 users every swap is enumerated; with more, 9,999 are drawn.

For an AUC the unit is the target, and their two AUCs are swapped. Targets share sharers, so they are not quite
exchangeable one by one: the interval, over sharers and targets, is the more careful of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from prime_audit.audit.auc import BoolArray, FloatArray, Undefined
from prime_audit.audit.jackknife import Estimate
from prime_audit.audit.mean_auc import TargetScores, same_game, target_auc, two_way
from prime_audit.audit.permutation import holm
from prime_audit.lamp.metrics import MetricTable
from prime_audit.record import Intervals
from prime_audit.runs.utility import over_users

EXACT = 14
"""Most users whose swaps are all enumerated."""
DRAWN = 9999
"""Swaps drawn for more users."""
_CHUNK = 1024
"""Swaps per batch, which limits the memory."""
_TIE = 1e-12
"""Two differences this close are equal: the same terms summed in another order."""


@dataclass(frozen=True, kw_only=True)
class Test:
    """One comparison of two variants."""

    __test__ = False  # pytest would collect it because of its name

    model: str = ""
    task: str = ""
    metric: str
    """What is compared: a metric of the task, auc, or a metric that a study defines."""
    first: str = ""
    """Key of the first variant."""
    second: str = ""
    """Key of the second, which is subtracted."""
    difference: float
    """First minus second, in the metric's own direction."""
    ci: tuple[float, float] | None
    """Its interval: bootstrap over users; of an AUC over sharers and targets."""
    p: float
    """Two-sided, by swapping users' answers."""
    p_adjusted: float
    """After Holm's correction over all tests of the study."""
    users: int
    exact: bool
    """Whether every swap was enumerated."""
    reason: str | None = None
    """Why there is no interval."""
    game: str | None = None
    """The membership game, for an AUC."""


@dataclass(frozen=True, eq=False)
class Side:
    """One variant's answers to a task's questions, scored; the same questions in the same order on both sides."""

    tables: tuple[MetricTable, ...]
    """One per repetition; their mean is compared."""
    users: tuple[str, ...]
    """User of each question, [questions]."""

    def resampled(self, metric: str, weights: FloatArray) -> FloatArray:
        """Return the metric under ``weights`` [draws, questions], the mean over repetitions -> [draws]."""
        found: FloatArray = np.mean([t.resampled(metric, weights) for t in self.tables], axis=0)
        return found


def utility_test(first: Side, second: Side, metric: str, *, seed: int) -> Test:
    """Compare a pooled metric of two variants; the caller fills in the names.

    Raises ValueError where the two do not answer the same users' questions in the same order.
    """
    if first.users != second.users or len(first.tables) != len(second.tables):
        raise ValueError("two sides of a paired test answer different questions, or differ in repetitions")
    names, codes = np.unique(np.array(first.users, dtype=np.str_), return_inverse=True)
    both = [_joined(a, b) for a, b in zip(first.tables, second.tables, strict=True)]

    def gaps(swapped: BoolArray) -> FloatArray:
        kept = np.where(swapped[:, codes], 0.0, 1.0)
        ahead, behind = np.hstack([kept, 1 - kept]), np.hstack([1 - kept, kept])
        found: FloatArray = np.mean(
            [t.resampled(metric, ahead) - t.resampled(metric, behind) for t in both], axis=0
        )
        return found

    value, p, exact = _swap_test(gaps, names.size, seed)
    ci, reason = over_users(
        first.users,
        lambda w: first.resampled(metric, w) - second.resampled(metric, w),
        draws=Intervals().draws,
        seed=seed,
    )
    return Test(
        metric=metric,
        difference=value,
        ci=ci,
        p=p,
        p_adjusted=p,
        users=names.size,
        exact=exact,
        reason=reason,
    )


def pooled(side: Side, metric: str, *, seed: int) -> Estimate:
    """Return a pooled metric of one variant, with its interval over users."""
    value = float(side.resampled(metric, np.ones((1, len(side.users))))[0])
    return Estimate(
        value, *over_users(side.users, partial(side.resampled, metric), draws=Intervals().draws, seed=seed)
    )


def auc_test(first: Sequence[TargetScores], second: Sequence[TargetScores], *, seed: int) -> Test:
    """Compare the mean AUC over the targets whose game exists for both variants; the caller fills in the names.

    There is an interval where both have the same members, on the same draws of sharers and targets.

    Raises Undefined where there is no such target.
    """
    others = {p.target: p for p in second if p.playable}
    games = [(p, others[p.target]) for p in first if p.playable and p.target in others]
    if not games:
        raise Undefined("no target has both members and non-members under both")
    aucs = [[target_auc(p.scores, p.members) for p in pair] for pair in games]
    gains = np.array([one - other for one, other in aucs])

    def gaps(swapped: BoolArray) -> FloatArray:
        found: FloatArray = np.where(swapped, -gains, gains).mean(axis=1)
        return found

    value, p, exact = _swap_test(gaps, gains.size, seed)
    ci: tuple[float, float] | None = None
    reason: str | None = "the two merge different sharers: their games have no draws in common"
    if all(same_game(*pair) for pair in games):
        estimate = two_way(list(zip(*games, strict=True)), n=Intervals().draws, seed=seed)
        ci, reason = estimate.ci, estimate.reason
    return Test(
        metric="auc",
        difference=value,
        ci=ci,
        p=p,
        p_adjusted=p,
        users=gains.size,
        exact=exact,
        reason=reason,
    )


def panels_of(rows: Iterable[Mapping[str, Any]], *, whole: bool) -> list[TargetScores]:
    """Rows of ``scores.jsonl`` of one method, game and attack -> one game per target, in their order.

    ``whole``: a sharer is one row, with the mean of their items' scores (games whose members are whole sharers).
    """
    games: dict[str, list[tuple[str, bool, float]]] = {}
    for row in rows:
        games.setdefault(row["target"], []).append((row["sharer"], row["member"], row["score"]))
    found = []
    for target, own in games.items():
        sharers, members, scores = zip(*(_by_sharer(own) if whole else own), strict=True)
        found.append(TargetScores(target, np.array(scores), sharers, np.array(members)))
    return found


def corrected(tests: Iterable[Test]) -> tuple[Test, ...]:
    """Correct a family's p-values by Holm."""
    family = list(tests)
    adjusted = holm([t.p for t in family])
    return tuple(replace(t, p_adjusted=p) for t, p in zip(family, adjusted, strict=True))


def _joined(first: MetricTable, second: MetricTable) -> MetricTable:
    """Stack two methods' scores: a swap is a choice among the rows of both."""
    columns = {m: np.concatenate([first.columns[m], second.columns[m]]) for m in first.columns}
    return MetricTable(first.metrics, columns)


def _swap_test(gaps: Callable[[BoolArray], FloatArray], users: int, seed: int) -> tuple[float, float, bool]:
    """Return the difference, its two-sided p, and whether every swap was enumerated.

    ``gaps``: swaps [draws, users] → differences [draws].
    """
    value = float(gaps(np.zeros((1, users), dtype=np.bool_))[0])
    exact = users <= EXACT
    swaps = _all_swaps(users) if exact else np.random.default_rng(seed).random((DRAWN, users)) < 0.5
    chunks = (swaps[i : i + _CHUNK] for i in range(0, len(swaps), _CHUNK))
    hits = sum(int((np.abs(gaps(chunk)) >= abs(value) - _TIE).sum()) for chunk in chunks)
    return value, hits / len(swaps) if exact else (1 + hits) / (1 + len(swaps)), exact


def _all_swaps(users: int) -> BoolArray:
    """List half of all swaps: those that keep the first user. The other half are their mirror images."""
    numbers = np.arange(2 ** max(users - 1, 0))
    swaps: BoolArray = (numbers[:, None] >> np.arange(users)[::-1] & 1).astype(np.bool_)
    return swaps


def _by_sharer(items: Sequence[tuple[str, bool, float]]) -> list[tuple[str, bool, float]]:
    own: dict[tuple[str, bool], list[float]] = {}
    for sharer, member, score in items:
        own.setdefault((sharer, member), []).append(score)
    return [(sharer, member, float(np.mean(scores))) for (sharer, member), scores in own.items()]
