"""Audits with a known answer: labels without effect, leaks of known strength, mechanisms of known ε.

Simulated scores of target t's model for item i of sharer s: √c·u_s + √(1-c)·e_i + noise + d·[i is a member], with u,
e standard normal and c the intra-sharer correlation. The unmerged base gives the same without the last term. So half
of the variance belongs to the sharer, shared by all their items and seen by all targets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from prime_audit.audit.auc import BoolArray, FloatArray
from prime_audit.audit.epsilon import epsilon_bound
from prime_audit.audit.intervals import auc_interval
from prime_audit.audit.panels import Panel
from prime_audit.audit.permutation import naive_item_p, permutation_test
from prime_audit.audit.strata import sampled, strata_of
from prime_audit.games.deal import GAMES, Dealt, Game, by_coin
from prime_audit.games.judge import Judged, Scored, evenly, judge
from prime_audit.games.play import Effort, Examined, InclusionPlay, Play
from prime_audit.games.pool import Pool
from prime_audit.games.stored import Exam
from prime_audit.plugins import Attack

SHARERS, TARGETS, MERGED, ITEMS = 16, 8, 4, 12
CORRELATION = 0.5
"""Share of an item score's variance that belongs to its sharer."""
NOISE = 0.2
"""Standard deviation between targets' models."""
DRAWS = 200
"""Bootstrap draws of a trial; a run takes 1000."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One audit: a game's labels with an attack's scores and its controls'."""

    game: Game
    dealt: Sequence[Dealt]
    scored: Scored


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
    (found,) = judge(trial.game, trial.dealt, [trial.scored], seed=seed, draws=DRAWS)
    return _outcome(found, trial.dealt, trial.scored.scores)


def _outcome(found: Judged, dealt: Sequence[Dealt], scores: Mapping[str, FloatArray]) -> Outcome:
    panels = [Panel(d.target, scores[d.target], d.owners, d.members) for d in dealt if d.target in scores]
    return Outcome(1.0 if found.p is None else found.p, naive_item_p(panels), found.verdict.word)


def simulated(game: str, rng: np.random.Generator, strength: float = 0.0, shift: float = 0.0) -> Trial:
    """Simulate one audit of game ``paper`` or ``heldout``.

    Parameters
    ----------
    game
        ``paper``: the MERGED most similar sharers are members with all their items. ``heldout``: half of the items of
        the merged sharers, drawn at random, the same half for every target.
    rng
        Decides everything.
    strength
        Standard deviations by which a member's score is raised.
    shift
        The same for items of similar sharers under every model, the base too: selection, no leak.
    """
    owner = np.repeat(np.arange(SHARERS), ITEMS)
    own = rng.normal(size=SHARERS)[owner] * math.sqrt(CORRELATION)
    item = own + rng.normal(size=owner.size) * math.sqrt(1 - CORRELATION)
    trained = np.concatenate([rng.permutation(np.arange(ITEMS) % 2 == 0) for _ in range(SHARERS)])
    length = -rng.poisson(8.0, size=owner.size).astype(np.float64)
    dealt, scores, base = list[Dealt](), dict[str, FloatArray](), dict[str, FloatArray]()
    lengths, similarity = dict[str, FloatArray](), dict[str, FloatArray]()
    for number in range(TARGETS):
        near = rng.random(SHARERS)
        merged = np.isin(owner, np.argsort(-near)[:MERGED])
        rows = np.arange(owner.size) if game == "paper" else np.flatnonzero(merged)
        members = merged[rows] if game == "paper" else trained[rows]
        name, plain = f"t{number}", item[rows] + shift * merged[rows]
        dealt.append(Dealt(name, rows, members, [f"s{s}" for s in owner[rows].tolist()]))
        scores[name] = plain + NOISE * rng.normal(size=rows.size) + strength * members
        base[name], lengths[name], similarity[name] = plain, length[rows], near[owner[rows]]
    return _trial(game, dealt, scores, base, lengths, similarity)


@dataclass(frozen=True)
class Sampling:
    """A simulated paper game in which some of each other sharer's items are scored."""

    others: int
    """Non-member items scored, over all targets."""
    width: float
    """Width of the 95 % interval over sharers and targets."""
    p: float
    """Permutation test by sharer."""


