"""Verdicts over the tasks of a run: what is called in one task may not be over all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prime_audit.audit.judge import Entry, Judged, Scored, judge_all
from prime_audit.games.exam.simulated import World, simulated
from prime_audit.plugins.loading import load_game
from prime_audit.runs.findings import Findings
from tests import records

PS = {"LaMP-2": (0.02, 0.5), "LaMP-4": (0.2, 0.9), "LaMP-7": (0.03, 0.04)}
"""Corrected p by task."""


def findings(judged: Judged, ps: dict[str, tuple[float, ...]], game: str = "heldout") -> Findings:
    """Return findings in which every figure is the same but for its corrected p."""
    found = Findings()
    for task, own in ps.items():
        for method, p in enumerate(own):
            assert judged.tests is not None
            tests = replace(judged.tests, adjusted=p, adjusted_already=1.0)
            found.leaks.append(records.leak(task=task, method=f"m{method}", game=game, p_adjusted=p))
            found.evidence.append(replace(judged.evidence, tests=tests))
    return found


@pytest.fixture(scope="module")
def judged() -> Judged:
    trial = simulated(load_game("heldout"), np.random.default_rng(0), everything=True)
    entry = Entry(dealt=trial.dealt, scored=[trial.scored])
    ((found,),) = judge_all(trial.game.design, [entry], seed=0, permutations=199)
    return found


def test_over_several_tasks_q_is_what_decides(judged: Judged) -> None:
    found = findings(judged, PS)
    leaks = {(one.task, one.method): one for one in found.settled()}
    # Families' least p .02, .03, .2: at level q, R of 3 are selected, and a figure passes at p ≤ q·R/3.
    assert leaks["LaMP-2", "m0"].q == pytest.approx(0.045)
    assert leaks["LaMP-7", "m0"].q == pytest.approx(0.045)
    assert leaks["LaMP-7", "m1"].q == pytest.approx(0.06)
    assert [one.verdict == "leaks" for one in leaks.values()] == [True, False, False, False, True, False]
    assert "q 0.045" in leaks["LaMP-2", "m0"].why
    (line,) = found.expected()
    assert line.startswith("game heldout: leaks are called in 2 of 3 tasks; in 0.1 of these")


def test_one_task_and_other_games_are_judged_by_themselves(judged: Judged) -> None:
    found = findings(judged, {"LaMP-2": (0.04,)})
    other = findings(judged, {"LaMP-4": (0.05,)}, game="target")
    found.leaks += other.leaks
    found.evidence += other.evidence
    assert [(one.q, one.verdict) for one in found.settled()] == [(0.04, "leaks"), (0.05, "leaks")]
    assert found.expected() == []


def test_methods_judged_together_share_a_correction() -> None:
    rng = np.random.default_rng(0)
    trial = simulated(load_game("heldout"), rng, everything=True)

    def method() -> Scored:
        said = {target: own + rng.normal(size=own.size) for target, own in trial.scored.scores.items()}
        return replace(trial.scored, scores=said)

    entries = [Entry(dealt=trial.dealt, scored=[method()]) for _ in range(4)]
    alone = [judge_all(trial.game.design, [e], seed=0, permutations=499)[0][0] for e in entries]
    together = [own[0] for own in judge_all(trial.game.design, entries, seed=0, permutations=499)]
    for one, many in zip(alone, together, strict=True):
        assert one.estimate == many.estimate
        assert one.p_adjusted is not None
        assert many.p_adjusted is not None
    assert sum(m.p_adjusted or 0 for m in together) > sum(a.p_adjusted or 0 for a in alone)


def test_a_duplicate_shares_no_error() -> None:
    trial = simulated(load_game("inclusion"), np.random.default_rng(0), World(strength=2.0), everything=True)
    twin = replace(trial.scored, attack="twin", duplicate=trial.scored.attack)

    def bounds(*scored: Scored) -> list[float | None]:
        entry = Entry(dealt=trial.dealt, scored=scored)
        (own,) = judge_all(trial.game.design, [entry], seed=0, permutations=99)
        return [one.epsilon.value if one.epsilon else None for one in own]

    assert bounds(trial.scored, twin) == bounds(trial.scored) * 2
    other = replace(twin, duplicate=None)
    assert (bounds(trial.scored, other)[0] or 0) < (bounds(trial.scored)[0] or 0)
