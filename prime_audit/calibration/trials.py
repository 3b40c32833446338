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
from prime_audit.audit.bounds import Bound, coin_bound, empirical_epsilon
from prime_audit.audit.design import Dealt, Design
from prime_audit.audit.judge import Judged, judge
from prime_audit.audit.permutation import FEWEST, naive_item_p
from prime_audit.games.exam.play import Effort, Player
from prime_audit.games.exam.queries import Queries
from prime_audit.games.exam.simulated import Trial
from prime_audit.games.exam.stored import Exam
from prime_audit.plugins import Attack, Game

DELTA = 1e-5
"""The δ of the mechanisms that have one."""
PAIRS = Design(unit="item-within-sharer", randomised=True)


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
    (found,) = judge(trial.game.design, trial.dealt, [trial.scored], seed=seed, permutations=FEWEST)
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
    again = replace(again, merged={t: again.merged[t] for t in again.seen})
    controls = ("length_only", "similarity_only")
    player = Player(pool, attacks, exam.similarity, exam.base(one.pool), controls)
    played = player.play(game, again, Effort(permutations=FEWEST), seed)
    return [_outcome(found, played.dealt, played.scored[found.attack].scores) for found in played.judged]


# -- mechanisms of known ε ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Lower bounds on ε, with the truth."""

    mechanism: str
    estimator: str
    """``pairs`` or ``coins``: see ``audit/bounds.py``."""
    epsilon: float | None
    """The truth; None where there is no guarantee."""
    bounds: int
    mean: float
    highest: float
    ceiling: float
    """The highest bound possible with this number of guesses, all right; a higher truth cannot be exceeded."""
    shown: int
    """Bounds above 0."""
    exceed: int
    """Bounds above the truth; 5 % may be, by the bounds' own confidence."""
    auc: float | None = None
    """Mean AUC of the score, where it comes from a module."""

    @classmethod
    def of(cls, bounds: Sequence[Bound], epsilon: float | None, **others: Any) -> Bounds:
        """Count the bounds that exceed the truth; ``others`` are the fields that do not follow from these."""
        values = [bound.value for bound in bounds]
        return cls(
            epsilon=epsilon,
            bounds=len(values),
            mean=float(np.mean(values)),
            highest=max(values),
            ceiling=max(bound.ceiling for bound in bounds),
            shown=sum(value > 0 for value in values),
            exceed=0 if epsilon is None else sum(value > epsilon for value in values),
            **others,
        )


def item_response(epsilon: float, sharers: int, each: int, rng: np.random.Generator) -> Bound:
    """Bound ε where every item's membership is published, true with probability e^ε/(1 + e^ε).

    ``each`` member items and as many others of every sharer; what a sharer's items have in common is under the base
    too.
    """
    owner = np.repeat(np.arange(sharers), 2 * each)
    members = np.concatenate([rng.permutation(np.arange(2 * each) % 2 == 0) for _ in range(sharers)])
    base = rng.normal(size=sharers)[owner] + rng.normal(size=owner.size)
    dealt = Dealt(
        target="t", rows=np.arange(owner.size), members=members, owners=[f"s{n}" for n in owner.tolist()]
    )
    scores, own = {"t": base + _said(members, epsilon, rng)}, int(rng.integers(1 << 30))
    return empirical_epsilon(PAIRS, [dealt], scores, {"t": base}, attacks=1, seed=own)


def coin_response(epsilon: float, targets: int, candidates: int, rng: np.random.Generator) -> Bound:
    """Bound ε where every target publishes each candidate's coin, true with probability e^ε/(1 + e^ε)."""
    coins = [rng.random(candidates) < 0.5 for _ in range(targets)]
    return coin_bound([(_said(own, epsilon, rng), own) for own in coins])


def coin_shift(epsilon: float, targets: int, candidates: int, rng: np.random.Generator) -> Bound:
    """Bound ε at δ = ``DELTA`` where a target publishes N(μ·coin, 1) of each candidate, μ such that it is private."""
    mu = gaussian_mu(epsilon, DELTA)
    coins = [rng.random(candidates) < 0.5 for _ in range(targets)]
    return coin_bound([(rng.normal(size=candidates) + mu * own, own) for own in coins], delta=DELTA)


def _said(bits: BoolArray, epsilon: float, rng: np.random.Generator) -> FloatArray:
    """Randomised response, with noise that only orders equal ones."""
    wrong = rng.random(bits.size) >= 1 / (1 + math.exp(-epsilon))
    said: FloatArray = (bits ^ wrong) + 1e-6 * rng.random(bits.size)
    return said


def gaussian_mu(epsilon: float, delta: float) -> float:
    """Shift at which N(0, 1) against N(μ, 1) is exactly (ε, δ)-indistinguishable (Balle and Wang 2018)."""

    def excess(mu: float) -> float:
        first = norm.cdf(mu / 2 - epsilon / mu)
        return float(first - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu) - delta)

    return float(brentq(excess, 1e-6, 50.0))


def trials(count: int, seed: int) -> Iterator[np.random.Generator]:
    """Yield one generator per trial."""
    for child in np.random.SeedSequence(seed).spawn(count):
        yield np.random.default_rng(child)
