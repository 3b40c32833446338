"""From scores to a judged figure: AUC, its controls, TPR, a test at the randomised unit, ε and a verdict.

Runs, ``attack``, ``stats`` and ``calibrate`` all go through :func:`judge_all`. It knows of a game
its ``Design`` and the rows dealt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np
from scipy.special import stdtrit

from prime_audit.audit.auc import FPRS, FloatArray, Undefined
from prime_audit.audit.bounds import Bound, by_sharer, empirical_epsilon
from prime_audit.audit.design import Dealt, Design
from prime_audit.audit.intervals import Over, auc_difference, auc_interval, mean_tpr
from prime_audit.audit.mean_auc import AucEstimate, TargetScores
from prime_audit.audit.people import Shares, flipped, shares
from prime_audit.audit.permutation import PERMUTATIONS, POWER, Column, Relabelled, relabel
from prime_audit.audit.verdict import ALPHA, Against, Evidence, Verdict, best_control, verdict

T = TypeVar("T")
SIGN = 0.01
"""p at which the base's scores are a sign of selection, where membership was given. Where no p can be so small,
the smallest possible one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Scored:
    """One attack's scores in one game of one method: what is judged."""

    attack: str
    scores: Mapping[str, FloatArray]
    """Target → scores [items], higher = member; no NaN. Targets for which the attack is undefined are left out."""
    undefined: int
    """Items for which the attack is undefined: they have their target's median (``signals.settle_both``), or are left
    out with the target."""
    controls: Mapping[str, Mapping[str, FloatArray]]
    """Control → target → its scores of the same items."""
    silent: Mapping[str, str] = field(default_factory=dict)
    """Control → why it has no figure."""
    duplicate: str | None = None
    """The attack whose scores these repeat in this game (say ``reference``): its errors are not counted twice."""
    undefined_base: int = 0
    """Items for which the same score from the unmerged base is undefined, dealt with alike."""
    undefined_either: int = 0
    """Items for which one or both are: they are neutral on both sides."""
    items: int = 0
    """Items scored, over all targets; 0: not counted."""
    paired: Mapping[str, FloatArray] | None = None
    """Target → the scores from which gains over the base are taken (tail, ε): where either side is undefined, the
    base's plus the target's median gain. None: ``scores``."""

    @property
    def unknown(self) -> float:
        """The share of items that are undefined by the attack, on the model or on the base."""
        return (
            max(self.undefined, self.undefined_base, self.undefined_either) / self.items
            if self.items
            else 0.0
        )


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
    tests: Relabelled | None
    """The permutation tests; None where nothing could be exchanged."""
    undefined: int
    undefined_base: int
    evidence: Evidence
    """What the verdict is made from."""
    epsilon: Bound | None
    """Empirical lower bound on ε (``bounds``)."""
    reasons: Mapping[str, str]
    """``interval``, ``p``, ``TPR@1%`` or ``ε`` → why it is None."""

    @property
    def p_deciding(self) -> float | None:
        """The one-sided permutation p that the record calls ``p``, uncorrected: where membership was drawn, of the AUC
        minus the unmerged base's (where there is a base); else of the AUC.
        """
        return self.tests.p_gain if self.tests else None

    @property
    def p_adjusted(self) -> float | None:
        """The smaller p of gain and tail, corrected over attacks and methods."""
        return self.tests.adjusted if self.tests else None

    @property
    def p_reversed(self) -> float | None:
        """Of an AUC as low, uncorrected."""
        return self.tests.p_reversed if self.tests else None

    @property
    def verdict(self) -> Verdict:
        """The verdict where this task is all that was audited."""
        return verdict(self.evidence)


@dataclass(frozen=True, eq=False, kw_only=True)
class Entry:
    """One method's game."""

    dealt: Sequence[Dealt]
    """The targets it can be played on."""
    scored: Sequence[Scored]
    """What each attack says of them."""


def judge(
    design: Design,
    dealt: Sequence[Dealt],
    scored: Sequence[Scored],
    *,
    seed: int,
    permutations: int = PERMUTATIONS,
) -> list[Judged]:
    """Judge the attacks of one game and method alone; see :func:`judge_all`."""
    entry = Entry(dealt=dealt, scored=scored)
    return judge_all(design, [entry], seed=seed, permutations=permutations)[0]


