"""Verdicts over the tasks of a run: what is called in one task may not be over all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prime_audit.audit.design import Dealt
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
    assert line.startswith("game heldout: something is beyond chance (q ≤ 0.05) in 2 of 3 tasks; on average")


def test_one_task_and_other_games_are_judged_by_themselves(judged: Judged) -> None:
    found = findings(judged, {"LaMP-2": (0.04,)})
    other = findings(judged, {"LaMP-4": (0.05,)}, game="target")
    found.leaks += other.leaks
    found.evidence += other.evidence
    assert [(one.q, one.verdict) for one in found.settled()] == [(0.04, "leaks"), (0.05, "leaks")]
    assert [line.split(": ")[1] for line in found.expected()] == [
        "something is beyond chance (q ≤ 0.05) in its one task; at most 5 % of such runs show that without any leak"
    ] * 2
    assert findings(judged, {"LaMP-2": (0.06,)}).expected() == []


def test_a_verdict_follows_from_the_records_q(judged: Judged) -> None:
    found = Findings()
    for task, p in (("LaMP-2", 0.03), ("LaMP-4", 0.9)):
        assert judged.tests is not None
        tests = replace(judged.tests, adjusted=1.0, adjusted_already=p)
        found.leaks.append(records.leak(task=task, method="m", game="heldout", p_adjusted=1.0, p_already=p))
        found.evidence.append(replace(judged.evidence, tests=tests))
    assert [(one.q, one.q_already) for one in found.settled()] == [(1.0, pytest.approx(0.06)), (1.0, 0.9)]


@pytest.mark.parametrize("attacks", [1, 6, 14])
def test_a_base_that_tells_given_members_apart_is_a_sign_whatever_the_number_of_attacks(attacks: int) -> None:
    design = load_game("heldout").design

    def signs(shift: float, seed: int) -> bool:
        rng, owners = np.random.default_rng(seed), [f"s{i // 8}" for i in range(48)]
        members = np.concatenate([rng.permutation(8) < 4 for _ in range(6)])
        dealt = Dealt(target="t", rows=np.arange(48), members=members, owners=owners, given=True)
        scored = []
        for n in range(attacks):
            base = rng.normal(size=48) + shift * members
            controls = {"base": {"t": base}}
            own = {"t": base + rng.normal(size=48)}
            scored.append(Scored(attack=f"a{n}", scores=own, undefined=0, controls=controls))
        found = judge_all(design, [Entry(dealt=[dealt], scored=scored)], seed=0, permutations=999)
        return found[0][0].verdict.word == "confounded"

    assert signs(1.6, 0)  # an AUC of .87
    assert sum(signs(0.0, seed) for seed in range(1, 21)) <= 2


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
