"""Which of the paper's claims in words hold on a measured board: every comparison with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from prime_audit.boards.config import Board, Expected
from prime_audit.boards.filed import Filed
from prime_audit.boards.pooling import Seen, pooled
from prime_audit.io.markup import markdown_text
from prime_audit.record import Comparison
from prime_audit.report.places import error_of
from prime_audit.report.sheet import AUC, Sheet
from prime_audit.report.table import Cell, Table
from prime_audit.report.table import markdown as table

FOR, OPEN, AGAINST = "for it", "open", "against it"
CONTRADICTED = "contradicted"
LOWER, HALF = "lower is better", "nearer to ½ is better"


Pooled = list[tuple["Compared", set[int]]]
"""Comparisons, each with the seeds behind it."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One method against another in one cell; positive is what the claim says."""

    task: str
    method: str
    baseline: str
    what: str
    """The metric, or the game and attack."""
    gain: float
    """How far the claim is right, in the metric's unit."""
    ci: tuple[float, float] | None
    """Its 95 % interval over users and seeds, alone."""
    wide: float = 1.0
    """How many times wider it is so that all intervals of the claim hold together with 95 %."""

    @property
    def word(self) -> str:
        """For the claim or against it where the widened interval leaves out 0, else open."""
        if self.ci is None:
            return OPEN
        low, high = self.ci
        if self.gain - self.wide * (self.gain - low) <= 0 <= self.gain + self.wide * (high - self.gain):
            return OPEN
        return FOR if self.gain > 0 else AGAINST


_HEADS = ("says", "read as", "comparisons", "its way", FOR, OPEN, AGAINST, "verdict")
_ABOUT = (
    "*Its way* counts the comparisons whose difference has the claim's sign. A comparison is *for* a claim, or "
    "*against* it, where its interval excludes 0, after widening (Bonferroni) so that all intervals of the claim hold "
    "together with 95 %; else it is *open*. A claim that says *always* holds where every comparison is for it and is "
    "contradicted where any is against it; *often*: where most are; *no worse* can only be contradicted.\n\n"
    "Utility is compared on the same questions. Two methods' AUCs are compared as if independent; where "
    "they are on two sides of ½, their distances from it add up, and so do their intervals. An AUC has two readings: "
    "the paper's, and distance from ½, which is what an attacker has who may reverse the score."
)


def markdown(board: Board, filed: Sequence[Filed], sheet: Sheet) -> str:
    """Return every claim that the board names, what the records say of it, and each comparison behind that."""
    rows, details = [], list[str]()
    for claim in board.findings:
        for reading in (LOWER, HALF) if claim.of == AUC else (None,):
            found = _together(list(_compared(claim, reading, board, filed, sheet)))
            rows.append(_row(claim, reading, found))
            details += _detail(claim, reading, found)
    quotes = tuple((f"“{claim.quote}”",) for claim in board.findings for _ in range(1 + (claim.of == AUC)))
    heads = tuple(("", name) for name in _HEADS)
    lines = [
        f"# {sheet.title}: which of the paper's claims hold here",
        _ABOUT,
        table(Table("", ("claim",), heads, quotes, tuple(rows))),
        "## Every comparison",
        *details,
    ]
    return "\n\n".join(lines) + "\n"


def _row(claim: Expected, reading: str | None, found: Sequence[Compared]) -> tuple[Cell, ...]:
    counts = [sum(c.word == word for c in found) for word in (FOR, OPEN, AGAINST)]
    numbers = [str(n) for n in (len(found), sum(c.gain > 0 for c in found), *counts)]
    said = verdict(found, claim.says)
    words = Cell(text=said, best=said == CONTRADICTED)  # bold
    return (*(Cell(text=t) for t in (claim.says, reading or "", *numbers)), words)


def _together(found: Sequence[Compared]) -> list[Compared]:
    """Widen the intervals of a claim's comparisons for their number."""
    normal = NormalDist()
    wide = normal.inv_cdf(1 - 0.025 / max(1, len(found))) / normal.inv_cdf(0.975)
    return [replace(c, wide=wide) for c in found]