def sampling(
    sizes: Sequence[int],
    rng: np.random.Generator,
    *,
    correlation: float,
    sharers: int = 40,
    merged: int = 3,
    items: int = 40,
    targets: int = 20,
    relabellings: int = 0,
) -> dict[int, Sampling]:
    """Simulate one null audit of the paper's game, and judge it by samples of the same scores.

    Parameters
    ----------
    sizes
        Items drawn of each other sharer; 0: all.
    rng
        Decides everything.
    correlation
        Share of an item score's variance that belongs to its sharer.
    sharers, merged, items, targets
        Sharers, how many of them each target merges, items of each, and targets.
    relabellings
        Of the permutation test; 0: none, and p is NaN.
    """
    owner = np.repeat(np.arange(sharers), items)
    score = rng.normal(size=sharers)[owner] * math.sqrt(correlation)
    score += rng.normal(size=owner.size) * math.sqrt(1 - correlation)
    every, names = np.ones(owner.size, dtype=np.bool_), [f"s{s}" for s in owner.tolist()]
    said = {f"t{t}": score + NOISE * rng.normal(size=owner.size) for t in range(targets)}
    near = {t: [f"s{s}" for s in rng.choice(sharers, merged, replace=False).tolist()] for t in said}
    pool = Pool(names, names, names, names, every, every, ~every, [()] * owner.size)
    seed, found = int(rng.integers(1 << 31)), dict[int, Sampling]()
    for each in sizes:
        drawn = sampled(strata_of(names, every), said, each, seed=seed, task="simulated")
        dealt = [GAMES["paper"].deal(t, near[t], replace(pool, sampled=drawn)) for t in said]
        panels = [Panel(d.target, said[d.target][d.rows], d.owners, d.members) for d in dealt]
        low, high = auc_interval(panels, n=DRAWS, seed=seed).estimate.ci or (math.nan, math.nan)
        p = math.nan
        if relabellings:
            even = evenly(dealt, {d.target: said[d.target][d.rows] for d in dealt})
            p = permutation_test(even, unit="sharer", n=relabellings, seed=seed).p
        found[each] = Sampling(sum(int((~d.members).sum()) for d in dealt), high - low, p)
    return found


def _redrawn_training(pool: Pool, rng: np.random.Generator) -> Pool:
    """Redraw which items of each sharer were trained on: as many of those in the game, at random."""
    trained, owners = pool.trained.copy(), np.array(pool.owners)
    for sharer in sorted(set(pool.owners)):
        own = np.flatnonzero(pool.drawn & (owners == sharer))
        trained[own] = rng.permutation(trained[own])
    return replace(pool, trained=trained)


def redrawn(
    exam: Exam, attacks: Sequence[Attack], game: str, rng: np.random.Generator, seed: int
) -> list[Outcome]:
    """Audit a real pass with redrawn labels that have no effect; returns each attack's results.

    ``paper``: as many sharers per target as it merged, at random. ``heldout``: of each sharer's items in the game as
    many as were trained on, at random, the same for every target. ``inclusion``: a fair coin per target and sharer.
    The bag of words is no control here either.
    """
    pool, base = exam.pool("modules"), exam.base("modules")
    one = next(p for p in exam.passes if p.kind == "modules" and p.method is not None and p.seen)
    assert one.method is not None
    everybody, merged = sorted(set(pool.owners)), dict(one.merged)
    dealer, make = GAMES[game], Play
    if game == "paper":
        merged = {t: tuple(rng.choice(everybody, len(m), replace=False).tolist()) for t, m in merged.items()}
    elif game == "heldout":
        pool = _redrawn_training(pool, rng)
    else:
        thrown = {t: rng.integers(2, size=len(everybody)).astype(bool).tolist() for t in one.seen}
        coins = {t: dict(zip(everybody, own, strict=True)) for t, own in thrown.items()}
        dealer, make = replace(dealer, deal=partial(by_coin, coins)), InclusionPlay
    player = make(pool, attacks, exam.similarity, base, ("length_only", "similarity_only"))
    examined = Examined(one.method, {t: merged[t] for t in one.seen}, one.seen)
    played = player.play(dealer, examined, Effort(DRAWS), seed)
    return [_outcome(found, played.dealt, played.scored[found.attack].scores) for found in played.judged]


def _trial(
    game: str,
    dealt: Sequence[Dealt],
    scores: Mapping[str, FloatArray],
    base: Mapping[str, FloatArray],
    length: Mapping[str, FloatArray],
    similarity: Mapping[str, FloatArray],
) -> Trial:
    controls = {"base": base, "length_only": length, "similarity_only": similarity}
    return Trial(GAMES[game], dealt, Scored("simulated", scores, 0, controls))


# -- mechanisms of known ε ---------------------------------------------------------------------------------

DELTA = 1e-5


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
    def of(
        cls,
        mechanism: str,
        estimator: str,
        epsilon: float | None,
        bounds: Sequence[float],
        ceiling: float,
        auc: float | None = None,
    ) -> Bounds:
        """Count the bounds that exceed the truth."""
        return cls(
            mechanism=mechanism,
            estimator=estimator,
            epsilon=epsilon,
            bounds=len(bounds),
            mean=float(np.mean(bounds)),
            highest=max(bounds),
            ceiling=ceiling,
            exceed=0 if epsilon is None else sum(b > epsilon for b in bounds),
            auc=auc,
        )


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
