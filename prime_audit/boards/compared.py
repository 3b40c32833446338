"""One comparison on a board with what it says, and the parts that several kinds of comparison share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from prime_audit.audit.jackknife import p_value
from prime_audit.boards.config import Board
from prime_audit.boards.filed import Filed, split_of
from prime_audit.boards.pooling import Seen, pooled
from prime_audit.record import Comparison, Record
from prime_audit.report.places import ALPHA, error_of
from prime_audit.report.sheet import Figure
from prime_audit.report.table import Cell

FOR, OPEN, AGAINST = "for it", "open", "against it"


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
    least: float | None = None
    """The method's value below which nothing is for the claim; None: no such value."""

    @property
    def word(self) -> str:
        """For the claim or against it where the widened interval leaves out 0, else open."""
        if self.ci is None or self.p > ALPHA / self.beside:
            return OPEN
        if self.gain < 0:
            return AGAINST
        return OPEN if self.least is not None and (self.values[0].value or 0.0) < self.least else FOR

    @property
    def p(self) -> float:
        """Two-sided p of no difference: by Student's t, else by the normal distribution that ``ci`` is of."""
        if self.ci is None:
            return 1.0
        error = self.error or ((self.ci[1] - self.ci[0]) / 2 / NormalDist().inv_cdf(1 - ALPHA / 2), math.inf)
        return p_value(self.gain, *error)


def together(found: Sequence[Compared]) -> list[Compared]:
    """Widen the intervals of a claim's comparisons for their number."""
    return [replace(c, beside=len(found)) for c in found]


def with_value(figures: Iterable[Figure], **wanted: str | None) -> list[Figure]:
    """Choose the figures that have a value, by their fields."""
    own = (f for f in figures if f.value is not None)
    return [f for f in own if all(getattr(f, name) == value for name, value in wanted.items())]


def over_seeds(
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
            if has(c, wanted) and c.difference is not None:
                sign = -1 if turned else 1
                ci = c.ci and ((-c.ci[1], -c.ci[0]) if turned else c.ci)
                seen[one.seed] = Seen(sign * c.difference, error_of(c), split_of(one, task), ci)
    return pooled(list(seen.values())) if {*seen} >= {*board.seeds_of(task)} else None


def has(c: Comparison, wanted: Mapping[str, str | None]) -> bool:
    """Whether a comparison's fields are as wanted."""
    return all(getattr(c, name) == value for name, value in wanted.items())
