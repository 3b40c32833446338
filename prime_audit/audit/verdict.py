"""The verdict: one of five, by a rule that is fixed before any result is seen.

The attack's direction is fixed beforehand (higher = member). An AUC below 0.5 is never flipped, and neither is a
control's. ``RULE`` is the whole rule: the first row that applies decides. ``OUTCOMES`` says what each verdict means and
what to do about it. Docs and tests read both.

*q* is the smallest level at which a figure is called, over everything that was asked together: the attacks and methods
of a task and game share one family of permutation tests (max-T, ``permutation``), with three looks at each figure: the
AUC's gain over the unmerged base's, the tail of the gains, and the AUC together with the base's (*already*). So all
rows that say *leaks* share one alpha. Over the tasks of a run families are selected by Benjamini and Hochberg's step
(``permutation.over_families``). Where people are drawn anew for each target (inclusion), the gain must be beyond
chance over people as well (``people``). In games whose members were selected, the AUC itself takes the gain's place.

Only drawn membership can show a leak. In the paper's game members are *selected* for being similar to the target. A
personalised model finds likely what similar people write, whoever was merged. And where membership was drawn, nothing
confounds: an AUC beyond chance that is neither the model's nor the base's is an unlucky draw.

*No leak found* says what it excludes: an AUC above the interval's upper limit, and more fully memorised members than
the tail bounds. The first sees a little of everyone, the second few that are certain. ε decides nothing by itself.

The *best control* is the one with the highest AUC. In the paper's game ``similarity_only`` restates how members were
selected. It is shown, but never used as the best control.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from prime_audit.audit.jackknife import LEVEL, Estimate
from prime_audit.audit.mean_auc import AucEstimate
from prime_audit.audit.permutation import POWER, Relabelled, Top, not_excluded, over_families, tail_size

Word = Literal["leaks", "leaks, already in the base", "no leak found", "confounded", "too few to say"]

EDITION = 3
"""Of the rule; runs before there was a number followed edition 1."""
ALPHA = 0.05
MIN_SHARERS = 5
"""With fewer on a side, an interval over sharers depends on one or two people."""
BLIND = 0.55
"""An AUC that an audit must exclude before it reports that it found nothing."""
MANY = 10_000
"""More people or items than this are no advice."""
SPARSE = 0.10
"""A share of fully memorised members that it must exclude as well."""


@dataclass(frozen=True)
class Outcome:
    """What a verdict means."""

    means: str
    do: str
    """What a reader can do."""


OUTCOMES: Mapping[Word, Outcome] = {
    "leaks": Outcome(
        "scores reveal members, beyond chance and beyond the unmerged base", "treat it as a leak"
    ),
    "leaks, already in the base": Outcome(
        "scores reveal members, but so do the unmerged base's",
        "look at what the base, or its adaptation, was trained on",
    ),
    "confounded": Outcome(
        "members were selected, or seem to have been",
        "play a game with drawn membership, or draw the held-out items at random",
    ),
    "too few to say": Outcome(
        "neither a leak nor its absence is shown", "add as many people or items as the reason says"
    ),
    "no leak found": Outcome(
        "nothing beyond chance; the reason says what is excluded", "try stronger attacks; it is not a proof"
    ),
}


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


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a verdict is made from."""

    estimate: AucEstimate
    """The attack's mean AUC over targets, with its interval and its number of sharers."""
    tests: Relabelled | str
    """The permutation tests, or why there are none."""
    against: Against | None = None
    """The best control; None where none was computed. It is quoted in the reason and decides nothing."""
    drawn: bool
    """Whether membership was drawn at random (heldout, inclusion, target) or selected (paper)."""
    signs: tuple[str, ...] = ()
    """Signs that it was selected after all."""
    undefined: float = 0.0
    """The share of items for which the attack is undefined, on the model or on the base."""

    @property
    def p_leak(self) -> float:
        """Of gain or tail, corrected within task and game."""
        return 1.0 if isinstance(self.tests, str) else self.tests.adjusted

    @property
    def p_already(self) -> float:
        """Of the AUC and the base's together, corrected within task and game."""
        found = None if isinstance(self.tests, str) else self.tests.adjusted_already
        return 1.0 if found is None else found


