"""The pairs that a study declares, tested on the rows of its runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from prime_audit.audit.auc import Undefined
from prime_audit.audit.mean_auc import TargetScores
from prime_audit.folder import Run
from prime_audit.lamp.metrics import metric_table
from prime_audit.plugins.loading import load_game
from prime_audit.seeds import seed_of
from prime_audit.studies.paired import Side, Test, auc_test, panels_of, utility_test
from prime_audit.studies.spec import Found, Variant


def tests_of(found: Found) -> Iterator[Test]:
    """Test every pair on every metric of every task, and on the AUC of every game; not yet corrected."""
    pairs = [(found.study.variant(a), found.study.variant(b)) for a, b in found.study.pairs]
    for model in found.models:
        for task in found.plan.tasks:
            for pair in pairs:
                yield from utility_tests(found, model, task, *pair)
            yield from auc_tests(found, model, task, pairs)


def utility_tests(
    found: Found,
    model: str,
    task: str,
    first: Variant,
    second: Variant,
    golds: Sequence[str] | None = None,
    named: str = "{}",
) -> Iterator[Test]:
    """Test a pair on a task's metrics. ``golds`` are other texts instead of the golds, with a name for the metric."""
    one, other = (side(found, model, variant, task, golds) for variant in (first, second))
    seed = seed_of(found.plan.seed, "swaps", task)
    for metric in found.plan.task(task).metrics:
        test = utility_test(one, other, metric, seed=seed)
        measured = named.format(metric)
        yield replace(test, model=model, task=task, metric=measured, first=first.key, second=second.key)


def side(found: Found, model: str, variant: Variant, task: str, golds: Sequence[str] | None = None) -> Side:
    """Score a variant's answers against the golds, or against other texts."""
    repeats = found.answers(model, variant, task)
    own = found.plan.task(task)
    tables = [
        metric_table(own, golds or [row["gold"] for row in rows], [row["prediction"] for row in rows])
        for rows in repeats
    ]
    return Side(tuple(tables), tuple(row["target"] for row in repeats[0]))


def auc_tests(
    found: Found, model: str, task: str, pairs: Sequence[tuple[Variant, Variant]]
) -> Iterator[Test]:
    """Test pairs on the AUC of every game of one task; games without an AUC are left out."""
    for game in found.study.games:
        attack = found.plan.attacks[0]
        games = played(found.first(model), task, game, attack)
        for first, second in pairs:
            try:
                test = auc_test(games.get(first.core, ()), games.get(second.core, ()))
            except Undefined:  # the table says why one of them has no AUC
                continue
            yield replace(test, model=model, task=task, first=first.key, second=second.key, game=game)


def played(run: Run, task: str, game: str, attack: str) -> Mapping[str, Sequence[TargetScores]]:
    """Return a game as played on each method: label → one panel per target."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in run.scores():
        if (row["task"], row["game"], row["attack"]) == (task, game, attack):
            rows.setdefault(row["method"], []).append(row)
    whole = load_game(game).design.whole
    return {method: panels_of(own, whole=whole) for method, own in rows.items()}
