"""From scores to a judged figure: AUC, its controls, TPR, a test at the randomised unit, and a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from prime_audit.audit.auc import FloatArray, Undefined
from prime_audit.audit.bounds import Bound, by_sharer, empirical_epsilon
from prime_audit.audit.games import Dealt, Game
from prime_audit.audit.intervals import auc_difference, auc_interval, mean_tpr
from prime_audit.audit.panels import AucEstimate, Panel
from prime_audit.audit.permutation import Permutation, holm, permutation_test
from prime_audit.audit.verdict import Against, Verdict, best_control, verdict

FPRS = (0.1, 0.01, 0.001)
"""False-positive rates at which a TPR is reported, where the non-members can carry it."""
PERMUTATIONS = 999


@dataclass(frozen=True, eq=False)
class Scored:
    """One attack's scores in one game of one method: what is judged."""

    attack: str
    scores: Mapping[str, FloatArray]
    """Target → scores [items], higher = member; no NaN; without targets it says nothing of."""
    undefined: int
    """Items the attack said nothing of: given their target's median (``signals.settle``), or left out with her."""
    controls: Mapping[str, Mapping[str, FloatArray]]
    """Control → target → its scores of the same items."""
    silent: Mapping[str, str] = field(default_factory=dict)
    """Control → why it has no figure."""


@dataclass(frozen=True, eq=False)
class Judged:
    """One attack's figure, with everything beside it."""

    attack: str
    estimate: AucEstimate
    controls: Mapping[str, AucEstimate]
    base_difference: AucEstimate | None
    """The AUC minus that of the same score from the unmerged base."""
    best: Against | None
    """The control with the highest AUC, and the difference to it."""
    tpr: Mapping[str, float | None]
    """By FPR: the mean over targets; None where some target has too few non-members."""
    p: float | None
    """One-sided permutation p, before correction over attacks."""
    p_adjusted: float | None
    """After Holm's correction over the attacks of this game and method."""
    undefined: int
    verdict: Verdict
    epsilon: Bound | None
    """Empirical lower bound on ε; None where the game carries none (``bounds``)."""


def judge(
    game: Game, dealt: Sequence[Dealt], scored: Sequence[Scored], *, seed: int, draws: int
) -> list[Judged]:
    """Judge the attacks of one game and method together; ``dealt`` holds the playable targets and their owners.

    Where the game has whole sharers as members, each is one row, with the mean of her items' scores.

    Raises
    ------
    Undefined
        Where no target's game has both sides.
    """
    if game.whole:
        scored = [_whole(dealt, one) for one in scored]
        dealt = [by_sharer(d, np.zeros(len(d.owners)))[0] for d in dealt]
    tests = [_test(game, _panels(dealt, one.scores), seed) for one in scored]
    adjusted = iter(holm([t.p for t in tests if t]))
    reversed_ = iter(holm([t.p_reversed for t in tests if t]))
    judged = []
    for one, test in zip(scored, tests, strict=True):
        corrected = (next(adjusted), next(reversed_)) if test else None
        judged.append(_judge(game, dealt, one, test, corrected, len(scored), seed, draws))
    return judged


def _judge(
    game: Game,
    dealt: Sequence[Dealt],
    scored: Scored,
    test: Permutation | None,
    corrected: tuple[float, float] | None,
    attacks: int,
    seed: int,
    draws: int,
) -> Judged:
    own = _panels(dealt, scored.scores)
    controls = {name: _panels(dealt, scores) for name, scores in scored.controls.items()}
    figures = {name: auc_interval(panels, n=draws, seed=seed).estimate for name, panels in controls.items()}
    best = best_control(figures)
    gaps = {
        name: auc_difference(own, panels, n=draws, seed=seed).estimate
        for name, panels in controls.items()
        if name in ("base", best)
    }
    against = Against(best, figures[best].value, gaps[best]) if best else None
    estimate = auc_interval(own, n=draws, seed=seed).estimate
    p, p_reversed = corrected or (None, None)
    return Judged(
        scored.attack,
        estimate,
        figures,
        gaps.get("base"),
        against,
        {f"{fpr:g}": _tpr(own, fpr) for fpr in FPRS},
        test.p if test else None,
        p,
        scored.undefined,
        verdict(
            estimate,
            p,
            p_reversed,
            against,
            floor=(test.floor if test else 0.0) * attacks,
            randomised=game.randomised,
        ),
        empirical_epsilon(
            game, dealt, scored.scores, scored.controls.get("base"), attacks=attacks, seed=seed
        ),
    )


def _whole(dealt: Sequence[Dealt], scored: Scored) -> Scored:
    """Average every score over each sharer's items."""

    def averaged(scores: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        return {d.target: by_sharer(d, scores[d.target])[1] for d in dealt if d.target in scores}

    controls = {name: averaged(scores) for name, scores in scored.controls.items()}
    return replace(scored, scores=averaged(scored.scores), controls=controls)


def _panels(dealt: Sequence[Dealt], scores: Mapping[str, FloatArray]) -> list[Panel]:
    return [Panel(d.target, scores[d.target], d.owners, d.members) for d in dealt if d.target in scores]


def _test(game: Game, panels: Sequence[Panel], seed: int) -> Permutation | None:
    try:
        return permutation_test(panels, unit=game.unit, n=PERMUTATIONS, seed=seed)
    except Undefined:
        return None


def _tpr(panels: Sequence[Panel], fpr: float) -> float | None:
    """Mean over targets; None where one of them has too few non-members for so fine a rate."""
    try:
        return mean_tpr(panels, fpr)
    except Undefined:
        return None
