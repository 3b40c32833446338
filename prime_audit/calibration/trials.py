"""Audits with a known answer, judged as runs judge: labels without effect, leaks, boards, intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.board import Looks, board_wide
from prime_audit.audit.design import Dealt
from prime_audit.audit.intervals import auc_interval
from prime_audit.audit.judge import Judged, judge_all
from prime_audit.audit.mean_auc import TargetScores, target_auc
from prime_audit.audit.permutation import FEWEST, naive_item_p
from prime_audit.audit.verdict import ALPHA, over_tasks, verdict
from prime_audit.calibration.scenarios import BOARD, TASKS
from prime_audit.games.exam.play import Effort, Player
from prime_audit.games.exam.queries import Queries, queries_of
from prime_audit.games.exam.simulated import Trial, World, simulated
from prime_audit.games.exam.stored import Exam
from prime_audit.plugins import Attack, Game

BOARD_RELABELLINGS = 4999
"""A cell of a board needs a p below ALPHA over the number of cells."""


@dataclass(frozen=True)
class Outcome:
    """Results of one audit."""

    p: Sequence[float]
    """Of each attack and method: the clustered permutation test, uncorrected."""
    naive: Sequence[float]
    """Item-level Mann-Whitney tests."""
    verdicts: Sequence[str]
    epsilon: bool = False
    """Whether a bound on ε is above 0."""

    @property
    def leaks(self) -> bool:
        """Whether any verdict is *leaks*."""
        return "leaks" in self.verdicts


def outcome(trial: Trial, seed: int) -> Outcome:
    """Judge one trial as a run would. The bag of words is no control here, which makes a false ``leaks`` easier."""
    found = judge_all(trial.game.design, trial.entries, seed=seed, permutations=FEWEST)
    scores = [one.scores for entry in trial.entries for one in entry.scored]
    return _outcome([one for own in found for one in own], trial.dealt, scores)


def _outcome(
    found: Sequence[Judged], dealt: Sequence[Dealt], scores: Sequence[Mapping[str, FloatArray]]
) -> Outcome:
    return Outcome(
        p=[1.0 if one.p_deciding is None else one.p_deciding for one in found],
        naive=[naive_item_p([d.panel(own[d.target]) for d in dealt if d.target in own]) for own in scores],
        verdicts=[one.verdict.word for one in found],
        epsilon=any(one.epsilon is not None and one.epsilon.value > 0 for one in found),
    )


def redrawn(
    exam: Exam, attacks: Sequence[Attack], game: Game, rng: np.random.Generator, seed: int
) -> Outcome:
    """Audit a real pass with new members (``Game.redraw``), so that membership carries nothing.

    Words are no control here either.
    """
    assert game.redraw is not None
    one = next(p for p in exam.passes if p.kind == kind_of(exam, game) and p.seen)
    again, pool = game.redraw(one, exam.pools[one.pool], rng)
    again = replace(again, merged={t: again.merged[t] for t in again.seen})
    controls = ("length_only", "similarity_only")
    player = Player(pool, attacks, exam.similarity, exam.base(one.pool), controls)
    played = player.play(game, again, Effort(permutations=FEWEST), seed)
    return _outcome(played.judged, played.dealt, [played.scored[j.attack].scores for j in played.judged])


def kind_of(exam: Exam, game: Game) -> str | None:
    """Return the kind of a pass that can be played again: the game's own, or for new coins any model's; or None."""
    queries = queries_of(game)
    kinds = {p.kind for p in exam.passes if p.seen}
    return queries.name if queries.name in kinds else Queries.name if queries.remakes else None


def null_board(game: Game, rng: np.random.Generator, seed: int) -> tuple[Outcome, Outcome]:
    """Judge a board on which nothing leaks -> by each run's q, and board-wide."""
    tasks = []
    for task in range(TASKS):
        trial = simulated(game, rng, BOARD)
        judged = judge_all(game.design, trial.entries, seed=seed + task, permutations=BOARD_RELABELLINGS)
        tasks.append([one for own in judged for one in own])
    every = [one for own in tasks for one in own]
    q = [both for own in over_tasks([[one.evidence for one in own] for own in tasks]) for both in own]
    run = [verdict(one.evidence, *both).word for one, both in zip(every, q, strict=True)]
    cells = board_wide([[_looks(one)] for one in every])
    board = ["leaks" if min(both) <= ALPHA else "none" for both in cells]
    p = [1.0 if one.p_deciding is None else one.p_deciding for one in every]
    return Outcome(p, [], run), Outcome(p, [], board)


def _looks(one: Judged) -> Looks:
    tests = one.tests
    if tests is None:
        return Looks(None)
    return Looks.of(tests.p_gain, tests.p_tail, tests.p_auc, tests.p_base, tests.n, tests.detectable)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How often 95 % intervals hold the mean AUC of all such audits."""

    game: str
    people: int
    """Sharers; in the target game targets."""
    audits: int
    none: int
    """Audits without an interval."""
    covered: int
    below: int
    """Intervals that lie below the truth."""


def coverage(game: Game, people: int, world: World, count: int, seed: int) -> Coverage:
    """Count how often the interval holds the truth, which is the mean of five times as many other audits."""
    everything = game.name == "target"

    def played(rng: np.random.Generator) -> list[TargetScores]:
        trial = simulated(game, rng, world, everything=everything)
        return [d.panel(trial.scored.scores[d.target]) for d in trial.dealt if d.playable]

    aucs = [
        np.mean([target_auc(p.scores, p.members) for p in played(rng)]) for rng in trials(5 * count, seed + 1)
    ]
    truth = float(np.mean(aucs))
    found = [auc_interval(played(rng)).estimate.ci for rng in trials(count, seed)]
    known = [ci for ci in found if ci is not None]
    return Coverage(
        game=game.name,
        people=people,
        audits=count,
        none=count - len(known),
        covered=sum(low <= truth <= high for low, high in known),
        below=sum(high < truth for _, high in known),
    )


def trials(count: int, seed: int) -> Iterator[np.random.Generator]:
    """Yield one generator per trial."""
    for child in np.random.SeedSequence(seed).spawn(count):
        yield np.random.default_rng(child)
