"""The verdict in words: one of four, by a rule that is fixed before any figure is seen.

The attack's direction is fixed beforehand (higher = member): an AUC below ½ is never turned round, and neither is a
control's. ``p`` and ``p_reversed`` are the permutation test's one-sided p-values at the unit that was randomised,
each corrected over attacks (Holm). The *best control* is the one with the highest AUC: of the controls on the side
of ½ where a leak lies, the farthest from ½ (where none lies there, the nearest to it). ``difference`` is the attack's
AUC minus the best control's, on the same bootstrap draws. The first row that applies decides:

| # | if | verdict |
|---|---|---|
| 1 | the figure has no interval, or no p | too few to say |
| 2 | items of fewer than ``MIN_SHARERS`` people on a side (sharers; in the target game, targets) | too few to say |
| 3 | the data cannot give a p as low as alpha, whatever the scores | too few to say |
| 4 | p <= alpha, and the difference's interval lies above 0 | leaks |
| 5 | p <= alpha, no control was computed, and membership was drawn at random | leaks |
| 6 | p <= alpha otherwise | confounded |
| 7 | p_reversed <= alpha | confounded |
| 8 | the interval's upper limit reaches ``BLIND`` | too few to say |
| 9 | otherwise | no leak found |

What the words mean. *leaks*: the score separates members, beyond chance and beyond all that separates them without
the personalised model. *confounded*: the sides differ, but no more than a control says (row 6), or against the
direction in which memorising would show (row 7): no leak is shown, and none is ruled out. *no leak found*: this
attack found none, and an AUC of ``BLIND`` would hardly have escaped it; it is not a proof that there is none.
*too few to say*: the data cannot carry a statement. Where membership was not drawn at random (the paper's game), p
asks whether the sides differ at all, so *leaks* rests on the difference to the controls.
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


def best_control(controls: Mapping[str, AucEstimate]) -> str | None:
    """Name the control with the highest AUC, the first of equals; None where there is no control."""
    return max(controls, key=lambda name: controls[name].value, default=None)


def verdict(
    estimate: AucEstimate,
    p: float | None,
    p_reversed: float | None,
    against: Against | None,
    *,
    floor: float = 0.0,
    randomised: bool,
    alpha: float = 0.05,
) -> Verdict:
    """Decide by the table above.

    Parameters
    ----------
    estimate
        The attack's mean AUC over targets, with its interval and the sharers it rests on.
    p, p_reversed
        Holm-corrected one-sided p-values; None where there was nothing to permute.
    against
        The best control; None where none was computed.
    floor
        The least corrected p the data could give: ``Permutation.floor`` times the number of attacks.
    randomised
        Whether membership was drawn at random (heldout, inclusion, target) or selected (paper).
    alpha
        Significance level.
    """
    thin = _too_thin(estimate, p, floor, alpha)
    if thin:
        return Verdict("too few to say", thin)
    assert p is not None
    assert estimate.ci is not None
    if p <= alpha:
        return _significant(f"AUC {estimate.value:.3f}, p {p:.3g}", against, randomised)
    if p_reversed is not None and p_reversed <= alpha:
        return Verdict(
            "confounded",
            f"AUC {estimate.value:.3f} lies below ½ beyond chance (p {p_reversed:.3g}): "
            "signal in the wrong direction, which was fixed beforehand",
        )
    upper = estimate.ci[1]
    if upper >= BLIND:
        return Verdict("too few to say", f"p {p:.3g}, but an AUC up to {upper:.3f} cannot be excluded")
    side = ", on the wrong side of ½" if estimate.value < 0.5 else ""
    limit = f"above {upper:.3f} excluded at the interval's level"
    return Verdict("no leak found", f"AUC {estimate.value:.3f}{side}, p {p:.3g}; {limit}")


def _too_thin(estimate: AucEstimate, p: float | None, floor: float, alpha: float) -> str | None:
    """Rows 1 to 3: why nothing can be said, or None."""
    if estimate.ci is None:
        return estimate.reason or "no interval"
    if p is None:
        return "membership cannot be exchanged between units: no test"
    fewest = min(estimate.member_sharers, estimate.other_sharers)
    if fewest < MIN_SHARERS:
        return f"one side rests on {fewest} people; at least {MIN_SHARERS} are needed"
    if floor > alpha:
        return f"the least possible p is {floor:.3g}: too few ways to exchange membership"
    return None


def _significant(figure: str, against: Against | None, randomised: bool) -> Verdict:
    """Rows 4 to 6."""
    if against is None:
        if randomised:
            return Verdict("leaks", f"{figure}; membership was drawn at random, no control was computed")
        return Verdict("confounded", f"{figure}; membership was selected, and no control was computed")
    gap, ci = against.difference.value, against.difference.ci
    beside = f"{figure}; {gap:+.3f} to the best control, {against.name} at {against.auc:.3f}"
    if ci is None:
        return Verdict("confounded", f"{beside}, with no interval to tell them apart")
    limits = f"{beside}, interval [{ci[0]:+.3f}, {ci[1]:+.3f}]"
    return Verdict("leaks", limits) if ci[0] > 0 else Verdict("confounded", f"{limits} does not lie above 0")