@dataclass(frozen=True)
class _Facts:
    """Evidence with its q."""

    e: Evidence
    tests: Relabelled
    """Of evidence that has tests."""
    q: float
    q_already: float

    @property
    def figure(self) -> str:
        """The AUC, beside the best control's."""
        return (
            f"AUC {self.e.estimate.value:.3f}, p AUC {self.tests.adjusted_auc:.3g}{_beside(self.e.against)}"
        )

    @property
    def aside(self) -> str:
        """What else is beyond chance, and shows no leak."""
        t = self.tests
        if t.p_people is not None and t.p_people > ALPHA and min(t.p_gain, t.p_tail) <= ALPHA:
            return (
                f"; exchanging coins finds a gain (p {min(t.p_gain, t.p_tail):.3g}), but over people it is not beyond "
                f"chance (p {t.p_people:.3g}): the luck of a few adapters is enough"
            )
        if self.tests.adjusted_auc <= ALPHA:
            return "; the AUC is beyond chance, but neither its gain nor the base's is: an unlucky draw"
        return ""

    @property
    def low(self) -> str | None:
        """An AUC as low, where that is beyond chance."""
        p = self.tests.adjusted_reversed
        return f"an AUC this low is beyond chance (p = {p:.3g})" if p <= ALPHA else None


@dataclass(frozen=True)
class Row:
    """A row of the rule."""

    when: str
    """In words, for the docs."""
    word: Word
    holds: Callable[[Evidence, float, float], str | None]
    """(evidence, q, q of *already*) → the reason where the row applies, else None."""


def _thin(e: Evidence, _q: float, _already: float) -> str | None:
    if isinstance(e.tests, str):
        return e.tests
    fewest = min(e.estimate.member_sharers, e.estimate.other_sharers)
    if fewest < MIN_SHARERS:
        return f"one side has items of {fewest} people; at least {MIN_SHARERS} on each side are needed"
    if e.undefined > 0.5:
        return f"the score, or the unmerged base's, is undefined for {100 * e.undefined:.0f} % of the items"
    if e.tests.still:
        return (
            "the score does not vary: neither its gain over the base nor the tail depends on who is a member"
        )
    if e.tests.floor > ALPHA:
        times = math.log(ALPHA) / math.log(e.tests.floor) if e.tests.floor < 1 else math.inf
        people = f"; about {math.ceil(times * fewest):,} people on a side, now {fewest}, or {times:.2g} times the items"
        return (
            f"the smallest possible p is {e.tests.floor:.3g}: too few ways to exchange membership"
            f"{people + ', would be enough' if times < 1e3 else ''}"
        )
    return None


def _facts(e: Evidence, q: float, already: float) -> _Facts:
    assert not isinstance(e.tests, str)
    return _Facts(e, e.tests, q, already)


def _signs(e: Evidence, q: float, already: float) -> str | None:
    if not e.signs:
        return None
    return f"signs of selection: {'; '.join(e.signs)}. {_facts(e, q, already).figure}"


def _leaks(e: Evidence, q: float, already: float) -> str | None:
    if not e.drawn or q > ALPHA:
        return None
    f = _facts(e, q, already)
    people = "" if f.tests.p_people is None else f", over people {f.tests.p_people:.3g}"
    return f"{f.figure}; q {q:.3g}: p over base {f.tests.p_gain:.3g}{people}, {_tail(f.tests)}"


def _already(e: Evidence, q: float, already: float) -> str | None:
    if not e.drawn or already > ALPHA:
        return None
    f = _facts(e, q, already)
    return (
        f"{f.figure}; q {already:.3g} of this AUC and the unmerged base's together; more than the base's is not shown "
        f"(q {q:.3g})"
    )