def verdict(found: Sequence[Compared], says: str = "always") -> str:
    """Sum comparisons up in a word, by what the claim says of them."""
    if not found:
        return "no run tests it"
    favour, against = (sum(c.word == word for c in found) for word in (FOR, AGAINST))
    if says == "often":
        half = len(found) / 2
        return "holds" if favour > half else CONTRADICTED if against > half else "open"
    if against:
        return CONTRADICTED
    if says == "no worse":
        return "not contradicted"
    return "holds" if favour == len(found) else "open"


def _detail(claim: Expected, reading: str | None, found: Sequence[Compared]) -> Iterator[str]:
    yield f"### “{markdown_text(claim.quote)}”" + (f" ({reading})" if reading else "")
    if found:
        heads = tuple(("", name) for name in ("method", "against", "figure", "gain", "says"))
        cells = tuple(
            (
                *(Cell(text=t) for t in (c.method, c.baseline, c.what)),
                Cell(c.gain, c.ci, signed=True),
                Cell(text=c.word),
            )
            for c in found
        )
        yield table(Table("", ("task",), heads, tuple((c.task,) for c in found), cells))


def _compared(
    claim: Expected, reading: str | None, board: Board, filed: Sequence[Filed], sheet: Sheet
) -> Iterator[Compared]:
    for method, baseline in claim.pairs:
        for task in board.tasks:
            if claim.of == "utility":
                found = _useful(method, baseline, task, filed) or _useful(baseline, method, task, filed, -1)
                yield from (c for c, seeds in found if seeds >= {*board.seeds})  # as in its tables
            else:
                yield from _leaky(method, baseline, task, sheet, reading == HALF)


def _useful(method: str, baseline: str, task: str, filed: Sequence[Filed], sign: int = 1) -> Pooled:
    """Pool the paired differences of every metric over seeds, beside these; of errors, the sign is turned.

    ``sign`` −1: the records hold the difference the other way round, and the claim is of the baseline.
    """
    by_metric: dict[str, dict[int, Seen]] = {}
    for one in (f for f in filed if f.method == method):
        split = {d.task: d.split_sha256 for d in one.record.data}
        falling = {r.metric for r in one.record.results if r.task == task and r.higher_is_better is False}
        for c in one.record.comparisons:
            if (c.task, c.baseline, c.game) == (task, baseline, None) and c.difference is not None:
                turned = (c.metric in falling) != (sign < 0)
                by_metric.setdefault(c.metric, {})[one.seed] = _turned(c, split[task], turned)
    first, second = (method, baseline)[::sign]
    found: Pooled = []
    for metric, seen in by_metric.items():
        gain, ci, _ = pooled(list(seen.values()))
        gap = Compared(task=task, method=first, baseline=second, what=metric, gain=gain, ci=ci)
        found.append((gap, {*seen}))
    return found


def _turned(c: Comparison, split: str, turned: bool) -> Seen:
    assert c.difference is not None
    if not turned:
        return Seen(c.difference, error_of(c), split, c.ci)
    return Seen(-c.difference, error_of(c), split, (-c.ci[1], -c.ci[0]) if c.ci else None)


def _leaky(method: str, baseline: str, task: str, sheet: Sheet, half: bool) -> Iterator[Compared]:
    """Compare two methods' AUCs: how much lower, or nearer to ½, the method's is than the baseline's.

    The interval's half width is the root of both squared, as if the two were drawn apart, though they share sharers and
    targets: where a difference of AUCs is taken, that is wider than it is. Distances from ½ on two sides of it add up
    instead, and there the half widths do too, which no dependence can exceed.
    """
    figures = {(f.method, f.game, f.attack): f for f in sheet.figures if f.task == task and f.metric == AUC}
    for (label, game, attack), own in figures.items():
        other = figures.get((baseline, game, attack))
        if label == method and other and own.value is not None and other.value is not None:
            ours, theirs = (abs(x - 0.5) if half else x for x in (own.value, other.value))
            gain, ci = theirs - ours, None
            if own.ci and other.ci:
                apart = half and (own.value - 0.5) * (other.value - 0.5) < 0
                halves = [(high - low) / 2 for low, high in (own.ci, other.ci)]
                width = sum(halves) if apart else math.hypot(*halves)
                ci = (gain - width, gain + width)
            what = f"AUC, game {game}, attack {attack}"
            yield Compared(task=task, method=method, baseline=baseline, what=what, gain=gain, ci=ci)
