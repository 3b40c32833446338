"""Baselines without a model: a warning for tasks in which no method is measurably better.

For classes and ratings, the baseline is the label that scores best if it answers every question (for accuracy the
most common, for MAE the median). For texts it is another target's gold, by ROUGE-L or chrF. A method is better if its
paired interval over targets is entirely on the better side (or its difference, where there is no interval). A text must
also reach ``FLOOR``, because golds may have no word in common. Where the baseline is perfect, the golds cannot show any
ability, and there is no warning.

The warning means that the run does not show an ability, not that there is none. With few targets, an able model often
shows no measurable difference. The absence of a warning proves little too: one of many methods may pass by chance
(the intervals are not corrected over methods), and for texts the bar is low.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from prime_audit.lamp.metrics import score
from prime_audit.lamp.tasks import Task
from prime_audit.record import Ability, Comparison
from prime_audit.runs import utility
from prime_audit.runs.utility import Answers

FLOOR = 0.05
"""Minimum ROUGE-L or chrF that counts as an ability: about one word in twenty."""


def _metric(task: Task) -> str:
    """Return the metric that is compared; not macro-F1, where random guesses beat any constant answer."""
    return task.metrics[-1 if task.kind == "generation" else 0]


def comparisons(task: Task, answered: Sequence[Answers]) -> list[Comparison]:
    """Subtract the best answers without a model from those of every method, in every metric."""
    if not answered:
        return []
    what, plain = _without(task, answered[0])
    plain = replace(plain, method=what)
    return [c for own in answered for c in utility.comparisons(task, own, plain)]


def ability(task: Task, answered: Sequence[Answers]) -> Ability | None:
    """Compare the best method with having no model; ``answered``: the methods that did not fail.

    None where there is none, or where the golds cannot show any ability.
    """
    if not answered:
        return None
    metric, golds = _metric(task), answered[0].golds
    what, plain = _without(task, answered[0])
    reached = score(task, golds, plain.predictions)[metric]
    if reached == score(task, golds, golds)[metric]:
        return None
    values = {own.method: score(task, golds, own.predictions)[metric] for own in answered}
    best = (max if task.higher_is_better else min)(values, key=lambda method: values[method])
    return Ability(
        task=task.name,
        shown=any(_better(task, own, plain) for own in answered),
        metric=metric,
        method=best,
        value=values[best],
        without=reached,
        how=what,
        questions=len(golds),
        targets=len(set(plain.targets)),
        floor=FLOOR if task.kind == "generation" else None,
    )


def _without(task: Task, answers: Answers) -> tuple[str, Answers]:
    """Answer the questions without a model; return a description and the answers."""
    if task.kind == "generation":
        what = "another target's gold" if len(set(answers.targets)) > 1 else "no answer"
        texts = _others(answers)
    else:
        what, texts = _constant(task, answers.golds)
    return what, Answers("without a model", answers.targets, answers.ids, answers.golds, texts)


def _constant(task: Task, golds: Sequence[str]) -> tuple[str, list[str]]:
    """Return the label that scores best, the first of ties."""
    metric = _metric(task)
    scores = {label: score(task, golds, [label] * len(golds))[metric] for label in task.labels}
    best = (max if task.higher_is_better else min)(scores, key=lambda label: scores[label])
    return f"always {best}", [best] * len(golds)


def _others(answers: Answers) -> list[str]:
    """Return the next target's golds, repeated if they are fewer; empty with one target."""
    own: dict[str, list[str]] = {}
    for target, gold in zip(answers.targets, answers.golds, strict=True):
        own.setdefault(target, []).append(gold)
    people, given, texts = list(own), dict.fromkeys(own, 0), []
    following = dict(zip(people, [*people[1:], people[0]], strict=True))
    for target in answers.targets:
        theirs = own[following[target]]
        texts.append(theirs[given[target] % len(theirs)] if len(people) > 1 else "")
        given[target] += 1
    return texts


def _better(task: Task, own: Answers, plain: Answers) -> bool:
    metric = _metric(task)
    if task.kind == "generation" and score(task, own.golds, own.predictions)[metric] < FLOOR:
        return False
    found = next(c for c in utility.comparisons(task, own, plain) if c.metric == metric)
    gap = found.difference or 0.0
    low, high = found.ci or (gap, gap)
    return low > 0 if task.higher_is_better else high < 0
