"""Which claims in words hold on a measured board: every comparison with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from prime_audit.audit.jackknife import limits, p_value
from prime_audit.boards.config import AUC_CLAIM, SHARING_CLAIM, Board, Expected
from prime_audit.boards.filed import Filed
from prime_audit.boards.gather import gaps, split_of
from prime_audit.boards.pooling import Seen, pooled
from prime_audit.io.markup import markdown_text
from prime_audit.record import Comparison, Record
from prime_audit.report.places import ALPHA, Gap, error_of
from prime_audit.report.sheet import AUC, SHARED, Figure, Sheet
from prime_audit.report.table import Cell, Table
from prime_audit.report.table import markdown as table

FOR, OPEN, AGAINST = "for it", "open", "against it"
CONTRADICTED = "contradicted"
LOWER, HALF = "lower is better", "nearer to ½ is better"
UNAIDED = "no model"
"""Takes a method's place in a claim: the best answers without a model."""


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
    error: tuple[float, float] | None = None
    """Standard error and degrees of freedom, where they are known."""
    beside: int = 1
    """How many intervals of the claim hold together with 95 % (Bonferroni)."""
    values: tuple[Cell, Cell] = (Cell(), Cell())
    """Both figures."""

    @property
    def word(self) -> str:
        """For the claim or against it where the widened interval leaves out 0, else open."""
        if self.ci is None or self.p > ALPHA / self.beside:
            return OPEN
        return FOR if self.gain > 0 else AGAINST

    @property
    def p(self) -> float:
        """Two-sided p of no difference: by Student's t, else by the normal distribution that ``ci`` is of."""
        if self.ci is None:
            return 1.0
        error = self.error or ((self.ci[1] - self.ci[0]) / 2 / NormalDist().inv_cdf(1 - ALPHA / 2), math.inf)
        return p_value(self.gain, *error)


_HEADS = ("says", "read as", "comparisons", "its way", FOR, OPEN, AGAINST, "verdict")
_ABOUT = (
    "*Its way* counts the comparisons whose difference has the claim's sign. A comparison is *for* a claim, or "
    "*against* it, where its interval excludes 0, after widening (Bonferroni) so that all intervals of the claim hold "
    "together with 95 %; else it is *open*. A claim that says *always* holds where every comparison is for it and is "
    "contradicted where any is against it; *often*: where most are; *no worse* can only be contradicted.\n\n"
    "Utility is compared on the same questions, and a merged model's AUC with that of the shared adapters on the same "
    "items. Two methods' AUCs are compared as if independent; where they are on two sides of ½, their distances from "
    "it add up, and so do their intervals. An AUC has two readings: the paper's, and distance from ½, which is what an "
    "attacker has who may reverse the score."
)
_WITHOUT = (
    "For each task the method and metric most clearly ahead of the best answers without a model (a constant label, or "
    "another target's gold). *For it* is corrected for all methods and metrics of the task (Bonferroni, 95 %). Else "
    "these runs do not show that the model can do the task, and its comparisons say little of models that can."
)


