"""Utility: answers to the targets' questions, metrics with intervals, differences to ``np``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from prime_audit.audit.auc import FloatArray, numbered
from prime_audit.audit.jackknife import Estimate, limits, share_limits, variance
from prime_audit.faults import Failed
from prime_audit.lamp.metrics import metric_table, unseen, unseen_line
from prime_audit.lamp.tasks import ROUGE, Task
from prime_audit.record import Comparison, Result
from prime_audit.report.columns import MANY_CUT

F1_USERS = 50
"""Fewest users of an interval of macro-F1. With fewer, some classes hardly occur and count 0, so that it is far below
what it is of everyone: the interval holds that in 60 % of samples of 5 users, 71 % of 8, 88 % of 25, 93 % of 50."""
ERRORS = ("MAE", "RMSE")
"""Metrics that are no shares: they have no upper limit."""
DIGITS = 9
"""Decimals of the values without each target in a record."""


@dataclass(frozen=True, eq=False)
class Answers:
    """One method's answers to all targets' questions of a task, in the same order for every method."""

    method: str
    targets: Sequence[str]
    """The target of each question, [questions]."""
    ids: Sequence[str]
    golds: Sequence[str]
    predictions: Sequence[str]
    ended: Sequence[bool] = ()
    """Whether each answer ended by itself; empty: unknown."""

    @property
    def cut(self) -> int | None:
        """Count the answers that were cut at ``max_new`` tokens."""
        return len(self.ended) - sum(self.ended) if self.ended else None


def results(task: Task, answers: Answers) -> list[Result]:
    """Score the answers, pooled over targets; the interval leaves targets out."""
    table, (people, users) = metric_table(task, answers.golds, answers.predictions), numbered(answers.targets)
    found = []
    for metric in task.metrics:
        without = table.without(metric, users) if len(people) > 1 else None
        e = over_users(metric, table.value(metric), without)
        found.append(
            Result(
                task=task.name,
                method=answers.method,
                metric=metric,
                value=e.value,
                ci=e.ci,
                n=len(answers.golds),
                higher_is_better=task.higher_is_better,
                reason=e.reason,
                targets=len(people),
                se=e.se,
                freedom=e.freedom,
                without=() if without is None else tuple(round(x, DIGITS) for x in without.tolist()),
                cut=answers.cut,
            )
        )
    return found


def failed(task: Task, method: str, why: Failed) -> list[Result]:
    """Results of a method whose answers failed."""
    empty = partial(Result, task=task.name, method=method, value=None, ci=None, n=0, reason=why.reason)
    return [empty(metric=m, higher_is_better=task.higher_is_better) for m in task.metrics]


def failed_comparisons(task: Task, method: str, reference: str, why: Failed) -> list[Comparison]:
    """Differences of two methods of which one failed."""
    empty = partial(Comparison, task=task.name, method=method, baseline=reference, difference=None, ci=None)
    return [empty(metric=m, n=0, reason=why.reason) for m in task.metrics]


def joined(parts: Sequence[Answers]) -> Answers:
    """Join one method's answers for several chunks of targets."""
    columns = zip(*((p.targets, p.ids, p.golds, p.predictions, p.ended) for p in parts), strict=True)
    return Answers(parts[0].method, *([x for own in column for x in own] for column in columns))


def comparisons(task: Task, answers: Answers, reference: Answers) -> list[Comparison]:
    """Subtract the reference, on the same questions; the same targets are left out of both."""
    own, other = (metric_table(task, a.golds, a.predictions) for a in (answers, reference))
    people, users = numbered(answers.targets)
    found = []
    for metric in task.metrics:
        without = own.without(metric, users) - other.without(metric, users) if len(people) > 1 else None
        e = over_users(metric, own.value(metric) - other.value(metric), without, difference=True)
        found.append(
            Comparison(
                task=task.name,
                method=answers.method,
                baseline=reference.method,
                metric=metric,
                difference=e.value,
                ci=e.ci,
                n=len(answers.golds),
                reason=e.reason,
                se=e.se,
                freedom=e.freedom,
            )
        )
    return found


def cut_answers(answered: Sequence[Answers], max_new: int) -> list[str]:
    """Warn where many answers were cut at ``max_new`` tokens, and say what to change."""
    many = {a.method: a.cut / len(a.ended) for a in answered if a.cut and a.cut > MANY_CUT * len(a.ended)}
    if not many:
        return []
    said = ", ".join(f"{100 * share:.0f} % of {method}" for method, share in many.items())
    return [
        f"answers were cut at {max_new} tokens (max_new): {said}. Where they should end, raise --set max_new=N; where "
        "the model goes on after its answer, it has not learnt to stop: raise --set adaptation.epochs=N or "
        "adaptation.lr, bring more adaptation users, or take an instruct model"
    ]


def cautions(task: Task, answered: Sequence[Answers]) -> list[str]:
    """Warn of texts that official ROUGE cannot see; ``answered``: the methods that did not fail."""
    if task.kind != "generation" or task.text_metric != ROUGE or not answered:
        return []
    golds = sum(map(unseen, answered[0].golds))
    texts = {own.method: sum(map(unseen, own.predictions)) for own in answered}
    most = max(texts, key=lambda method: texts[method])
    line = unseen_line({"golds": golds, f"answers of {most}": texts[most]}, len(answered[0].golds))
    return [line] if line else []


def rows(task: Task, answers: Answers) -> list[Mapping[str, object]]:
    """Write the rows of ``predictions.jsonl``."""
    return [
        {"task": task.name, "method": answers.method, "target": t, "id": i, "prediction": p, "gold": g}
        for t, i, p, g in zip(answers.targets, answers.ids, answers.predictions, answers.golds, strict=True)
    ]


def over_users(
    metric: str, value: float, without: FloatArray | None, *, difference: bool = False
) -> Estimate:
    """Return a metric (or a difference) with its interval; ``without``: its values without each user, [users]."""
    if without is None:
        return Estimate(value, None, "an interval over users needs at least two users")
    if metric == "f1" and without.size < F1_USERS:
        return Estimate(value, None, f"macro-F1 has no interval below {F1_USERS} users: classes are missing")
    se, freedom = math.sqrt(variance(without)), without.size - 1
    if metric not in ERRORS and not difference:
        return Estimate(value, share_limits(value, se, freedom), None, se, freedom)
    low, high = limits(value, se, freedom)
    return Estimate(value, (low if difference else max(0.0, low), high), None, se, freedom)
