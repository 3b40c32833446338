"""From scores to a judged figure: AUC, its controls, TPR, a test at the randomised unit, ε and a verdict.

Runs, ``attack``, ``stats`` and ``calibrate`` all go through :func:`judge`. It knows of a game its ``Design`` and the
rows dealt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np

from prime_audit.audit.auc import FPRS, FloatArray, Undefined
from prime_audit.audit.bounds import by_sharer, empirical_epsilon
from prime_audit.audit.design import Dealt, Design
from prime_audit.audit.intervals import Over, auc_difference, auc_interval, mean_tpr
from prime_audit.audit.mean_auc import AucEstimate, TargetScores
from prime_audit.audit.permutation import Permutation, holm, permutation_test
from prime_audit.audit.splitting import Bound
from prime_audit.audit.verdict import Against, PValues, Verdict, best_control, verdict

T = TypeVar("T")
PERMUTATIONS = 999


@dataclass(frozen=True, eq=False, kw_only=True)
class Scored:
    """One attack's scores in one game of one method: what is judged."""

    attack: str
    scores: Mapping[str, FloatArray]
    """Target → scores [items], higher = member; no NaN. Targets for which the attack is undefined are left out."""
    undefined: int
    """Items for which the attack is undefined: they have their target's median (``signals.settle``), or are left out
    with the target."""
    controls: Mapping[str, Mapping[str, FloatArray]]
    """Control → target → its scores of the same items."""
    silent: Mapping[str, str] = field(default_factory=dict)
    """Control → why it has no figure."""
    duplicate: str | None = None
    """The attack whose scores these repeat in this game (say ``reference``): its errors are not counted twice."""
    undefined_base: int = 0
    """Items for which the same score from the unmerged base is undefined, dealt with alike."""
    items: int = 0
    """Items scored, over all targets; 0: not counted."""

    @property
    def unknown(self) -> float:
        """The larger share of undefined items, of the attack and of the base."""
        return max(self.undefined, self.undefined_base) / self.items if self.items else 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Judged:
    """One attack's figure, with everything beside it. What is None has its reason in ``reasons``."""

    attack: str
    estimate: AucEstimate
    over: Over
    """What the interval takes as independent."""
    panels: Sequence[TargetScores]
    """What the figure was computed from: the targets with two sides."""
    controls: Mapping[str, AucEstimate]
    base_difference: AucEstimate | None
    """The AUC minus that of the same score from the unmerged base."""
    best: Against | None
    """The control with the highest AUC, and the difference to it."""
    tpr: Mapping[str, float | None]
    """By FPR: the mean over targets; None where some target has too few non-members."""
    p_deciding: float | None
    """The one-sided permutation p that the record calls ``p``, before correction over attacks: where membership was
    drawn, of the AUC minus the unmerged base's (*p over base*, where there is a base); else of the AUC."""
    p_adjusted: float | None
    """``p_deciding`` after Holm's correction over the attacks of this game and method."""
    p_reversed: float | None
    """Of an AUC as low, before correction."""
    undefined: int
    undefined_base: int
    verdict: Verdict
    epsilon: Bound | None
    """Empirical lower bound on ε (``bounds``)."""
    reasons: Mapping[str, str]
    """``interval``, ``p``, ``TPR@1%`` or ``ε`` → why it is None."""


def judge(
    design: Design,
    dealt: Sequence[Dealt],
    scored: Sequence[Scored],
    *,
    seed: int,
    permutations: int = PERMUTATIONS,
) -> list[Judged]:
    """Judge the attacks of one game and method together; ``dealt`` holds the targets it can be played on.

    Where whole sharers are the members, each is one row, with the mean of their items' scores. Undefined where no
    target's game has both sides.
    """
    if design.whole:
        scored = [_whole(dealt, one) for one in scored]
        dealt = [by_sharer(d, np.zeros(len(d.owners)))[0] for d in dealt]
    tested = [_test(design, dealt, one, seed, permutations) for one in scored]
    tests, game = _corrected(tested), _Game(design, dealt, len(scored), seed)
    return [_judge(game, one, raw, test) for one, raw, test in zip(scored, tested, tests, strict=True)]


@dataclass(frozen=True, eq=False)
class _Game:
    """What the attacks that are judged together share."""

    design: Design
    dealt: Sequence[Dealt]
    attacks: int
    seed: int


@dataclass(frozen=True)
class _Raw:
    """One attack's permutation tests, before correction; None where there was nothing to permute, for a reason."""

    auc: Permutation | None
    deciding: Permutation | None
    """Of the AUC minus the base's, where membership was drawn; else of the AUC."""
    reason: str | None