def judge_all(
    design: Design,
    entries: Sequence[Entry],
    *,
    seed: int,
    permutations: int = PERMUTATIONS,
) -> list[list[Judged]]:
    """Judge all methods of one task and game together: their attacks are one family of tests.

    Where whole sharers are the members, each is one row, with the mean of their items' scores. Undefined where a method
    has no target whose game has both sides.
    """
    if design.whole:
        entries = [
            Entry(
                dealt=[by_sharer(d, np.zeros(len(d.owners)))[0] for d in entry.dealt],
                scored=[_whole(entry.dealt, one) for one in entry.scored],
            )
            for entry in entries
        ]
    tested, selected = _test(design, entries, seed, permutations)
    if design.whole:
        tested = _over_people(entries, tested, seed)
    return [
        [
            _judge(_Game(design, entry, signs, seed), one, tests)
            for one, tests in zip(entry.scored, own, strict=True)
        ]
        for entry, own, signs in zip(entries, tested, selected, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Game:
    """What the attacks that are judged together share."""

    design: Design
    entry: Entry
    signs: Sequence[str]
    seed: int

    @property
    def attacks(self) -> int:
        """Count the attacks among which errors are shared: duplicates say nothing new."""
        return sum(one.duplicate is None for one in self.entry.scored) or 1


def _test(
    design: Design, entries: Sequence[Entry], seed: int, n: int
) -> tuple[list[list[Relabelled | str]], list[list[str]]]:
    """Run the permutation tests of all attacks and methods -> by method, each attack's; and signs of selection."""
    columns = [
        Column(dealt=entry.dealt, scores=one.scores, base=one.controls.get("base"), paired=one.paired)
        for entry in entries
        for one in entry.scored
    ]
    try:
        found = relabel(
            columns,
            unit=design.unit,
            apart=design.whole,
            n=n,
            seed=seed,
            drawn=design.randomised,
            signs=any(map(_given, entries)),
        )
    except Undefined as reason:
        found = [str(reason)] * len(columns)
    rest = iter(found)
    tested = [[next(rest) for _ in entry.scored] for entry in entries]
    return tested, [_signs(entry, own) for entry, own in zip(entries, tested, strict=True)]


def _given(entry: Entry) -> bool:
    return any(d.given for d in entry.dealt)


def _signs(entry: Entry, tests: Sequence[Relabelled | str]) -> list[str]:
    """List signs that membership was selected: the games' own, and a base that tells members."""
    found = list(dict.fromkeys(sign for d in entry.dealt for sign in d.signs))
    if not _given(entry):
        return found
    able = [t for t in tests if isinstance(t, Relabelled)]
    p, floor = min(
        ((t.adjusted_base, t.floor) for t in able if t.adjusted_base is not None), default=(1.0, 0.0)
    )
    if p <= max(SIGN, floor):
        found.append(
            f"the unmerged base's scores tell members apart within their owners' items (p = {p:.2g})"
        )
    return found


def _judge(game: _Game, scored: Scored, tests: Relabelled | str) -> Judged:
    dealt, design = game.entry.dealt, game.design
    own, reasons = _panels(dealt, scored.scores), dict[str, str]()
    controls = {name: _panels(dealt, scores) for name, scores in scored.controls.items()}
    figures = {name: auc_interval(panels).estimate for name, panels in controls.items()}
    best = best_control(figures, design.selector)
    gaps = {
        name: auc_difference(own, panels).estimate
        for name, panels in controls.items()
        if name in ("base", best)
    }
    against = Against(best, figures[best].value, gaps[best]) if best else None
    interval = auc_interval(own)
    if interval.estimate.ci is None:
        reasons["interval"] = str(interval.estimate.reason)
    if isinstance(tests, str):
        reasons["p"] = tests
    tpr = {f"{fpr:g}": _known(reasons, f"TPR@{100 * fpr:g}%", partial(mean_tpr, own, fpr)) for fpr in FPRS}
    drawn = replace(design, randomised=design.randomised and not game.signs)
    bound = partial(
        empirical_epsilon, drawn, dealt, scored.paired or scored.scores, scored.controls.get("base")
    )
    evidence = Evidence(
        estimate=interval.estimate,
        tests=tests,
        against=against,
        drawn=design.randomised,
        signs=tuple(game.signs),
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
        tests=None if isinstance(tests, str) else tests,
        undefined=scored.undefined,
        undefined_base=scored.undefined_base,
        evidence=evidence,
        epsilon=_known(reasons, "ε", partial(bound, attacks=game.attacks, seed=game.seed)),
        reasons=reasons,
    )


def _over_people(
    entries: Sequence[Entry], tested: Sequence[Sequence[Relabelled | str]], seed: int
) -> list[list[Relabelled | str]]:
    """Raise the corrected p of leaks to those of the test over people (``people``); all figures are one family."""
    every = [shares(_panels(e.dealt, one.scores), _base(e, one)) for e in entries for one in e.scored]
    both = iter(zip(every, flipped(every, seed), strict=True))
    return [
        [t if isinstance(t, str) else _raised(t, *one) for t, one in zip(own, both, strict=False)]
        for own in tested
    ]


def _base(entry: Entry, scored: Scored) -> list[TargetScores] | None:
    base = scored.controls.get("base")
    return None if base is None else _panels(entry.dealt, base)


def _raised(tests: Relabelled, own: Shares | None, p: float) -> Relabelled:
    """Join the tests of one figure with its test over people; what is ``detectable`` both find."""
    least = tests.detectable
    if own and least is not None:
        freedom, se = len(own) - 1, float(np.std([*own.values()], ddof=1)) / math.sqrt(len(own))
        least = max(least, 0.5 + se * float(stdtrit(freedom, 1 - ALPHA) + stdtrit(freedom, POWER)))
    return replace(
        tests,
        p_people=p,
        adjusted=max(tests.adjusted, p),
        adjusted_auc=max(tests.adjusted_auc, p),
        floor=max(tests.floor, 2.0 ** -len(own or ())),
        detectable=None if least is None or least > 1 else least,
    )


def _whole(dealt: Sequence[Dealt], scored: Scored) -> Scored:
    """Average every score over each sharer's items."""

    def averaged(scores: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        return {d.target: by_sharer(d, scores[d.target])[1] for d in dealt if d.target in scores}

    controls = {name: averaged(scores) for name, scores in scored.controls.items()}
    paired = None if scored.paired is None else averaged(scored.paired)
    return replace(scored, scores=averaged(scored.scores), controls=controls, paired=paired)


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
