"""Bounds on ε of mechanisms whose ε is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from prime_audit.audit.auc import BoolArray, FloatArray
from prime_audit.audit.bounds import Bound, coin_bound, empirical_epsilon
from prime_audit.audit.design import Dealt, Design
from prime_audit.seeds import rng_of

DELTA = 1e-5
"""The δ of the mechanisms that have one."""
EPSILONS = (0.0, 0.5, 1.0, 2.0, 4.0)
_PAIRS = Design(unit="item-within-sharer", randomised=True)


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
    return empirical_epsilon(_PAIRS, [dealt], scores, {"t": base}, attacks=1, seed=own)


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


MECHANISMS: tuple[tuple[str, str, Callable[..., Bound], tuple[int, int]], ...] = (
    ("randomised response of items, 8 sharers, 6 v 6", "pairs", item_response, (8, 6)),
    ("randomised response of items, 50 sharers, 8 v 8", "pairs", item_response, (50, 8)),
    ("randomised response of coins, 25 targets of 8", "coins", coin_response, (25, 8)),
    ("Gaussian shift of coins, δ 1e-5, 25 targets of 8", "coins", coin_shift, (25, 8)),
)
"""What publishes, the estimator, how it is simulated, and its size."""


def mechanisms(count: int, seed: int) -> list[Bounds]:
    """Bound every mechanism at every ε ``count`` times."""
    rng, found = rng_of(seed, "calibrate", "mechanisms"), list[Bounds]()
    for mechanism, estimator, make, size in MECHANISMS:
        for epsilon in EPSILONS:
            bounds = [make(epsilon, *size, rng) for _ in range(count)]
            found.append(Bounds.of(bounds, epsilon, mechanism=mechanism, estimator=estimator))
    return found
