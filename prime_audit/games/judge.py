"""From scores to a judged figure: AUC, its controls, TPR, a test at the randomised unit, and a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from prime_audit.audit.auc import FPRS, FloatArray, Undefined
from prime_audit.audit.intervals import auc_difference, auc_interval, mean_tpr
from prime_audit.audit.panels import AucEstimate, Panel
from prime_audit.audit.permutation import Permutation, holm, permutation_test
from prime_audit.audit.verdict import Against, PValues, Verdict, best_control, verdict
from prime_audit.games.bounds import Bound, by_sharer, empirical_epsilon
from prime_audit.games.deal import Dealt, Game

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
    undefined_base: int = 0
    """Items the same score from the unmerged base said nothing of, dealt with alike."""
    items: int = 0
    """Items asked about, over all targets; 0: not counted."""

    @property
    def unknown(self) -> float:
        """The larger share of undefined items, of the attack and of the base."""
        return max(self.undefined, self.undefined_base) / self.items if self.items else 0.0


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
    """One-sided permutation p, before correction over attacks: where membership was drawn, of the AUC minus the
    unmerged base's; else of the AUC."""
    p_adjusted: float | None
    """After Holm's correction over the attacks of this game and method."""
    undefined: int
    undefined_base: int
    verdict: Verdict
    epsilon: Bound | None
    """Empirical lower bound on ε; None where the game carries none (``bounds``)."""


def judge(
    game: Game,
    dealt: Sequence[Dealt],
    scored: Sequence[Scored],
    *,
    seed: int,
    draws: int,
    permutations: int = PERMUTATIONS,
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
    tested = [_test(game, dealt, one, seed, permutations) for one in scored]
    tests = _corrected(tested)
    return [
        _judge(game, dealt, one, raw, test, len(scored), seed, draws)
        for one, raw, test in zip(scored, tested, tests, strict=True)
    ]


@dataclass(frozen=True)
class _Raw:
    """One attack's permutation tests, before correction; None where there was nothing to permute."""

    auc: Permutation | None
    gain: Permutation | None
    """The one that decides: of what the AUC has over the base's, where membership was drawn; else of the AUC."""


def _test(game: Game, dealt: Sequence[Dealt], scored: Scored, seed: int, n: int) -> _Raw:
    own, base = evenly(dealt, scored.scores), scored.controls.get("base")
    raw = _permutation(game, own, seed, n)
    return _Raw(
        raw, _permutation(game, own, seed, n, evenly(dealt, base)) if base and game.randomised else raw
    )


def evenly(dealt: Sequence[Dealt], scores: Mapping[str, FloatArray]) -> list[Panel]:
    """Panels of what may be exchanged: a member with all her items is no match for one of whom few were drawn.

    Her figure is steadier, or less so, whatever membership carries: with all her items the test rejects too seldom.
    """
    return [
        panel
        if d.even is None
        else Panel(d.target, panel.scores[d.even], np.asarray(d.owners)[d.even].tolist(), d.members[d.even])
        for d in dealt
        for panel in _panels([d], scores)
    ]


def _permutation(
    game: Game, panels: Sequence[Panel], seed: int, n: int, minus: Sequence[Panel] | None = None
) -> Permutation | None:
    """Test a game's AUC, or what it has over ``minus``; None where no relabelling differs from the data."""
    try:
        return permutation_test(panels, unit=game.unit, n=n, seed=seed, minus=minus)
    except Undefined:
        return None


def _corrected(tested: Sequence[_Raw]) -> list[PValues]:
    """Correct each kind of p over the attacks that have one."""
    able = [(r.auc, r.gain) for r in tested if r.auc and r.gain]
    columns = (
        holm([auc.p for auc, _ in able]),
        holm([auc.p_reversed for auc, _ in able]),
        holm([gain.p for _, gain in able]),
    )
    rows = iter(zip(*columns, strict=True))
    return [
        PValues(*next(rows), floor=r.auc.floor * len(tested))
        if r.auc and r.gain
        else PValues(None, None, None)
        for r in tested
    ]


def _judge(
    game: Game,
    dealt: Sequence[Dealt],
    scored: Scored,
    raw: _Raw,
    tests: PValues,
    attacks: int,
    seed: int,
    draws: int,
) -> Judged:
    own = _panels(dealt, scored.scores)
    controls = {name: _panels(dealt, scores) for name, scores in scored.controls.items()}
    figures = {name: auc_interval(panels, n=draws, seed=seed).estimate for name, panels in controls.items()}
    best = best_control(figures, game.selector)
    gaps = {
        name: auc_difference(own, panels, n=draws, seed=seed).estimate
        for name, panels in controls.items()
        if name in ("base", best)
    }
    against = Against(best, figures[best].value, gaps[best]) if best else None
    estimate = auc_interval(own, n=draws, seed=seed).estimate
    base = scored.controls.get("base")
    epsilon = empirical_epsilon(game, dealt, scored.scores, base, attacks=attacks, seed=seed)
    said = verdict(
        estimate,
        tests,
        against,
        randomised=game.randomised,
        epsilon=epsilon.value if epsilon else None,
        undefined=scored.unknown,
    )
    return Judged(
        scored.attack,
        estimate,
        figures,
        gaps.get("base"),
        against,
        {f"{fpr:g}": _tpr(own, fpr) for fpr in FPRS},
        raw.gain.p if raw.gain else None,
        tests.p_gain,
        scored.undefined,
        scored.undefined_base,
        said,
        epsilon,
    )


def _whole(dealt: Sequence[Dealt], scored: Scored) -> Scored:
    """Average every score over each sharer's items."""

    def averaged(scores: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        return {d.target: by_sharer(d, scores[d.target])[1] for d in dealt if d.target in scores}

    controls = {name: averaged(scores) for name, scores in scored.controls.items()}
    return replace(scored, scores=averaged(scored.scores), controls=controls)


def _panels(dealt: Sequence[Dealt], scores: Mapping[str, FloatArray]) -> list[Panel]:
    """Games with both sides: a target whose coins all fell alike has no AUC."""
    return [
        Panel(d.target, scores[d.target], d.owners, d.members)
        for d in dealt
        if d.target in scores and d.playable
    ]


def _tpr(panels: Sequence[Panel], fpr: float) -> float | None:
    """Mean over targets; None where one of them has too few non-members for so fine a rate."""
    try:
        return mean_tpr(panels, fpr)
    except Undefined:
        return None