def _selected(e: Evidence, q: float, already: float) -> str | None:
    if e.drawn:
        return None
    f = _facts(e, q, already)
    if q <= ALPHA:
        return f"{f.figure}, {_tail(f.tests)}; q {q:.3g}: the sides differ, members were selected"
    if f.low:
        return f"{f.figure}: the sides differ, against the attack's direction: {f.low}"
    return None


def _turned(e: Evidence, q: float, already: float) -> str | None:
    f = _facts(e, q, already)
    if not e.drawn or not f.low:
        return None
    return (
        f"{f.figure}; {f.low}: a score of the wrong sign, or an unlucky draw. Check the attack's direction, or run "
        "with another seed"
    )


def _open(e: Evidence, q: float, already: float) -> str | None:
    f = _facts(e, q, already)
    ci, excluded = e.estimate.ci, f.tests.excluded
    if ci is None:
        return f"{f.figure}; no interval: {e.estimate.reason or 'unknown'}{f.aside}"
    left = []
    if ci[1] >= BLIND:
        left.append(f"an AUC up to {ci[1]:.3f}")
    if excluded is None or excluded > SPARSE:
        left.append(
            f"{'any share' if excluded is None else f'{100 * excluded:.3g} %'} of fully memorised members"
        )
    if not left:
        return None
    return f"{f.figure}, but {' and '.join(left)} cannot be excluded{_enough(e, f.tests)}{_found(e, f.tests)}{f.aside}"


def _none(e: Evidence, q: float, already: float) -> str | None:
    f = _facts(e, q, already)
    assert e.estimate.ci is not None
    assert f.tests.excluded is not None
    return (
        f"{f.figure}; AUC above {e.estimate.ci[1]:.3f} and more than {100 * f.tests.excluded:.2g} % fully memorised "
        f"members excluded{_found(e, f.tests)}{f.aside}"
    )


RULE = (
    Row(
        f"there is no p, one side has items of fewer than {MIN_SHARERS} people, scores are undefined for over half of "
        f"the items, the score does not vary, or no relabelling could give p ≤ {ALPHA:g}",
        "too few to say",
        _thin,
    ),
    Row("membership shows signs of selection", "confounded", _signs),
    Row(f"membership was drawn, and q ≤ {ALPHA:g}", "leaks", _leaks),
    Row(
        f"membership was drawn, and q of AUC and base's AUC together ≤ {ALPHA:g}",
        "leaks, already in the base",
        _already,
    ),
    Row(f"membership was selected, and q, or p of an AUC as low, ≤ {ALPHA:g}", "confounded", _selected),
    Row(f"membership was drawn, and p of an AUC as low ≤ {ALPHA:g}", "too few to say", _turned),
    Row(
        f"an AUC of {BLIND:g}, or {100 * SPARSE:g} % of fully memorised members, cannot be excluded",
        "too few to say",
        _open,
    ),
    Row("otherwise", "no leak found", _none),
)
"""In this order; the first row that applies decides."""


def best_control(controls: Mapping[str, AucEstimate], selector: str | None = None) -> str | None:
    """Return the control with the highest AUC, the first of ties, except ``selector``; None where there is none."""
    able = [name for name in controls if name != selector]
    return max(able, key=lambda name: controls[name].value, default=None)


def verdict(evidence: Evidence, q: float | None = None, q_already: float | None = None) -> Verdict:
    """Decide by ``RULE``; without ``q``, as if the task was all that was audited: q is the corrected p."""
    q = evidence.p_leak if q is None else q
    q_already = evidence.p_already if q_already is None else q_already
    for row in RULE:
        reason = row.holds(evidence, q, q_already)
        if reason is not None:
            return Verdict(row.word, reason)
    raise AssertionError("the last row always applies")


