"""Audits with a known answer: labels without effect, leaks of known strength, mechanisms of known ε."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from prime_audit.audit.auc import BoolArray, FloatArray
from prime_audit.audit.design import Dealt
from prime_audit.audit.epsilon import epsilon_bound
from prime_audit.audit.judge import Judged, judge
from prime_audit.audit.permutation import FEWEST, naive_item_p
from prime_audit.games.exam.play import Effort, Player
from prime_audit.games.exam.queries import Queries
from prime_audit.games.exam.simulated import Trial
from prime_audit.games.exam.stored import Exam
from prime_audit.plugins import Attack, Game

DRAWS = 200
"""Bootstrap draws of a trial; a run takes 1000."""
DELTA = 1e-5
"""The δ of the mechanisms that have one."""


@dataclass(frozen=True)
class Outcome:
    """Results of an audit."""

    p: float
    """Clustered permutation test."""
    naive: float
    """Item-level Mann-Whitney test."""
    verdict: str


def outcome(trial: Trial, seed: int) -> Outcome:
    """Judge one trial as a run would. The bag of words is no control here, which makes a false ``leaks`` easier."""
    (found,) = judge(
        trial.game.design, trial.dealt, [trial.scored], seed=seed, draws=DRAWS, permutations=FEWEST
    )
    return _outcome(found, trial.dealt, trial.scored.scores)


def _outcome(found: Judged, dealt: Sequence[Dealt], scores: Mapping[str, FloatArray]) -> Outcome:
    p = 1.0 if found.p_deciding is None else found.p_deciding
    panels = [d.panel(scores[d.target]) for d in dealt if d.target in scores]
    return Outcome(p, naive_item_p(panels), found.verdict.word)


def redrawn(
    exam: Exam, attacks: Sequence[Attack], game: Game, rng: np.random.Generator, seed: int
) -> list[Outcome]:
    """Audit a real pass with new members (``Game.redraw``), so that membership carries nothing: each attack's outcome.

    Words are no control here either.
    """
    assert game.redraw is not None
    one = next(p for p in exam.passes if p.kind == Queries.name and p.seen)
    again, pool = game.redraw(one, exam.pools[one.pool], rng)
    again = replace(again, merged={t: again.merged[t] for t in one.seen})
    controls = ("length_only", "similarity_only")
    player = Player(pool, attacks, exam.similarity, exam.base(one.pool), controls)
    played = player.play(game, again, Effort(DRAWS, FEWEST), seed)
    return [_outcome(found, played.dealt, played.scored[found.attack].scores) for found in played.judged]


# -- mechanisms of known ε ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Lower bounds on ε, with the truth."""

    mechanism: str
    estimator: str
    """``threshold`` (Clopper-Pearson at a fixed threshold) or ``one run`` (Steinke et al. 2023)."""
    epsilon: float | None
    """The truth; None where there is no guarantee."""
    bounds: int
    mean: float
    highest: float
    ceiling: float
    """The highest bound possible with this number of guesses, all right; a higher truth cannot be exceeded."""
    exceed: int
    """Bounds above the truth; 5 % may be, by the bounds' own confidence."""
    auc: float | None = None
    """Mean AUC of the score, where it comes from a module."""

    @classmethod
    def of(cls, bounds: Sequence[float], epsilon: float | None, **others: Any) -> Bounds:
        """Count the bounds that exceed the truth; ``others`` are the fields that do not follow from these."""
        exceed = 0 if epsilon is None else sum(b > epsilon for b in bounds)
        mean, highest = float(np.mean(bounds)), max(bounds)
        return cls(epsilon=epsilon, bounds=len(bounds), mean=mean, highest=highest, exceed=exceed, **others)


def randomised_response(epsilon: float, units: int, rng: np.random.Generator) -> float:
    """Bound ε of a mechanism that publishes each of ``units`` bits, true with probability e^ε/(1 + e^ε)."""
    bits = rng.random(units) < 0.5
    said = bits ^ (rng.random(units) >= 1 / (1 + math.exp(-epsilon)))
    return _bound(bits, said, 0.0)


def gaussian_shift(epsilon: float, delta: float, units: int, rng: np.random.Generator) -> float:
    """Bound ε of a mechanism that publishes N(μ·bit, 1), μ such that it is (ε, δ)-private; threshold μ/2."""
    mu = gaussian_mu(epsilon, delta)
    bits = rng.random(units) < 0.5
    return _bound(bits, rng.normal(size=units) + mu * bits >= mu / 2, delta)


def gaussian_mu(epsilon: float, delta: float) -> float:
    """Shift at which N(0, 1) against N(μ, 1) is exactly (ε, δ)-indistinguishable (Balle and Wang 2018)."""

    def excess(mu: float) -> float:
        first = norm.cdf(mu / 2 - epsilon / mu)
        return float(first - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu) - delta)

    return float(brentq(excess, 1e-3, 50.0))


def _bound(bits: BoolArray, said: BoolArray, delta: float) -> float:
    inside, outside = int(bits.sum()), int((~bits).sum())
    return epsilon_bound(int(said[bits].sum()), inside, int(said[~bits].sum()), outside, delta=delta)


def trials(count: int, seed: int) -> Iterator[np.random.Generator]:
    """Yield one generator per trial."""
    for child in np.random.SeedSequence(seed).spawn(count):
        yield np.random.default_rng(child)
