"""What canaries show, by design, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from prime_audit.audit import exposure
from prime_audit.audit.auc import FloatArray
from prime_audit.audit.jackknife import limits
from prime_audit.audit.signals import Rows, mean_nll
from prime_audit.community.build import Community
from prime_audit.community.canaries import DESIGNS, design_of
from prime_audit.community.sharers import Sharer, bank_name
from prime_audit.engine.mixture import Continuation, Probe, alone
from prime_audit.games.exam.planted import CANARY_KINDS
from prime_audit.games.exam.stored import Exam, Pass
from prime_audit.lamp.prompts import history_examples
from prime_audit.record import CanaryCost, Exposure


def exposed(exam: Exam) -> Iterator[Exposure]:
    """Yield the exposure of every method's canaries, by design, from the log-probability of their golds.

    A target's trained canaries are ranked among the untrained ones of the same design and of the sharers merged for
    this target: which of these were trained on was drawn by lot.
    """
    for one in exam.passes:
        base = exam.base(one.pool)
        if one.kind not in CANARY_KINDS or one.method is None or base is None or not one.seen:
            continue
        for design in DESIGNS:
            values = [_exposed(exam, one, target, base.logprobs, design) for target in one.seen]
            names = {name for *_, trained in values for name in trained}
            own, plain, chance, most = (float(np.mean([row[n] for row in values])) for n in range(4))
            for label in one.labels:
                yield Exposure(
                    task=exam.task,
                    method=label,
                    game=one.kind,
                    design=design,
                    exposure=own,
                    base=plain,
                    chance=chance,
                    most=most,
                    canaries=len(names),
                )


def _exposed(
    exam: Exam, one: Pass, target: str, base: Rows, design: str
) -> tuple[float, float, float, float, list[str]]:
    """One target's mean exposure of a design: of the model, of the base, by chance, at most; and the canaries' ids."""
    pool = exam.pools[one.pool]
    rows = np.flatnonzero(
        pool.of(one.merged[target]) & np.array([design_of(name) == design for name in pool.ids])
    )
    trained = pool.trained[rows]

    def mean(observed: Rows) -> float:
        scores = np.array([observed[r].sum() for r in rows.tolist()])
        return float(exposure.exposures(scores[trained], scores[~trained]).mean())

    others = int((~trained).sum())
    return (
        mean(one.seen[target].logprobs),
        mean(base),
        exposure.by_chance(others),
        exposure.most(others),
        [pool.ids[r] for r in rows[trained].tolist()],
    )


def cost(community: Community) -> CanaryCost:
    """Train the sharers' adapters without canaries, too, and compare both on the sharers' held-out items."""
    task, count = community.task.name, community.number("canaries")
    clean = community.without_canaries()
    able = [s for s in community.sharers if s.heldout and s.user.id in clean]
    if not able:
        why = "no sharer has held-out items"
        return CanaryCost(
            task=task, canaries=count, without=None, difference=None, ci=None, sharers=0, reason=why
        )
    planted = _mean_nlls(community, able, {s.user.id: bank_name(s.user.id) for s in able})
    without = _mean_nlls(community, able, clean)
    gaps = planted - without
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
