"""Which claims in words hold on a measured board: every comparison with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from prime_audit.audit.jackknife import limits
from prime_audit.boards.abilities import UNAIDED, ablest, unaided
from prime_audit.boards.compared import AGAINST, FOR, OPEN, Compared, over_seeds, together, with_value
from prime_audit.boards.config import AUC_CLAIM, SHARING_CLAIM, Board, Expected
from prime_audit.boards.filed import Filed
from prime_audit.boards.gather import gaps
from prime_audit.io.markup import markdown_text
from prime_audit.report.places import Gap
from prime_audit.report.sheet import AUC, SHARED, Figure, Sheet
from prime_audit.report.table import Cell, Table
from prime_audit.report.table import markdown as table

CONTRADICTED = "contradicted"
LOWER, HALF = "lower is better", "nearer to ½ is better"

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
    "For each task the method most clearly ahead of the best answers without a model (a constant label, or another "
    "target's gold), in the metric that its records name. *For it* is corrected for all methods of the task "
    "(Bonferroni, 95 %); a text must also reach the minimum that the records name. Else these runs do not show that "
    "the model can do the task, and its comparisons say little of models that can."
)


def markdown(board: Board, filed: Sequence[Filed], sheet: Sheet) -> str:
    """Return every claim that the board names, what the records say of it, and each comparison behind that."""
    gap, _ = gaps(board, filed)
    rows, details = [], list[str]()
    for claim in board.findings:
        for reading in (LOWER, HALF) if claim.of == AUC_CLAIM else (None,):
            found = together(list(_compared(claim, reading, board, filed, sheet, gap)))
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
    best = ablest(board, filed, sheet.figures)
    if best or sheet.unable:
        yield "## What the model can do here"
        yield _WITHOUT
        if best:
            yield _table([*best.values()])
        if sheet.unable:
            yield f"Not shown: that this model can do {', '.join(sheet.unable)}."


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
                found = unaided(method, task, board, filed, sheet.figures)
                yield from [found] if found else []
            else:
                yield from _useful(method, baseline, task, sheet, gap)


def _useful(
    method: str, baseline: str, task: str, sheet: Sheet, gap: Callable[[Figure, Figure], Gap | None]
) -> Iterator[Compared]:
    """Compare two methods on the same questions in every metric; of errors, the sign is turned."""
    others = {f.metric: f for f in with_value(sheet.figures, task=task, method=baseline, game=None)}
    for own in with_value(sheet.figures, task=task, method=method, game=None):
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


def _taken_away(
    method: str, task: str, board: Board, filed: Sequence[Filed], sheet: Sheet
) -> Iterator[Compared]:
    """Compare a merged model's AUC with that of the shared adapters, on the same items; less is better."""
    shared = {
        f.attack: f for f in with_value(sheet.figures, task=task, method=method, metric=AUC, game=SHARED)
    }
    for own in with_value(sheet.figures, task=task, method=method, metric=AUC):
        wanted = {"task": task, "method": method, "game": own.game, "attack": own.attack, "baseline": SHARED}
        found = over_seeds(board, filed, task, lambda r: r.comparisons, wanted, True)
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
    others = {
        (f.game, f.attack): f for f in with_value(sheet.figures, task=task, method=baseline, metric=AUC)
    }
    for own in with_value(sheet.figures, task=task, method=method, metric=AUC):
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
