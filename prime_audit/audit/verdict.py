"""The verdict in words: one of four, by a rule that is fixed before any figure is seen.

The attack's direction is fixed beforehand (higher = member): an AUC below ½ is never turned round, and neither is a
control's. All p are the permutation test's, one-sided, at the unit that was drawn, corrected over attacks (Holm). The
first row that applies decides:

| # | if | verdict |
|---|---|---|
| 1 | the figure has no interval, or no p | too few to say |
| 2 | items of fewer than ``MIN_SHARERS`` people on a side (sharers; in the target game, targets) | too few to say |
| 3 | the attack, or its score from the unmerged base, is undefined for over half of the items | too few to say |
| 4 | the data cannot give a p as low as alpha, whatever the scores | too few to say |
| 5 | membership was drawn at random, and the p of the AUC minus the base's <= alpha | leaks |
| 6 | membership was drawn at random, and the lower bound on ε lies above 0 | leaks |
| 7 | the p of the AUC <= alpha | confounded |
| 8 | the p of an AUC as low <= alpha | confounded |
| 9 | the interval's upper limit reaches ``BLIND`` | too few to say |
| 10 | otherwise | no leak found |

What the words mean. *leaks*: the personalised model's scores tell members, beyond the luck of the draw and beyond what
the unmerged base says of the same items. Only where membership was drawn at random can a score show that: in the
paper's game members are *selected*, for being like the target, and what a model personalised to her finds likely is
what people like her write, whoever was merged. There the panel shows what the AUC has over the base and over the best
control, and no figure of that game is called a leak. *confounded*: the sides differ, and the game cannot say by what
(row 7), or they differ against the direction in which memorising would show (row 8): no leak is shown, and none is
ruled out. *no leak found*: this attack found none, and an AUC of ``BLIND`` would hardly have escaped it; it is not a
proof that there is none. *too few to say*: the data cannot carry a statement.

Rows 5 and 6 are two looks at level alpha each, so a false *leaks* of a method and game has at most probability 2·alpha
(``prime-audit calibrate`` counts how often it comes).

The *best control* is the one with the highest AUC: of the controls on the side of ½ where a leak lies, the farthest
from ½ (where none lies there, the nearest to it). In the paper's game ``similarity_only`` restates how members were
selected; it is shown, and no other figure is compared with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from prime_audit.audit.bootstrap import Estimate
from prime_audit.audit.panels import AucEstimate

Word = Literal["leaks", "no leak found", "confounded", "too few to say"]

MIN_SHARERS = 3
"""With fewer on a side, an interval over sharers rests on one or two people."""
BLIND = 0.7
"""An AUC a useful audit must be able to exclude before it says that it found nothing."""


@dataclass(frozen=True)
class Verdict:
    """A word and why."""

    word: Word
    """The verdict."""
    reason: str
    """One line: the numbers that decided, in the rule's terms."""


@dataclass(frozen=True)
class Against:
    """The best control and what the attack has over it."""

    name: str
    """The control's name."""
    auc: float
    """Its mean AUC over targets."""
    difference: Estimate
    """The attack's AUC minus the control's, on the same draws."""


def best_control(controls: Mapping[str, AucEstimate], selector: str | None = None) -> str | None:
    """Name the control with the highest AUC, the first of equals, but for ``selector``; None where there is none."""
    able = [name for name in controls if name != selector]
    return max(able, key=lambda name: controls[name].value, default=None)


@dataclass(frozen=True)
class PValues:
    """What the permutation tests gave; None where there was nothing to permute."""

    p: float | None
    """Of an AUC as high: *p AUC* in the tables."""
    p_reversed: float | None
    """Of an AUC as low."""
    p_gain: float | None
    """Of as much over the unmerged base's AUC: *p over base* (over ½, where there is no base, or nothing was drawn)."""
    floor: float = 0.0
    """The least corrected p the data could give: ``Permutation.floor`` times the number of attacks."""


def verdict(
    estimate: AucEstimate,
    tests: PValues,
    against: Against | None,
    *,
    randomised: bool,
    epsilon: float | None = None,
    undefined: float = 0.0,
    alpha: float = 0.05,
) -> Verdict:
    """Decide by the table above.

    Parameters
    ----------
    estimate
        The attack's mean AUC over targets, with its interval and the sharers it rests on.
    tests
        Holm-corrected p-values.
    against
        The best control; None where none was computed. It stands in the reason and decides nothing.
    randomised
        Whether membership was drawn at random (heldout, inclusion, target) or selected (paper).
    epsilon
        Lower bound on ε; None where the game carries none.
    undefined
        The larger share of undefined items, of the attack and of the same score from the base.
    alpha
        Significance level.
    """
    thin = _too_thin(estimate, tests, undefined, alpha)
    if thin:
        return Verdict("too few to say", thin)
    assert estimate.ci is not None
    assert tests.p is not None
    figure = f"AUC {estimate.value:.3f}, p AUC {tests.p:.3g}{_beside(against)}"
    if randomised and tests.p_gain is not None and tests.p_gain <= alpha:
        return Verdict("leaks", f"{figure}; p over base {tests.p_gain:.3g}")
    if randomised and epsilon:
        return Verdict("leaks", f"{figure}; ε is at least {epsilon:.3g}")
    if tests.p <= alpha:
        how = "not shown to be more than under the unmerged base" if randomised else "members were selected"
        return Verdict("confounded", f"{figure}: the sides differ, {how}")
    if tests.p_reversed is not None and tests.p_reversed <= alpha:
        return Verdict(
            "confounded",
            f"AUC {estimate.value:.3f} lies below ½ beyond chance (p of an AUC as low {tests.p_reversed:.3g}): "
            "signal in the wrong direction, which was fixed beforehand",
        )
    upper = estimate.ci[1]
    if upper >= BLIND:
        return Verdict("too few to say", f"{figure}, but an AUC up to {upper:.3f} cannot be excluded")
    side = ", on the wrong side of ½" if estimate.value < 0.5 else ""
    return Verdict("no leak found", f"{figure}{side}; above {upper:.3f} excluded at the interval's level")


def _too_thin(estimate: AucEstimate, tests: PValues, undefined: float, alpha: float) -> str | None:
    """Rows 1 to 4: why nothing can be said, or None."""
    if estimate.ci is None:
        return estimate.reason or "no interval"
    if tests.p is None:
        return "membership cannot be exchanged between units: no test"
    fewest = min(estimate.member_sharers, estimate.other_sharers)
    if fewest < MIN_SHARERS:
        return f"one side rests on {fewest} people; at least {MIN_SHARERS} are needed"
    if undefined > 0.5:
        return f"the score, or the same of the unmerged base, is undefined for {100 * undefined:.0f} % of the items"
    if tests.floor > alpha:
        return f"the least possible p is {tests.floor:.3g}: too few ways to exchange membership"
    return None


def _beside(against: Against | None) -> str:
    if against is None:
        return ", no control"
    gap, ci = against.difference.value, against.difference.ci
    limits = f" [{ci[0]:+.3f}, {ci[1]:+.3f}]" if ci else ""
    return f", {gap:+.3f}{limits} to the best control, {against.name} at {against.auc:.3f}"
