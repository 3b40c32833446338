"""Utility: what the intervals over users rest on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t

from prime_audit.lamp.metrics import score
from prime_audit.lamp.tasks import TASKS, Task
from prime_audit.runs.utility import Answers, comparisons, results

TASK = TASKS["LaMP-3"]
GOLDS = ["5"] * 50


def answers(method: str, right: list[bool], users: int = 10) -> Answers:
    """Answers to five questions a user, wrong by one where not right."""
    targets = [f"u{i % users}" for i in range(50)]
    return Answers(method, targets, [str(i) for i in range(50)], GOLDS, ["5" if r else "4" for r in right])


def test_a_difference_leaves_the_same_users_out_of_both() -> None:
    # Users differ by how often the reference is wrong; the method is right once more for each of them.
    reference = [i // 10 >= 1 + i % 3 for i in range(50)]
    better = [right or i // 10 == 0 for i, right in enumerate(reference)]
    own, other = answers("prime", better), answers("np", reference)
    (gap,) = [c for c in comparisons(TASK, own, other) if c.metric == "MAE"]
    assert gap.difference == pytest.approx(-0.2)
    assert gap.ci == pytest.approx((-0.2, -0.2))
    assert gap.reason is None
    (alone,) = [r for r in results(TASK, other) if r.metric == "MAE"]
    assert alone.ci is not None
    assert alone.ci[1] - alone.ci[0] > 0.05


def test_one_user_has_no_interval() -> None:
    one = answers("np", [i % 2 == 0 for i in range(50)], users=1)
    for found in results(TASK, one):
        assert (found.ci, found.reason) == (None, "an interval over users needs at least two users")
        assert found.value is not None
    for gap in comparisons(TASK, answers("prime", [True] * 50, users=1), one):
        assert gap.ci is None
        assert gap.difference is not None
        assert gap.reason is not None


def brute(task: Task, answers_: Answers) -> dict[str, list[float]]:
    """Score the answers without each user, by hand."""
    found: dict[str, list[float]] = {m: [] for m in task.metrics}
    for user in sorted(set(answers_.targets)):
        kept = [i for i, u in enumerate(answers_.targets) if u != user]
        scores = score(
            task, *([column[i] for i in kept] for column in (answers_.golds, answers_.predictions))
        )
        for metric, value in scores.items():
            found[metric].append(value)
    return found


@pytest.mark.parametrize("name", ["LaMP-2", "LaMP-3", "LaMP-4"])
def test_the_interval_is_that_of_leaving_users_out(name: str) -> None:
    task, rng = TASKS[name], np.random.default_rng(3)
    texts = list(task.labels) or ["red fox", "blue fox", "a red hen", "blue"]
    users = [f"u{i}" for i in rng.integers(60, size=300)]
    golds, said = ([texts[i] for i in rng.integers(len(texts), size=300)] for _ in range(2))
    own = Answers("prime", users, [str(i) for i in range(300)], golds, said)
    for found in results(task, own):
        without = np.array(brute(task, own)[found.metric])
        assert found.value is not None
        assert found.without == pytest.approx(without, abs=1e-9)
        people = without.size
        assert found.se == pytest.approx(
            np.sqrt((people - 1) / people * np.square(without - without.mean()).sum())
        )
        assert found.freedom == people - 1
        reach = t.ppf(0.975, people - 1) * found.se
        if name == "LaMP-3":
            assert found.ci == pytest.approx((max(0, found.value - reach), found.value + reach))
        else:
            slope = found.value * (1 - found.value)
            odds = logit(found.value) + np.array([-1, 1]) * reach / slope
            assert found.ci == pytest.approx(tuple(expit(odds)))


def test_macro_f1_of_few_users_has_no_interval() -> None:
    labels = TASKS["LaMP-2"].labels
    few = Answers(
        "np",
        [f"u{i % 10}" for i in range(50)],
        [""] * 50,
        labels[:1] * 50,
        labels[:1] * 25 + labels[1:2] * 25,
    )
    found = {r.metric: r for r in results(TASKS["LaMP-2"], few)}
    assert found["accuracy"].ci is not None
    assert found["f1"].ci is None
    assert found["f1"].reason is not None
    assert found["f1"].reason.startswith("macro-F1 has no interval below 50 users")
    assert len(found["f1"].without) == 10  # places rest on it
    (gap,) = [c for c in comparisons(TASKS["LaMP-2"], few, few) if c.metric == "f1"]
    assert (gap.ci, gap.reason) == (None, found["f1"].reason)