def _test(design: Design, dealt: Sequence[Dealt], scored: Scored, seed: int, n: int) -> _Raw:
    known = [d for d in dealt if d.target in scored.scores and d.playable]
    own, base = evenly(known, scored.scores), scored.controls.get("base")
    items = None if any(d.items is None for d in known) else [d.items for d in known]

    def permuted(minus: Sequence[TargetScores] | None = None) -> Permutation:
        return permutation_test(own, unit=design.unit, n=n, seed=seed, items=items, minus=minus)  # type: ignore[arg-type]

    try:
        raw = permuted()
        return _Raw(raw, permuted(evenly(known, base)) if base and design.randomised else raw, None)
    except Undefined as reason:
        return _Raw(None, None, str(reason))


def evenly(dealt: Sequence[Dealt], scores: Mapping[str, FloatArray]) -> list[TargetScores]:
    """Panels of the items that may be exchanged: all of a member's against a sample of another's are no match.

    A figure of more items is steadier, whatever membership carries; with all of them the test rejects too seldom.
    """
    return [
        panel
        if d.even is None
        else TargetScores(
            d.target, panel.scores[d.even], np.asarray(d.owners)[d.even].tolist(), d.members[d.even]
        )
        for d in dealt
        for panel in _panels([d], scores)
    ]


def _corrected(tested: Sequence[_Raw]) -> list[PValues]:
    """Correct each kind of p over the attacks that have one."""
    able = [(r.auc, r.deciding) for r in tested if r.auc and r.deciding]
    columns = (
        holm([auc.p for auc, _ in able]),
        holm([auc.p_reversed for auc, _ in able]),
        holm([deciding.p for _, deciding in able]),
    )
    rows = iter(zip(*columns, strict=True))
    return [
        PValues(*next(rows), floor=r.auc.floor * len(tested))
        if r.auc and r.deciding
        else PValues(None, None, None)
        for r in tested
    ]


def _judge(game: _Game, scored: Scored, raw: _Raw, tests: PValues) -> Judged:
    own, reasons = _panels(game.dealt, scored.scores), dict[str, str]()
    controls = {name: _panels(game.dealt, scores) for name, scores in scored.controls.items()}
    figures = {name: auc_interval(panels).estimate for name, panels in controls.items()}
    best = best_control(figures, game.design.selector)
    gaps = {
        name: auc_difference(own, panels).estimate
        for name, panels in controls.items()
        if name in ("base", best)
    }
    against = Against(best, figures[best].value, gaps[best]) if best else None
    interval = auc_interval(own)
    if interval.estimate.ci is None:
        reasons["interval"] = str(interval.estimate.reason)
    if raw.reason:
        reasons["p"] = raw.reason
    tpr = {f"{fpr:g}": _known(reasons, f"TPR@{100 * fpr:g}%", partial(mean_tpr, own, fpr)) for fpr in FPRS}
    bound = partial(empirical_epsilon, game.design, game.dealt, scored.scores, scored.controls.get("base"))
    epsilon = _known(reasons, "ε", partial(bound, attacks=game.attacks, seed=game.seed))
    said = verdict(
        interval.estimate,
        tests,
        against,
        randomised=game.design.randomised,
        epsilon=epsilon.value if epsilon else None,
        undefined=scored.unknown,
    )
    return Judged(
        attack=scored.attack,
        estimate=interval.estimate,
        over=interval.over,
        panels=own,
        controls=figures,
        base_difference=gaps.get("base"),
        best=against,
        tpr=tpr,
        p_deciding=raw.deciding.p if raw.deciding else None,
        p_adjusted=tests.p_deciding,
        p_reversed=raw.auc.p_reversed if raw.auc else None,
        undefined=scored.undefined,
        undefined_base=scored.undefined_base,
        verdict=said,
        epsilon=epsilon,
        reasons=reasons,
    )


def _whole(dealt: Sequence[Dealt], scored: Scored) -> Scored:
    """Average every score over each sharer's items."""

    def averaged(scores: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        return {d.target: by_sharer(d, scores[d.target])[1] for d in dealt if d.target in scores}

    controls = {name: averaged(scores) for name, scores in scored.controls.items()}
    return replace(scored, scores=averaged(scored.scores), controls=controls)


def _panels(dealt: Sequence[Dealt], scores: Mapping[str, FloatArray]) -> list[TargetScores]:
    """Games with both sides: a target whose coins all fell alike has no AUC."""
    return [d.panel(scores[d.target]) for d in dealt if d.target in scores and d.playable]


def _known(reasons: dict[str, str], what: str, find: Callable[[], T]) -> T | None:
    """Call ``find``; where its result is undefined, note why, and return None."""
    try:
        return find()
    except Undefined as reason:
        reasons[what] = str(reason)
        return None
