"""A task that no method can do is warned of, by what is reached without a model; a task that one can do is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from prime_audit import Run, compare
from prime_audit.lamp.readers import read
from prime_audit.lamp.tasks import TASKS
from prime_audit.report.abilities import UNABLE, line_of
from prime_audit.runs.unaided import ability
from prime_audit.runs.utility import Answers

SAID = "no method answers measurably better than is possible without a model"


def answers(
    golds: Sequence[str], predictions: Sequence[str], method: str = "np", targets: int = 10
) -> Answers:
    """Spread the questions evenly over the targets."""
    owners = [f"t{n * targets // len(golds)}" for n in range(len(golds))]
    return Answers(method, owners, [str(n) for n in range(len(golds))], golds, predictions)


def said(task: str, *methods: Answers) -> list[str]:
    found = ability(TASKS[task], methods)
    return [line_of(found)] if found and not found.shown else []


# -- a run -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["LaMP-2", "LaMP-3", "LaMP-4"])
def test_a_random_model_is_warned_of_wherever_warnings_stand(
    quick: Callable[..., Run], say: Callable[..., Any], small_data: Callable[[str], Path], task: str
) -> None:
    run = quick("np,rag", task=task, games="")
    (line,) = [w for w in run.record.warnings if SAID in w]
    assert line.startswith(f"{task}: ")
    golds = [q.gold for user in read(small_data(task)).targets for q in user.queries]
    commonest = max(golds.count(g) for g in golds) / len(golds)
    own = {(r.method, r.metric): r.value for r in run.record.results}
    for c in run.record.unaided:  # the record has the same baseline as figures
        assert c.baseline in line
        plain = own[c.method, c.metric] - c.difference
        if c.metric == "accuracy":
            assert plain == pytest.approx(commonest)
    assert {c.method for c in run.record.unaided} == {"np", "rag"}
    if task == "LaMP-2":
        assert f"{commonest:.3f})" in line
    if task == "LaMP-3":
        errors = np.abs(np.array(golds, float) - median(map(float, golds)))
        assert f"{errors.mean():.3f})" in line
    (found,) = run.record.abilities
    assert (found.task, found.shown, line_of(found)) == (task, False, line)
    shown = " ".join(say("show", run.path).out.split())
    assert shown.count(SAID) == 1
    assert shown.index(SAID) < shown.index("Δ np")
    texts = [(run.path / name).read_text(encoding="utf-8") for name in ("table.md", "index.html")]
    for text, table in zip(texts, ("| method", "<table>"), strict=True):
        assert text.count(SAID) == 1
        assert text.index(SAID) < text.index(table)


def test_a_task_that_no_method_can_do_marks_its_verdicts(
    quick: Callable[..., Run], say: Callable[..., Any]
) -> None:
    run = quick("np,prime", task="LaMP-4", games="heldout")
    assert [x.verdict for x in run.record.leaks if x.verdict.endswith("†")] == []  # the record has it apart
    assert f"{run.record.leaks[0].verdict} †" in (run.path / "table.md").read_text(encoding="utf-8")
    assert UNABLE in " ".join(say("show", run.path).out.split())


@pytest.mark.slow
def test_the_world_in_the_box_is_not(tmp_path: Path) -> None:
    run = compare("np", games="", out=tmp_path / "run", cache=None, quiet=True)
    assert {d.task for d in run.record.data} == {"LaMP-2", "LaMP-4"}
    assert not [w for w in run.record.warnings if SAID in w]


# -- the rule ----------------------------------------------------------------------------------------------


def test_one_method_that_can_is_enough() -> None:
    golds = ["comedy", "classic", "action", "comedy"] * 10
    constant, can = answers(golds, ["comedy"] * 40), answers(golds, golds, "can")
    (line,) = said("LaMP-2", constant)
    assert "with 40 questions of 10 targets (accuracy: best method np 0.500; always comedy 0.500)" in line
    assert line.endswith("may not hold for one that can")
    assert said("LaMP-2", constant, can) == said("LaMP-2", can, constant) == []


def test_better_by_chance_alone_is_not_better() -> None:
    golds = ["comedy", "classic"] * 20
    lucky = ["comedy"] * 39 + ["classic"]  # one target's one answer
    (line,) = said("LaMP-2", answers(golds, lucky))
    assert "0.525; always comedy 0.500" in line
    steady = [g if n % 4 < 3 else "action" for n, g in enumerate(golds)]
    assert said("LaMP-2", answers(golds, steady)) == []


def test_ratings_are_held_against_the_median() -> None:
    golds = ["5", "4", "5", "1"] * 10
    (line,) = said("LaMP-3", answers(golds, ["3"] * 40))
    assert "MAE: best method np 1.750; always 4 1.250)" in line
    assert said("LaMP-3", answers(golds, [str(max(1, int(g) - 1)) for g in golds])) == []


def test_texts_are_held_against_another_targets_gold() -> None:
    golds = [f"news of the town: item {n} of {n % 7}" for n in range(40)]
    swapped = golds[4:] + golds[:4]  # ten targets with four questions each
    scorer = RougeScorer(["rougeL"])
    reached = np.mean([scorer.score(a, b)["rougeL"].fmeasure for a, b in zip(golds, swapped, strict=True)])
    (line,) = said("LaMP-4", answers(golds, ["news of the town"] * 40))
    assert f"another target's gold {reached:.3f}, minimum 0.05)" in line
    assert said("LaMP-4", answers(golds, golds)) == []


@pytest.mark.parametrize("targets", [1, 10])
def test_where_golds_have_nothing_in_common_a_floor_counts(targets: int) -> None:
    golds = [" ".join(f"w{n}x{k}" for k in range(20)) for n in range(40)]
    few = [g if n == 0 else f"{g.split()[0]} {'x ' * 60}" for n, g in enumerate(golds)]
    assert len(said("LaMP-4", answers(golds, ["" for _ in golds], targets=targets))) == 1
    assert len(said("LaMP-4", answers(golds, few, targets=targets))) == 1
    assert said("LaMP-4", answers(golds, [g[: len(g) // 2] for g in golds], targets=targets)) == []


def test_without_another_target_a_text_is_held_against_no_answer() -> None:
    golds = [f"item {n}" for n in range(10)]
    (line,) = said("LaMP-4", answers(golds, [""] * 10, targets=1))
    assert "with 10 questions of 1 targets" in line
    assert "no answer 0.000, minimum" in line
    assert "another target" not in line


@pytest.mark.parametrize(
    ("task", "gold", "wrong"),
    [("LaMP-2", "comedy", "action"), ("LaMP-3", "5", "1"), ("LaMP-4", "news", "no")],
)
def test_golds_that_cannot_show_it_are_not_asked(task: str, gold: str, wrong: str) -> None:
    golds = [gold] * 20
    assert said(task, answers(golds, golds)) == said(task, answers(golds, [wrong] * 20)) == []


def test_nothing_is_said_where_every_method_failed() -> None:
    assert said("LaMP-4") == []
