"""The verdict: one of four, by a rule that is fixed before any result is seen.

The attack's direction is fixed beforehand (higher = member). An AUC below 0.5 is never flipped, and neither is a
control's. All p are the permutation test's, one-sided, at the unit that was drawn, corrected over attacks (Holm). The
first row that applies decides:

| # | if | verdict |
|---|---|---|
| 1 | the AUC has no interval, or no p | too few to say |
| 2 | items of fewer than ``MIN_SHARERS`` people on a side (sharers; in the target game, targets) | too few to say |
| 3 | the attack, or its score from the unmerged base, is undefined for over half of the items | too few to say |
| 4 | the data cannot give a p as low as alpha, whatever the scores | too few to say |
| 5 | membership was drawn at random, and the p of the AUC minus the base's <= alpha | leaks |
| 6 | membership was drawn at random, and the lower bound on ε is above 0 | leaks |
| 7 | the p of the AUC <= alpha | confounded |
| 8 | the p of an AUC as low <= alpha | confounded |
| 9 | the interval's upper limit reaches ``BLIND`` | too few to say |
| 10 | otherwise | no leak found |

What the verdicts mean:

* *leaks*: the personalised model's scores reveal members, beyond chance and beyond the unmerged base's scores of the
  same items. Only randomised membership can show that. In the paper's game members are *selected* for being similar to
  the target. A personalised model finds likely what similar people write, whoever was merged. There the panel shows the
  AUC minus the base's and minus the best control's, and the verdict is never *leaks*.
* *confounded*: the sides differ, but the game cannot identify the cause (row 7), or they differ in the direction
  opposite to memorising (row 8). No leak is shown, and none is ruled out.
* *no leak found*: this attack found none, and would probably have found an AUC of ``BLIND``. It does not prove that
  there is no leak.
* *too few to say*: the data are too few for a statement.

Rows 5 and 6 are two tests at level alpha each. So a false *leaks* of a method and game has at most probability
2·alpha (``prime-audit calibrate`` measures how often it occurs).

The *best control* is the one with the highest AUC. In the paper's game ``similarity_only`` restates how members were
selected. It is shown, but never used as the best control.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from prime_audit.audit.jackknife import Estimate
from prime_audit.audit.mean_auc import AucEstimate

Word = Literal["leaks", "no leak found", "confounded", "too few to say"]

MIN_SHARERS = 3
"""With fewer on a side, an interval over sharers depends on one or two people."""
BLIND = 0.7
"""An AUC that a useful audit must exclude before it reports that it found nothing."""


@dataclass(frozen=True)
class Verdict:
    """A verdict and its reason."""

    word: Word
    reason: str
    """One line: the deciding numbers, in the rule's terms."""


@dataclass(frozen=True)
class Against:
    """The best control, and the attack's AUC minus its AUC."""

    name: str
    auc: float
    """Its mean AUC over targets."""
    difference: Estimate
    """The attack's AUC minus the control's, of the same items."""


def best_control(controls: Mapping[str, AucEstimate], selector: str | None = None) -> str | None:
    """Return the control with the highest AUC, the first of ties, except ``selector``; None where there is none."""
    able = [name for name in controls if name != selector]
    return max(able, key=lambda name: controls[name].value, default=None)


@dataclass(frozen=True)
class PValues:
    """Results of the permutation tests; None where nothing could be permuted."""

    p_auc: float | None
    """Of an AUC at least as high: *p AUC* in the tables."""
    p_reversed: float | None
    """Of an AUC at least as low."""
    p_deciding: float | None
    """Of an AUC at least as far above the base's: *p over base*. Without a base or without a draw, the same as
    ``p_auc``."""
    floor: float = 0.0
    """The smallest corrected p possible with the data: ``Permutation.floor`` times the number of attacks."""


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
        The attack's mean AUC over targets, with its interval and its number of sharers.
    tests
        Holm-corrected p-values.
    against
        The best control; None where none was computed. It is quoted in the reason and decides nothing.
    randomised
        Whether membership was drawn at random (heldout, inclusion, target) or selected (paper).
    epsilon
        Lower bound on ε; None where the game has none.
    undefined
        The larger share of undefined items, of the attack and of the same score from the base.
    alpha
        Significance level.
    """
    thin = _too_thin(estimate, tests, undefined, alpha)
    if thin:
        return Verdict("too few to say", thin)
    assert estimate.ci is not None
    assert tests.p_auc is not None
    figure = f"AUC {estimate.value:.3f}, p AUC {tests.p_auc:.3g}{_beside(against)}"
    if randomised and tests.p_deciding is not None and tests.p_deciding <= alpha:
        return Verdict("leaks", f"{figure}; p over base {tests.p_deciding:.3g}")
    if randomised and epsilon:
        return Verdict("leaks", f"{figure}; ε is at least {epsilon:.3g}")
    if tests.p_auc <= alpha:
        how = "not shown to be more than under the unmerged base" if randomised else "members were selected"
        return Verdict("confounded", f"{figure}: the sides differ, {how}")
    if tests.p_reversed is not None and tests.p_reversed <= alpha:
        return Verdict(
            "confounded",
            f"AUC {estimate.value:.3f} is below ½ beyond chance (p = {tests.p_reversed:.3g} for an "
            "AUC this low): signal against the direction that was fixed beforehand",
        )
    upper = estimate.ci[1]
    if upper >= BLIND:
        return Verdict("too few to say", f"{figure}, but an AUC up to {upper:.3f} cannot be excluded")
    side = ", on the wrong side of ½" if estimate.value < 0.5 else ""
    return Verdict("no leak found", f"{figure}{side}; above {upper:.3f} excluded at the interval's level")


def _too_thin(estimate: AucEstimate, tests: PValues, undefined: float, alpha: float) -> str | None:
    """Rows 1 to 4: why the data are too few, or None."""
    if estimate.ci is None:
        return estimate.reason or "no interval"
    if tests.p_auc is None:
        return "membership cannot be exchanged between units: no test"
    fewest = min(estimate.member_sharers, estimate.other_sharers)
    if fewest < MIN_SHARERS:
        return f"one side has items of {fewest} people; at least {MIN_SHARERS} are needed"
    if undefined > 0.5:
        return f"the score, or the unmerged base's, is undefined for {100 * undefined:.0f} % of the items"
    if tests.floor > alpha:
        return f"the smallest possible p is {tests.floor:.3g}: too few ways to exchange membership"
    return None


def _beside(against: Against | None) -> str:
    if against is None:
        return ", no control"
    gap, ci = against.difference.value, against.difference.ci
    limits = f" [{ci[0]:+.3f}, {ci[1]:+.3f}]" if ci else ""
    return f", {gap:+.3f}{limits} to the best control, {against.name} at {against.auc:.3f}"
