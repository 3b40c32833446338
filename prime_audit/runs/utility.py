"""Utility: answers to the targets' questions, metrics with intervals, differences to ``np``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.bootstrap import percentile_interval, resample_counts
from prime_audit.faults import Failed
from prime_audit.lamp.metrics import metric_table, unseen, unseen_line
from prime_audit.lamp.tasks import ROUGE, Task
from prime_audit.record import Comparison, Intervals, Result


@dataclass(frozen=True, eq=False)
class Answers:
    """One method's answers to all targets' questions of a task, in the same order for every method."""

    method: str
    targets: Sequence[str]
    """The target of each question, [questions]."""
    ids: Sequence[str]
    golds: Sequence[str]
    predictions: Sequence[str]


def results(task: Task, answers: Answers, seed: int, draws: int) -> list[Result]:
    """Score the answers, pooled over targets; the interval resamples targets."""
    table = metric_table(task, answers.golds, answers.predictions)
    return [
        Result(
            task=task.name,
            method=answers.method,
            metric=metric,
            value=table.value(metric),
            ci=ci,
            n=len(answers.golds),
            higher_is_better=task.higher_is_better,
            reason=reason,
            targets=len(set(answers.targets)),
        )
        for metric in task.metrics
        for ci, reason in [
            over_users(answers.targets, partial(table.resampled, metric), draws=draws, seed=seed)
        ]
    ]


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
    columns = zip(*((p.targets, p.ids, p.golds, p.predictions) for p in parts), strict=True)
    return Answers(parts[0].method, *([x for own in column for x in own] for column in columns))


def comparisons(task: Task, answers: Answers, reference: Answers, seed: int, draws: int) -> list[Comparison]:
    """Subtract the reference, on the same questions and the same resamples."""
    own, other = (metric_table(task, a.golds, a.predictions) for a in (answers, reference))

    def gap(metric: str) -> Callable[[FloatArray], FloatArray]:
        return lambda weights: own.resampled(metric, weights) - other.resampled(metric, weights)

    return [
        Comparison(
            task=task.name,
            method=answers.method,
            baseline=reference.method,
            metric=metric,
            difference=own.value(metric) - other.value(metric),
            ci=limits,
            n=len(answers.golds),
            reason=why,
        )
        for metric in task.metrics
        for limits, why in [over_users(answers.targets, gap(metric), draws=draws, seed=seed)]
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


Limits = tuple[tuple[float, float] | None, str | None]
"""(interval, None), or (None, why there is none)."""


def over_users(
    users: Sequence[str], statistic: Callable[[FloatArray], FloatArray], *, draws: int, seed: int
) -> Limits:
    """Return a statistic's interval over users; ``statistic``: weights [draws, questions] → [draws]."""
    if (distinct := len(set(users))) < 2:
        return None, f"an interval over users needs at least two users, not {distinct}"
    return percentile_interval(statistic(_counts(tuple(users), draws, seed)), Intervals().level), None


@lru_cache(maxsize=4)
def _counts(targets: tuple[str, ...], draws: int, seed: int) -> FloatArray:
    return resample_counts(targets, n=draws, seed=seed)
