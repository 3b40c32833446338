"""What canaries show, by design, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from prime_audit.audit import exposure
from prime_audit.audit.auc import FloatArray, Undefined
from prime_audit.audit.bounds import empirical_epsilon
from prime_audit.audit.design import Dealt, Design
from prime_audit.audit.jackknife import limits
from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import mean_nll
from prime_audit.community.build import Community
from prime_audit.community.canaries import DESIGNS, design_of
from prime_audit.community.sharers import Sharer, bank_name
from prime_audit.engine.mixture import Continuation, Probe, alone
from prime_audit.errors import PartError
from prime_audit.games.exam.observed import Observed
from prime_audit.games.exam.queries import queries_of
from prime_audit.games.exam.stored import Exam, Pass
from prime_audit.lamp.prompts import history_examples
from prime_audit.plugins import Game
from prime_audit.record import CanaryCost, Exposure
from prime_audit.seeds import rng_of, seed_of

ITEMS = Design(unit="item-within-sharer", randomised=True)


def exposures(exam: Exam, games: Sequence[Game]) -> Iterator[Exposure]:
    """Yield the exposure of every method's canaries, by design, from the log-probability of their golds.

    A target's trained canaries are ranked among the untrained ones of the same design and of the sharers merged for
    this target: which of these were trained on was drawn at random.
    """
    kinds = {queries_of(game).name for game in games if queries_of(game).plants}
    for one in exam.passes:
        base = exam.base(one.pool)
        if one.kind not in kinds or one.method is None or base is None or not one.seen:
            continue
        for design in DESIGNS:
            found = _exposed(exam, one, base, design)
            yield from (replace(found, method=label) for label in one.labels)


def _exposed(exam: Exam, one: Pass, base: Observed, design: str) -> Exposure:
    """Measure one design's canaries in one method's models."""
    pool = exam.pools[one.pool]
    of_design = np.array([design_of(name) == design for name in pool.ids])
    rows = {target: np.flatnonzero(pool.of(one.merged[target]) & of_design) for target in one.seen}
    dealt = [pool.deal(target, own, pool.trained[own]) for target, own in rows.items()]
    scores = {d.target: _sums(one.seen[d.target], d) for d in dealt}
    plain = {d.target: _sums(base, d) for d in dealt}
    others = [int((~d.members).sum()) for d in dealt]
    seed = seed_of(exam.seed, "canary pairs", exam.task, one.kind, design)
    try:
        bound = empirical_epsilon(ITEMS, dealt, scores, plain, attacks=len(DESIGNS), seed=seed)
    except Undefined:  # no pair: a design of one side only, which no run makes
        bound = None
    return Exposure(
        task=exam.task,
        method=str(one.method),
        game=one.kind,
        design=design,
        exposure=_mean(dealt, scores),
        p=_p(pool, dealt, scores, rng_of(exam.seed, "canary relabellings", exam.task, one.kind, design)),
        base=_mean(dealt, plain),
        chance=float(np.mean([exposure.by_chance(n) for n in others])),
        most=float(np.mean([exposure.most(n) for n in others])),
        canaries=len({row for d in dealt for row in d.rows[d.members].tolist()}),
        epsilon=bound.value if bound else None,
        epsilon_ceiling=bound.ceiling if bound else None,
    )


def _sums(observed: Observed, dealt: Dealt) -> FloatArray:
    """Log-probability of each canary's gold, [rows dealt]."""
    return np.array([observed.logprobs[row].sum() for row in dealt.rows.tolist()])


def _mean(dealt: Sequence[Dealt], scores: Mapping[str, FloatArray]) -> float:
    """Mean exposure over targets."""
    sides = [(scores[d.target][d.members], scores[d.target][~d.members]) for d in dealt]
    return float(np.mean([exposure.exposures(*both).mean() for both in sides]))


def _p(
    pool: Pool, dealt: Sequence[Dealt], scores: Mapping[str, FloatArray], rng: np.random.Generator
) -> float:
    """Test the mean exposure of one design: which canaries of each sharer were trained on was drawn by lot."""
    return exposure.relabelled_p(
        [scores[d.target] for d in dealt],
        [d.rows for d in dealt],
        pool.trained,
        np.unique(np.array(pool.owners), return_inverse=True)[1],
        rng,
    )


def cost(community: Community) -> CanaryCost:
    """Train the sharers' adapters without canaries, too, and compare both on the sharers' held-out items."""
    task, count = community.task.name, community.number("canaries")
    community.ready()  # no method may have merged anybody
    clean = community.without_canaries()
    able = [s for s in community.sharers if s.heldout and s.user.id in clean]
    if not able:
        return no_cost(community, "no sharer has held-out items")
    planted = _mean_nlls(community, able, {s.user.id: bank_name(s.user.id) for s in able})
    without = _mean_nlls(community, able, clean)
    gaps = planted - without
    if not np.isfinite(gaps).all():
        raise PartError("a held-out item has no finite NLL under an adapter")
    mean, few = float(gaps.mean()), gaps.size < 2
    return CanaryCost(
        task=task,
        canaries=count,
        without=float(without.mean()),
        difference=mean,
        ci=None if few else limits(mean, float(gaps.std(ddof=1)) / gaps.size**0.5, gaps.size - 1),
        sharers=len(able),
        reason="one sharer: no interval" if few else None,
    )


def no_cost(community: Community, why: str) -> CanaryCost:
    """Return the cost where it is unknown, with the reason."""
    return CanaryCost(
        task=community.task.name,
        canaries=community.number("canaries"),
        without=None,
        difference=None,
        ci=None,
        sharers=0,
        reason=why,
    )


def _mean_nlls(community: Community, sharers: list[Sharer], adapters: dict[str, str]) -> FloatArray:
    """Mean NLL of each sharer's held-out items under one adapter of theirs alone, [sharers]."""
    examples = [history_examples(community.task, s.user, augmented=False, items=s.heldout) for s in sharers]
    probes = [
        Probe(e.prompt, alone(adapters[s.user.id]), (Continuation(e.gold),))
        for s, own in zip(sharers, examples, strict=True)
        for e in own
    ]
    with community.stage("cost of the canaries", len(probes)) as tick:
        seen = iter(community.engine.observe(probes, tick=tick))
    return np.array([mean_nll([next(seen).logprobs[0] for _ in own]).mean() for own in examples])
