"""What is reached without a model: a line for the record's warnings where no method of a task measurably reaches more.

Of classes and ratings: the label that scores best when it answers every question (by accuracy the commonest, by MAE the
median). Of texts, by ROUGE-L: golds of the next target in the data. A method does better where its paired interval
over targets lies wholly on the better side (its difference, where the data carry no interval), and a text only from
``FLOOR`` on, for golds may have no word in common. Where the answer without a model is perfect, the golds cannot show
what a method can do, and nothing is said.

The line tells that a run does not show an ability, not that there is none: with few targets a model that can do the
task often shows no measurable difference. And without the line little is shown either: one method of many may pass by
luck (the intervals are not corrected over methods), and for texts the bar is low.
"""

from __future__ import annotations

from collections.abc import Sequence

from prime_audit.lamp.metrics import score
from prime_audit.lamp.tasks import Kind, Task
from prime_audit.runs import utility
from prime_audit.runs.utility import Answers

METRIC: dict[Kind, str] = {"classification": "accuracy", "rating": "MAE", "generation": "rouge-L"}
"""What is compared; not macro-F1, in which guesses at random pass any constant answer."""
FLOOR = 0.05
"""ROUGE-L below which an answer counts for nothing: that of one word in twenty."""


def cautions(task: Task, answered: Sequence[Answers], seed: int, draws: int) -> list[str]:
    """Say where no method measurably shows more than is reached without a model; ``answered``: of those not failed."""
    if not answered:
        return []
    metric, golds = METRIC[task.kind], answered[0].golds
    what, plain = _without(task, answered[0])
    reached = score(task, golds, plain.predictions)[metric]
    if reached == score(task, golds, golds)[metric]:
        return []
    if any(_better(task, own, plain, seed, draws) for own in answered):
        return []
    values = {own.method: score(task, golds, own.predictions)[metric] for own in answered}
    best = (max if task.higher_is_better else min)(values, key=lambda method: values[method])
    floor = f", the least that counts {FLOOR}" if task.kind == "generation" else ""
    return [
        f"no method answers measurably better than is done without a model, with {len(golds)} questions of "
        f"{len(set(plain.targets))} targets ({metric}: {best}, the best, {values[best]:.3f}; {what} {reached:.3f}"
        f"{floor}); this run does not show that the model can do the task; what it says of utility and leakage may not "
        "hold of one that can"
    ]


def _without(task: Task, asked: Answers) -> tuple[str, Answers]:
    """Answer the questions without a model; return how in words, and the answers."""
    if task.kind == "generation":
        what = "another target's gold" if len(set(asked.targets)) > 1 else "no answer"
        texts = _others(asked)
    else:
        what, texts = _constant(task, asked.golds)
    return what, Answers("without a model", asked.targets, asked.ids, asked.golds, texts)


def _constant(task: Task, golds: Sequence[str]) -> tuple[str, list[str]]:
    """Give the label that scores best, the first of equals."""
    metric = METRIC[task.kind]
    scores = {label: score(task, golds, [label] * len(golds))[metric] for label in task.labels}
    best = (max if task.higher_is_better else min)(scores, key=lambda label: scores[label])
    return f"always {best}", [best] * len(golds)


def _others(asked: Answers) -> list[str]:
    """Give the next target's golds, over again where she has fewer; nothing where there is one target alone."""
    own: dict[str, list[str]] = {}
    for target, gold in zip(asked.targets, asked.golds, strict=True):
        own.setdefault(target, []).append(gold)
    people, given, texts = list(own), dict.fromkeys(own, 0), []
    following = dict(zip(people, [*people[1:], people[0]], strict=True))
    for target in asked.targets:
        theirs = own[following[target]]
        texts.append(theirs[given[target] % len(theirs)] if len(people) > 1 else "")
        given[target] += 1
    return texts


def _better(task: Task, own: Answers, plain: Answers, seed: int, draws: int) -> bool:
    metric = METRIC[task.kind]
    if task.kind == "generation" and score(task, own.golds, own.predictions)[metric] < FLOOR:
        return False
    found = next(c for c in utility.comparisons(task, own, plain, seed, draws) if c.metric == metric)
    gap = found.difference or 0.0
    low, high = found.ci or (gap, gap)
    return low > 0 if task.higher_is_better else high < 0