def markdown(board: Board, filed: Sequence[Filed], sheet: Sheet) -> str:
    """Return every claim that the board names, what the records say of it, and each comparison behind that."""
    gap, _ = gaps(board, filed)
    rows, details = [], list[str]()
    for claim in board.findings:
        for reading in (LOWER, HALF) if claim.of == AUC_CLAIM else (None,):
            found = _together(list(_compared(claim, reading, board, filed, sheet, gap)))
            rows.append(_row(claim, reading, found))
            details += _detail(claim, reading, found)
    quotes = tuple(
        (f"“{claim.quote}”",) for claim in board.findings for _ in range(1 + (claim.of == AUC_CLAIM))
    )
    heads = tuple(("", name) for name in _HEADS)
    lines = [
        f"# {sheet.title}: which claims hold here",
        *_abilities(board, filed, sheet),
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
    return [replace(c, beside=len(found)) for c in found]


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


def _abilities(board: Board, filed: Sequence[Filed], sheet: Sheet) -> Iterator[str]:
    """Say of each task whether any method is measurably better than answers without a model."""
    best = []
    for task in board.tasks:
        found = [c for method in sheet.methods for c in _unaided(method, task, board, filed, sheet)]
        if found:
            best.append(max(_together(found), key=lambda c: (c.gain > 0, -c.p, c.gain)))
    if best:
        yield "## What the model can do here"
        yield _WITHOUT
        yield _table(best)
        if unshown := [c.task for c in best if c.word != FOR]:
            yield f"Not shown: that this model can do {', '.join(unshown)}."


def _detail(claim: Expected, reading: str | None, found: Sequence[Compared]) -> Iterator[str]:
    yield f"### “{markdown_text(claim.quote)}”" + (f" ({reading})" if reading else "")
    if found:
        yield _table(found)


def _table(found: Sequence[Compared]) -> str:
    heads = tuple(
        ("", name) for name in ("method", "value", "against", "its value", "figure", "gain", "says")
    )
    cells = tuple(
        (
            *(Cell(text=c.method), c.values[0], Cell(text=c.baseline), c.values[1], Cell(text=c.what)),
            Cell(c.gain, c.ci, signed=True),
            Cell(text=c.word),
        )
        for c in found
    )
    return table(Table("", ("task",), heads, tuple((c.task,) for c in found), cells))


def _compared(
    claim: Expected,
    reading: str | None,
    board: Board,
    filed: Sequence[Filed],
    sheet: Sheet,
    gap: Callable[[Figure, Figure], Gap | None],
) -> Iterator[Compared]:
    for method, baseline in claim.pairs:
        for task in board.tasks:
            if claim.of == AUC_CLAIM:
                yield from (
                    c
                    for f, c in _leaky(method, baseline, task, sheet, reading == HALF)
                    if claim.asks(f.game, f.attack)
                )
            elif claim.of == SHARING_CLAIM:
                yield from _taken_away(method, task, board, filed, sheet)
            elif baseline == UNAIDED:
                yield from _unaided(method, task, board, filed, sheet)
            else:
                yield from _useful(method, baseline, task, sheet, gap)


def _shown(figures: Iterable[Figure], **wanted: str | None) -> list[Figure]:
    """Choose the figures that have a value, by their fields."""
    own = (f for f in figures if f.value is not None)
    return [f for f in own if all(getattr(f, name) == value for name, value in wanted.items())]


def _useful(
    method: str, baseline: str, task: str, sheet: Sheet, gap: Callable[[Figure, Figure], Gap | None]
) -> Iterator[Compared]:
    """Compare two methods on the same questions in every metric; of errors, the sign is turned."""
    others = {f.metric: f for f in _shown(sheet.figures, task=task, method=baseline, game=None)}
    for own in _shown(sheet.figures, task=task, method=method, game=None):
        other = others.get(own.metric)
        found = gap(own, other) if other else None
        if other and found and found.paired:
            gain = -found.difference if own.higher_is_better is False else found.difference
            error = (found.se, found.freedom)
            known = own.ci is not None and other.ci is not None  # macro-F1 of few people has no interval
            yield Compared(
                task=task,
                method=method,
                baseline=baseline,
                what=own.metric,
                gain=gain,
                ci=limits(gain, *error) if known else None,
                error=error,
                values=(_cell(own), _cell(other)),
            )


def _unaided(
    method: str, task: str, board: Board, filed: Sequence[Filed], sheet: Sheet
) -> Iterator[Compared]:
    """Compare a method with the best answers without a model, in every metric."""
    for own in _shown(sheet.figures, task=task, method=method, game=None):
        wanted = {"task": task, "method": method, "metric": own.metric}
        named = dict.fromkeys(c.baseline for f in filed for c in f.record.unaided if _has(c, wanted))
        turned = own.higher_is_better is False
        found = _over_seeds(board, filed, task, lambda r: r.unaided, wanted, turned)
        if found:
            gain, ci, error = found
            assert own.value is not None
            other = own.value + gain if turned else own.value - gain
            yield Compared(
                task=task,
                method=method,
                baseline=f"{UNAIDED}: {', '.join(named)}",
                what=own.metric,
                gain=gain,
                ci=ci,
                error=error,
                values=(_cell(own), Cell(other)),
            )


def _taken_away(
    method: str, task: str, board: Board, filed: Sequence[Filed], sheet: Sheet
) -> Iterator[Compared]:
    """Compare a merged model's AUC with that of the shared adapters, on the same items; less is better."""
    shared = {f.attack: f for f in _shown(sheet.figures, task=task, method=method, metric=AUC, game=SHARED)}
    for own in _shown(sheet.figures, task=task, method=method, metric=AUC):
        wanted = {"task": task, "method": method, "game": own.game, "attack": own.attack, "baseline": SHARED}
        found = _over_seeds(board, filed, task, lambda r: r.comparisons, wanted, True)
        if found and own.attack in shared:
            gain, ci, error = found
            yield Compared(
                task=task,
                method=method,
                baseline="the shared adapters",
                what=f"AUC, game {own.game}, attack {own.attack}",
                gain=gain,
                ci=ci,
                error=error,
                values=(_cell(own), _cell(shared[own.attack])),
            )


def _over_seeds(
    board: Board,
    filed: Sequence[Filed],
    task: str,
    take: Callable[[Record], Iterable[Comparison]],
    wanted: Mapping[str, str | None],
    turned: bool,
) -> tuple[float, tuple[float, float] | None, tuple[float, float] | None] | None:
    """Pool the differences that records hold, of every seed of the board; None where a seed lacks it."""
    seen: dict[int, Seen] = {}
    for one in filed:
        for c in take(one.record):
            if _has(c, wanted) and c.difference is not None:
                sign = -1 if turned else 1
                ci = c.ci and ((-c.ci[1], -c.ci[0]) if turned else c.ci)
                seen[one.seed] = Seen(sign * c.difference, error_of(c), split_of(one, task), ci)
    return pooled(list(seen.values())) if {*seen} >= {*board.seeds_of(task)} else None


def _has(c: Comparison, wanted: Mapping[str, str | None]) -> bool:
    return all(getattr(c, name) == value for name, value in wanted.items())


def _cell(f: Figure) -> Cell:
    return Cell(f.value, f.ci)


def _leaky(
    method: str, baseline: str, task: str, sheet: Sheet, half: bool
) -> Iterator[tuple[Figure, Compared]]:
    """Compare two methods' AUCs: how much lower, or nearer to ½, the method's is than the baseline's.

    The interval's half width is the root of both squared, as if the two were drawn apart, though they share sharers and
    targets: where a difference of AUCs is taken, that is wider than it is. Distances from ½ on two sides of it add up
    instead, and there the half widths do too, which no dependence can exceed.
    """
    others = {(f.game, f.attack): f for f in _shown(sheet.figures, task=task, method=baseline, metric=AUC)}
    for own in _shown(sheet.figures, task=task, method=method, metric=AUC):
        other = others.get((own.game, own.attack))
        if other and own.value is not None and other.value is not None:
            ours, theirs = (abs(x - 0.5) if half else x for x in (own.value, other.value))
            gain, ci = theirs - ours, None
            if own.ci and other.ci:
                apart = half and (own.value - 0.5) * (other.value - 0.5) < 0
                halves = [(high - low) / 2 for low, high in (own.ci, other.ci)]
                width = sum(halves) if apart else math.hypot(*halves)
                ci = (gain - width, gain + width)
            yield (
                own,
                Compared(
                    task=task,
                    method=method,
                    baseline=baseline,
                    what=f"AUC, game {own.game}, attack {own.attack}",
                    gain=gain,
                    ci=ci,
                    values=(_cell(own), _cell(other)),
                ),
            )
