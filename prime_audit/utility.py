"""Does it help its user: answers to the targets' questions, metrics with intervals, differences to ``np``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prime_audit.audit.auc import Undefined
from prime_audit.audit.bootstrap import bootstrap_ci, paired_difference
from prime_audit.lamp.metrics import MetricTable, metric_table
from prime_audit.lamp.tasks import Task
from prime_audit.record import Comparison, Result


@dataclass(frozen=True, eq=False)
class Answers:
    """One method's answers to all targets' questions of a task, in the same order for every method."""

    method: str
    targets: Sequence[str]
    """Whose question it is, [questions]."""
    ids: Sequence[str]
    golds: Sequence[str]
    predictions: Sequence[str]


def results(task: Task, answers: Answers, seed: int, draws: int) -> list[Result]:
    """Score the answers, pooled over targets; the interval resamples targets."""
    table, found = metric_table(task, answers.golds, answers.predictions), []
    for metric in task.metrics:
        ci, reason = None, None
        try:
            ci = bootstrap_ci(_statistic(table, metric), answers.targets, n=draws, seed=seed)
        except Undefined as why:
            reason = str(why)
        found.append(
            Result(
                task.name,
                answers.method,
                metric,
                table.value(metric),
                ci,
                len(answers.golds),
                higher_is_better=task.higher_is_better,
                reason=reason,
                targets=len(set(answers.targets)),
            )
        )
    return found


def comparisons(task: Task, answers: Answers, reference: Answers, seed: int, draws: int) -> list[Comparison]:
    """Subtract the reference, on the same questions and the same resamples."""
    own = metric_table(task, answers.golds, answers.predictions)
    other = metric_table(task, reference.golds, reference.predictions)
    found = []
    for metric in task.metrics:
        first, second = _statistic(own, metric), _statistic(other, metric)
        gap = paired_difference(first, second, answers.targets, n=draws, seed=seed)
        found.append(
            Comparison(
                task.name,
                answers.method,
                reference.method,
                metric,
                gap.value,
                gap.ci,
                len(answers.golds),
                gap.reason,
            )
        )
    return found


def rows(task: Task, answers: Answers) -> list[Mapping[str, object]]:
    """Make the rows of ``predictions.jsonl``."""
    return [
        {"task": task.name, "method": answers.method, "target": t, "id": i, "prediction": p, "gold": g}
        for t, i, p, g in zip(answers.targets, answers.ids, answers.predictions, answers.golds, strict=True)
    ]


def _statistic(table: MetricTable, metric: str) -> Callable[[np.ndarray], float]:
    count = len(table.columns[metric])

    def statistic(indices: np.ndarray) -> float:
        weights = np.bincount(indices, minlength=count).astype(np.float64)
        return float(table.resampled(metric, weights[None])[0])

    return statistic
