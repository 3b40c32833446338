"""How a claim is checked on printed cells: select cells, pair them, compare within their rounding, count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain, pairwise, product
from typing import Any, NamedTuple

from prime_audit.boards.cells import AUC, Cell
from prime_audit.boards.rounding import (
    Holds,
    Span,
    agrees,
    better,
    distance_from_half,
    gain,
    larger,
    printed,
)
from prime_audit.errors import UserError

LIKE = ("table", "task", "metric")
"""What two cells share when they are compared, unless a claim says otherwise."""
Choice = str | tuple[str, ...]
"""One value of a field, or several."""
_ORDER = (Holds.NO, Holds.UNKNOWN, Holds.ROUNDING, Holds.YES)
"""Verdicts, the worst first."""


class Reading(Enum):
    """How an AUC is read: as the paper does, or as an attacker who may flip the score does."""

    LOWER = "AUC: lower is better"
    NEARER = "AUC: nearer to ½ is better"


class Relation(Enum):
    """What a claim says about our cell beside theirs."""

    BETTER = "better"
    NOT_WORSE = "not worse"
    """Equal prints count."""
    WORSE = "worse"
    DOMINATES = "better in every metric"
    """A whole row: one method in one table and task."""


class Share(Enum):
    """How many comparisons a claim needs; a plain number means at least so many."""

    ALL = "all"
    MOST = "more than half"


class Pair(NamedTuple):
    """Two cells that a claim compares."""

    ours: Cell
    theirs: Cell

    def __str__(self) -> str:
        """Write both with their values; the table once if they share it."""
        theirs = self.theirs.place if self.theirs.table == self.ours.table else self.theirs.source
        return f"{self.ours.source} {self.ours.shown} against {theirs} {self.theirs.shown}"


class Unit(NamedTuple):
    """One comparison, or row of them, that a claim counts within its group."""

    verdict: Holds
    text: str
    pairs: Sequence[Pair] = ()
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the cells say about a claim."""

    verdict: Holds
    stated: str = "–"
    """What is claimed."""
    computed: str = "–"
    """What the cells give."""
    rounding: str = ""
    """What their rounding leaves open."""
    counterexamples: tuple[str, ...] = ()
    """Every comparison that contradicts it, is equal as printed, or cannot be read."""
    cells: tuple[Cell, ...] = ()
    """The cells it was computed from."""


def pairs(ours: Iterable[Cell], theirs: Sequence[Cell], like: Sequence[str] = LIKE) -> list[Pair]:
    """Pair every cell with all of ``theirs`` that share the fields ``like``; UserError where there is none."""
    found = []
    for cell in ours:
        own = [Pair(cell, other) for other in theirs if key(other, like) == key(cell, like)]
        if not own:
            raise UserError(f"nothing to compare {cell.source} with; restore the cells of this claim")
        found += own
    return found


def key(cell: Cell, names: Sequence[str]) -> tuple[Any, ...]:
    """Return these fields of a cell."""
    return tuple(getattr(cell, name) for name in names)


