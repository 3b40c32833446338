"""Utility: what the intervals over users rest on."""

from __future__ import annotations

import pytest

from prime_audit.lamp.tasks import TASKS
from prime_audit.runs.utility import Answers, comparisons, results

TASK = TASKS["LaMP-3"]
GOLDS = ["5"] * 50


def answers(method: str, right: list[bool], users: int = 10) -> Answers:
    """Answers to five questions a user, wrong by one where not right."""
    targets = [f"u{i % users}" for i in range(50)]
    return Answers(method, targets, [str(i) for i in range(50)], GOLDS, ["5" if r else "4" for r in right])


def test_a_difference_uses_the_same_resamples() -> None:
    # Users differ by how often the reference is wrong; the method is right once more for each of them.
    reference = [i // 10 >= 1 + i % 3 for i in range(50)]
    better = [right or i // 10 == 0 for i, right in enumerate(reference)]
    own, other = answers("prime", better), answers("np", reference)
    (gap,) = [c for c in comparisons(TASK, own, other, seed=0, draws=50) if c.metric == "MAE"]
    assert gap.difference == pytest.approx(-0.2)
    assert gap.ci == pytest.approx((-0.2, -0.2))
    assert gap.reason is None
    (alone,) = [r for r in results(TASK, other, 0, 50) if r.metric == "MAE"]
    assert alone.ci is not None
    assert alone.ci[1] - alone.ci[0] > 0.05


def test_one_user_has_no_interval() -> None:
    one = answers("np", [i % 2 == 0 for i in range(50)], users=1)
    for found in results(TASK, one, 0, 50):
        assert (found.ci, found.reason) == (None, "an interval over users needs at least two users, not 1")
        assert found.value is not None
    for gap in comparisons(TASK, answers("prime", [True] * 50, users=1), one, 0, 50):
        assert gap.ci is None
        assert gap.difference is not None
        assert gap.reason is not None