def over_tasks(tasks: Sequence[Sequence[Evidence]]) -> list[list[tuple[float, float]]]:
    """Return q of a leak and q of one already in the base, of every figure of one game's tasks together."""
    found = over_families([[p for e in own for p in (e.p_leak, e.p_already)] for own in tasks])
    return [list(zip(q[::2], q[1::2], strict=True)) for q in found]


def _tail(tests: Relabelled) -> str:
    members = f"{tests.tail * tests.top:.3g}"
    return f"tail {tests.p_tail:.3g} ({members} of the {tests.top} items with the highest gains are members)"


def _enough(e: Evidence, tests: Relabelled) -> str:
    """Say how many people and items would be enough, if the figures stay as they are."""
    ci, people = e.estimate.ci, min(e.estimate.member_sharers, e.estimate.other_sharers)
    said = []
    if ci is not None and ci[1] >= BLIND:
        above, gain = max(0.5, e.estimate.value), tests.gain - (0.0 if e.drawn else 0.5)
        if above < BLIND:
            times, what = (ci[1] - above) / (BLIND - above), f"exclude {BLIND:g}"
            said.append((_people(e.estimate, people, times), "people on a side", people, what))
        elif gain > 0 and tests.detectable is not None:
            enough = math.ceil(people * max(1.0, (tests.detectable - 0.5) / gain) ** 2)
            said.append((enough, "people on a side", people, "show such a gain"))
    if tests.items and (tests.excluded is None or tests.excluded > SPARSE):
        said.append(
            (_items(tests), "items (people, where these are drawn)", tests.items, f"bound it by {SPARSE:g}")
        )
    known = [f"about {n:,} {units}, now {now:,}, would {what}" for n, units, now, what in said if n <= MANY]
    why = "" if tests.items else "; the tail gives no bound where people are exchanged with all their items"
    return "".join(f"; {one}" for one in known) + why


def _people(estimate: AucEstimate, people: int, times: float) -> int:
    """Count the people whose interval is narrower by a factor: errors fall with the root of their number, and so does
    Student's quantile.
    """
    level, most = (1 + LEVEL) / 2, 1_000_000

    def width(freedom: int, n: int) -> float:
        return float(stdtrit(freedom, level)) / math.sqrt(n)

    aim = width(estimate.freedom or people - 1, people) / times
    low, high = people - 1, people  # the width falls with the number
    while high < most and width(high - 1, high) > aim:
        low, high = high, min(most, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if width(middle - 1, middle) > aim else (low, middle)
    return high


def _items(tests: Relabelled) -> int:
    """Count the items whose tail would exclude ``SPARSE``, if it held members as chance has it."""
    share, n = tests.members / tests.items, tests.items
    while n < 1e6:
        top, members = tail_size(n), round(share * n)
        sizes = (np.array([float(own)]) for own in (n, members, top, math.ceil(share * top)))
        bound = not_excluded(Top(*sizes))
        if n > tests.items and bound is not None and bound <= SPARSE:
            break
        n = math.ceil(1.05 * n)
    return n


def _found(e: Evidence, tests: Relabelled) -> str:
    """Say how small a leak would have been found."""
    what = "gain over the base" if e.drawn and tests.p_base is not None else "distance of the AUC from ½"
    if tests.detectable is None:
        return f"; even the largest possible {what} would not have been found in {100 * POWER:.0f} % of such audits"
    least = tests.detectable - 0.5
    return f"; of such audits of this task alone {100 * POWER:.0f} % would find a {what} of {least:.3f}"


def _beside(against: Against | None) -> str:
    if against is None:
        return ", no control"
    gap, ci = against.difference.value, against.difference.ci
    limits = f" [{ci[0]:+.3f}, {ci[1]:+.3f}]" if ci else ""
    return f", {gap:+.3f}{limits} to the best control, {against.name} at {against.auc:.3f}"
