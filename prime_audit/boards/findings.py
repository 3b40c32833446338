"""Which of the paper's claims in words hold on a measured board: every comparison with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prime_audit.boards.config import Board, Expected
from prime_audit.boards.filed import Filed
from prime_audit.boards.pooling import Seen, pooled
from prime_audit.boards.sheet import Figure, Sheet
from prime_audit.boards.tables import code, escape, interval, number, table
from prime_audit.record import Comparison

FOR, OPEN, AGAINST = "for it", "open", "against it"
LOWER, HALF = "lower is better", "nearer to ½ is better"


@dataclass(frozen=True)
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
    """Its interval over users and seeds."""

    @property
    def word(self) -> str:
        """For the claim or against it where the interval leaves out 0, else open."""
        if self.ci is None or self.ci[0] <= 0 <= self.ci[1]:
            return OPEN
        return FOR if self.gain > 0 else AGAINST


def markdown(board: Board, filed: Sequence[Filed], sheet: Sheet) -> str:
    """Return every claim that the board names, what the records say of it, and each comparison behind that."""
    rows, details = [], list[str]()
    for claim in board.findings:
        for reading in (LOWER, HALF) if claim.of == "auc" else (None,):
            found = list(_compared(claim, reading, board, filed, sheet))
            rows.append(_row(claim, reading, found))
            details += _detail(claim, reading, found)
    headers = ("claim", "read as", "comparisons", FOR, OPEN, AGAINST, "verdict")
    lines = [
        f"# {sheet.title}: which of the paper's claims hold here",
        "A comparison is *for* a claim, or *against* it, where its 95 % interval (users and seeds) leaves out 0; else "
        "it is *open*. A claim holds where every comparison is for it, is contradicted where any is against it, and is "
        "open otherwise. Utility is compared on the same questions and resamples; two methods' AUCs as if drawn apart, "
        "which is wider than they are. An AUC has two readings: the paper's, and distance from ½, which is what an "
        "attacker who may turn the score round has.",
        table(rows, headers),
        "## Every comparison",
        *details,
    ]
    return "\n\n".join(lines) + "\n"


def _row(claim: Expected, reading: str | None, found: Sequence[Compared]) -> list[str]:
    counts = [sum(c.word == word for c in found) for word in (FOR, OPEN, AGAINST)]
    return [escape(f"“{claim.quote}”"), reading or "", str(len(found)), *map(str, counts), verdict(found)]


def verdict(found: Sequence[Compared]) -> str:
    """Sum comparisons up in a word."""
    words = {c.word for c in found}
    if not found:
        return "no run says anything of it"
    if AGAINST in words:
        return "**contradicted**"
    return "holds" if words == {FOR} else "open"


def _detail(claim: Expected, reading: str | None, found: Sequence[Compared]) -> Iterator[str]:
    yield f"### “{escape(claim.quote)}”" + (f" ({reading})" if reading else "")
    if found:
        rows = [(c.task, code(c.method), code(c.baseline), escape(c.what), _gain(c), c.word) for c in found]
        yield table(rows, ("task", "method", "against", "figure", "gain", "says"))


def _gain(c: Compared) -> str:
    return f"{number(c.gain, True)} {interval(c.ci, True)}".strip()


def _compared(
    claim: Expected, reading: str | None, board: Board, filed: Sequence[Filed], sheet: Sheet
) -> Iterator[Compared]:
    for method, baseline in claim.pairs:
        for task in board.tasks:
            if claim.of == "utility":
                yield from _useful(method, baseline, task, filed) or _useful(
                    baseline, method, task, filed, -1
                )
            else:
                yield from _leaky(method, baseline, task, sheet, reading == HALF)


def _useful(method: str, baseline: str, task: str, filed: Sequence[Filed], sign: int = 1) -> list[Compared]:
    """Pool the paired differences of every metric over seeds; of errors, the sign is turned.

    ``sign`` −1: the records hold the difference the other way round, and the claim is of the baseline.
    """
    by_metric: dict[str, list[Seen]] = {}
    for one in (f for f in filed if f.method == method):
        split = {d.task: d.split_sha256 for d in one.record.data}
        falling = {r.metric for r in one.record.results if r.task == task and r.higher_is_better is False}
        for c in one.record.comparisons:
            if (c.task, c.baseline, c.game) == (task, baseline, None) and c.difference is not None:
                turned = (c.metric in falling) != (sign < 0)
                by_metric.setdefault(c.metric, []).append(_turned(c, split[task], turned))
    first, second = (method, baseline)[::sign]
    return [Compared(task, first, second, metric, *pooled(seen)) for metric, seen in by_metric.items()]


def _turned(c: Comparison, split: str, turned: bool) -> Seen:
    assert c.difference is not None
    if not turned:
        return Seen(c.difference, c.ci, split)
    return Seen(-c.difference, (-c.ci[1], -c.ci[0]) if c.ci else None, split)


def _leaky(method: str, baseline: str, task: str, sheet: Sheet, half: bool) -> Iterator[Compared]:
    """Compare two methods' AUCs: how much lower, or nearer to ½, the method's is than the baseline's.

    The interval's half width is the root of both squared: a distance from ½ moves no more than its AUC.
    """
    figures = {(f.method, f.game, f.attack): f for f in sheet.figures if f.task == task and f.metric == "auc"}
    for (label, game, attack), own in figures.items():
        other = figures.get((baseline, game, attack))
        if label == method and other and own.value is not None and other.value is not None:
            gain = _risk(other.value, half) - _risk(own.value, half)
            ci = None
            if own.ci and other.ci:
                width = math.hypot(_half(own), _half(other))
                ci = (gain - width, gain + width)
            yield Compared(task, method, baseline, f"AUC, game {game}, attack {attack}", gain, ci)


def _risk(auc: float, half: bool) -> float:
    return abs(auc - 0.5) if half else auc


def _half(f: Figure) -> float:
    assert f.ci is not None
    return (f.ci[1] - f.ci[0]) / 2
