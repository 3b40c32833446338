"""Two methods on the same users: the difference, its interval, and a test.

Of utility, the test swaps answers. The null: it makes no difference which of the two methods a user got. Then their two
sets of answers may be swapped as a whole without changing any distribution. The p-value is the share of all swaps whose
difference is at least as far from 0. The statistic is the metric itself, pooled as in the tables (also F1 and RMSE,
which are no means over users). Up to 14 users every swap is enumerated; with more, 9,999 are drawn.

Of an AUC nothing can be swapped: targets share sharers, so they are not exchangeable one by one. Its p is that of
Student's t, from the standard error of the interval (``auc_difference``). Where there is no interval there is no p.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray, Undefined, numbered
from prime_audit.audit.intervals import auc_difference
from prime_audit.audit.jackknife import Estimate, p_value
from prime_audit.audit.mean_auc import TargetScores, same_game, target_auc
from prime_audit.audit.permutation import holm
from prime_audit.lamp.metrics import MetricTable
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
    """Its interval: users left out one at a time; of an AUC, sharers."""
    p: float | None
    """Two-sided: by swapping users' answers; of an AUC by Student's t. Null where an AUC has no interval."""
    p_adjusted: float | None = None
    """After Holm's correction over all tests of the study; null where p is."""
    users: int
    exact: bool | None = None
    """Whether every swap was enumerated; null of an AUC, where nothing is swapped."""
    reason: str | None = None
    """Why there is no interval, or no p."""
    game: str | None = None
    """The membership game, for an AUC."""


@dataclass(frozen=True, eq=False)
class Side:
    """One variant's answers to a task's questions, scored; the same questions in the same order on both sides."""

    tables: tuple[MetricTable, ...]
    """One per repetition; their mean is compared."""
    users: tuple[str, ...]
    """User of each question, [questions]."""

    def without(self, metric: str, users: IntArray) -> FloatArray:
        """Return the metric without each user, the mean over repetitions; ``users`` [questions] -> [users]."""
        found: FloatArray = np.mean([t.without(metric, users) for t in self.tables], axis=0)
        return found


def utility_test(first: Side, second: Side, metric: str, *, seed: int) -> Test:
    """Compare a pooled metric of two variants; the caller fills in the names.

    Raises ValueError where the two do not answer the same users' questions in the same order.
    """
    if first.users != second.users or len(first.tables) != len(second.tables):
        raise ValueError("two sides of a paired test answer different questions, or differ in repetitions")
    names, codes = numbered(first.users)
    both = [_joined(a, b) for a, b in zip(first.tables, second.tables, strict=True)]

    def gaps(swapped: BoolArray) -> FloatArray:
        kept = np.where(swapped[:, codes], 0.0, 1.0)
        ahead, behind = np.hstack([kept, 1 - kept]), np.hstack([1 - kept, kept])
        found: FloatArray = np.mean(
            [t.resampled(metric, ahead) - t.resampled(metric, behind) for t in both], axis=0
        )
        return found

    value, p, exact = _swap_test(gaps, len(names), seed)
    without = first.without(metric, codes) - second.without(metric, codes) if len(names) > 1 else None
    e = over_users(metric, value, without, difference=True)
    return Test(metric=metric, difference=value, ci=e.ci, p=p, users=len(names), exact=exact, reason=e.reason)


def pooled(side: Side, metric: str) -> Estimate:
    """Return a pooled metric of one variant, with its interval over users."""
    names, codes = numbered(side.users)
    value = float(np.mean([t.value(metric) for t in side.tables]))
    return over_users(metric, value, side.without(metric, codes) if len(names) > 1 else None)


def auc_test(first: Sequence[TargetScores], second: Sequence[TargetScores]) -> Test:
    """Compare the mean AUC over the targets whose game exists for both variants; the caller fills in the names.

    There is an interval, and a p, where both have the same members.

    Raises Undefined where there is no such target.
    """
    others = {p.target: p for p in second if p.playable}
    games = [(p, others[p.target]) for p in first if p.playable and p.target in others]
    if not games:
        raise Undefined("no target has both members and non-members under both")
    made = partial(Test, metric="auc", users=len(games))
    if not all(same_game(*pair) for pair in games):
        gains = [target_auc(one.scores, one.members) - target_auc(b.scores, b.members) for one, b in games]
        why = "no interval and no p: the two merge different sharers, so their games have other members"
        return made(difference=float(np.mean(gains)), ci=None, p=None, reason=why)
    e = auc_difference(*zip(*games, strict=True)).estimate
    p = None if e.se is None else p_value(e.value, e.se, e.freedom)
    return made(difference=e.value, ci=e.ci, p=p, reason=e.reason)


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
    """Correct a family's p-values by Holm; a comparison without a p does not count."""
    family = list(tests)
    adjusted = iter(holm([t.p for t in family if t.p is not None]))
    return tuple(t if t.p is None else replace(t, p_adjusted=next(adjusted)) for t in family)


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