@dataclass(frozen=True)
class Printed:
    """A publication's cells, with an AUC read in one way."""

    every: tuple[Cell, ...]
    reading: Reading = Reading.LOWER

    def cells(self, table: Choice, **wanted: Choice) -> list[Cell]:
        """Return the cells whose fields have one of these values; UserError if a value has no such cell."""
        found = list(self.every)
        for name, values in {"table": table, **wanted}.items():
            choices = {values} if isinstance(values, str) else {*values}
            found = [cell for cell in found if getattr(cell, name) in choices]
            if lacking := choices - {getattr(cell, name) for cell in found}:
                raise UserError(f"no cell of {name} {min(lacking)!r}; restore the cells of this claim")
        return found

    def best(self, table: str, core: Choice) -> list[Cell]:
        """Return the best of those cells for each task and metric; one without a value could be it."""
        best: dict[Any, Cell] = {}
        for cell in self.cells(table, core=core):
            other = best.setdefault(key(cell, LIKE), cell)
            if cell.value is None or self.better(Pair(cell, other)) is Holds.YES:
                best[key(cell, LIKE)] = cell
        return list(best.values())

    def beside(
        self, ours: Choice, theirs: Choice, table: Choice, like: Sequence[str] = LIKE, **where: Choice
    ) -> list[Pair]:
        """Pair the cells of methods with those of others, by their labels."""
        return pairs(self.cells(table, method=ours, **where), self.cells(table, method=theirs, **where), like)

    def steps(self, methods: Sequence[str], table: Choice, **where: Choice) -> list[Pair]:
        """Pair every method with the one before it in a list."""
        found = [self.beside(after, before, table, **where) for before, after in pairwise(methods)]
        return sorted(chain.from_iterable(found), key=lambda pair: key(pair.ours, LIKE))

    def better(self, pair: Pair) -> Holds:
        """Decide whether ours is better than theirs."""
        spans = self._spans(pair)
        return better(*spans, bool(pair.ours.higher_is_better)) if spans else Holds.UNKNOWN

    def gain(self, pair: Pair) -> Span | None:
        """Return the relative improvement of ours over theirs in percent; None if it is not known."""
        spans = self._spans(pair)
        return gain(*spans, bool(pair.ours.higher_is_better)) if spans else None

    def _spans(self, pair: Pair) -> tuple[Span, Span] | None:
        if pair.ours.value is None or pair.theirs.value is None:
            return None
        ours, theirs = printed(pair.ours.value), printed(pair.theirs.value)
        if pair.ours.metric == AUC and self.reading is Reading.NEARER:
            return distance_from_half(ours), distance_from_half(theirs)
        return ours, theirs

    def compare(
        self,
        found: Sequence[Pair],
        relation: Relation = Relation.BETTER,
        share: Share | int = Share.ALL,
        each: bool = False,
    ) -> Finding:
        """Count where ours is in this relation to theirs; with ``each``, in each table and task by itself."""
        rows: dict[Any, list[Pair]] = {}
        for number, pair in enumerate(found):
            row = key(pair.ours, ("table", "task", "method")) if relation is Relation.DOMINATES else number
            rows.setdefault(row, []).append(pair)
        return counted([self._unit(row, relation, each) for row in rows.values()], relation.value, share)

    def _unit(self, row: Sequence[Pair], relation: Relation, each: bool) -> Unit:
        verdicts, against = [], []
        for pair in row:
            verdict = self.better(Pair(*reversed(pair)) if relation is Relation.WORSE else pair)
            if relation is Relation.NOT_WORSE and verdict is Holds.ROUNDING:
                verdict = Holds.YES
            verdicts.append(verdict)
            if verdict is not Holds.YES:
                against.append(f"{pair}{' (equal as printed)' if verdict is Holds.ROUNDING else ''}")
        group = f"Table {row[0].ours.table} {row[0].ours.task}" if each else ""
        return Unit(_at_least(len(row), verdicts), "; ".join(against), row, group)

    def largest_gain(self, found: Sequence[Pair], percent: str) -> Finding:
        """Compare the largest relative improvement with the stated one."""
        known = [(span, pair) for pair in found if (span := self.gain(pair))]
        cells, stated = tuple(chain.from_iterable(found)), f"{percent} %"
        if not known:
            against = tuple(map(str, found))
            return Finding(verdict=Holds.UNKNOWN, stated=stated, counterexamples=against, cells=cells)
        span, pair = max(known, key=lambda one: one[0].mid)
        verdict = agrees(percent, span)
        return Finding(
            verdict=verdict,
            stated=stated,
            computed=f"{float(span.mid):.2f} % ({pair})",
            rounding=f"{float(span.low):.2f} to {float(span.high):.2f} % from numbers that round to these",
            counterexamples=(str(pair),) if verdict is Holds.NO else (),
            cells=cells,
        )

    def larger_gains(
        self, found: Sequence[Pair], others: Sequence[Pair], like: Sequence[str] = (), smaller: bool = False
    ) -> Finding:
        """Count the gains that are larger (or smaller) than each other gain whose cells share ``like``."""
        units = []
        for both in product(found, others):
            if key(both[0].ours, like) == key(both[1].ours, like):
                first, second = (self.gain(pair) for pair in both)
                if first is None or second is None:
                    units.append(Unit(Holds.UNKNOWN, "; ".join(map(str, both)), both))
                    continue
                verdict = larger(second, first) if smaller else larger(first, second)
                spans = zip((first, second), both, strict=True)
                text = ", ".join(f"{float(span.mid):.2f} % ({pair})" for span, pair in spans)
                units.append(Unit(verdict, text, both))
        return counted(units, "smaller gain" if smaller else "larger gain")


def counted(units: Sequence[Unit], what: str, share: Share | int = Share.ALL) -> Finding:
    """Count the units that hold, group by group; the worst group decides."""
    if not units:
        raise UserError("nothing to compare; restore the cells of this claim")
    groups: dict[str, list[Unit]] = {}
    for unit in units:
        groups.setdefault(unit.group, []).append(unit)
    verdicts, counts, against = [], [], []
    for group, own in groups.items():
        need = share if isinstance(share, int) else len(own) if share is Share.ALL else len(own) // 2 + 1
        exact = sum(unit.verdict is Holds.YES for unit in own)
        verdicts.append(_at_least(need, [unit.verdict for unit in own]))
        counts.append(f"{group}: {exact} of {len(own)}" if group else f"{exact} of {len(own)}")
        if isinstance(share, Share) or exact < need:  # beyond "at least n", a failure contradicts nothing
            against += [unit.text for unit in own if unit.verdict is not Holds.YES]
    ties = sum(unit.verdict is Holds.ROUNDING for unit in units)
    word = share.value if isinstance(share, Share) else f"at least {share}"
    of = f"in each of {len(groups)} groups" if len(groups) > 1 else f"of {len(units)}"
    return Finding(
        verdict=min(verdicts, key=_ORDER.index),
        stated=f"{what}: {word} {of}",
        computed="; ".join(counts),
        rounding=f"{ties} not decided by the printed digits" if ties else "",
        counterexamples=tuple(against),
        cells=tuple(cell for unit in units for pair in unit.pairs for cell in pair),
    )


def _at_least(need: int, verdicts: Sequence[Holds]) -> Holds:
    """Decide whether ``need`` hold: as printed, else within rounding, else if the unreadable ones did."""
    count = 0
    for verdict in _ORDER[:0:-1]:
        count += verdicts.count(verdict)
        if count >= need:
            return verdict
    return Holds.NO
