"""Which printed cells a claim speaks of, which it sets against which, and what counts as better."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from prime_audit.boards.cells import AUC, Cell, Reported
from prime_audit.boards.rounding import Span, Verdict, better, distance_from_half, gain, printed
from prime_audit.errors import UserError, unknown

LOWER, DISTANCE = "AUC: lower is better", "AUC: nearer to ½ is better"
"""The two readings of an AUC: the publication's, and the one that an attacker who may turn the score round leaves."""
UTILITY = "utility"
"""Stands for every metric but auc."""
LIKE = ("table", "task", "metric")
"""What two cells share when they are compared, unless a claim says otherwise."""
_FIELDS = ("table", "row", "column", "task", "metric", "method", "core", "front", "variant", "model")
_PICK = "pick"
Selector = Mapping[str, Any]
"""Field of a cell → the value, or one of the values, it has; ``"pick": "best"`` keeps the best of what is alike."""


@dataclass(frozen=True)
class Pair:
    """Two cells that a claim compares."""

    ours: Cell
    theirs: Cell

    def __str__(self) -> str:
        """Write both with their values; the table once, where it is one."""
        theirs = self.theirs.place if self.theirs.table == self.ours.table else self.theirs.source
        return f"{self.ours.source} {shown(self.ours)} against {theirs} {shown(self.theirs)}"


def shown(cell: Cell) -> str:
    """Write a value as printed."""
    return "(not readable)" if cell.value is None else f"{cell.value:.3f}"


def keys(cell: Cell, names: Iterable[str]) -> tuple[Any, ...]:
    """Return these fields of a cell."""
    return tuple(getattr(cell, name) for name in names)


@dataclass(frozen=True)
class Look:
    """The cells, under one reading of an AUC; ``where`` names the claim in messages."""

    reported: Reported
    reading: str
    where: str

    def select(self, selector: Selector, like: Sequence[str] = LIKE) -> list[Cell]:
        """Return the cells that a selector names, in their order; UserError where it names none."""
        if not isinstance(selector, Mapping):
            raise UserError(
                f"{self.where}: {selector!r} is no selection; write for instance {{'table': '1'}}"
            )
        cells = list(self.reported.cells)
        for field, wanted in selector.items():
            if field == _PICK:
                continue
            if field not in _FIELDS:
                raise UserError(f"{self.where}: {unknown('field', field, (*_FIELDS, _PICK))}")
            choices = self._choices(field, wanted)
            cells = [c for c in cells if getattr(c, field) in choices]
        if not cells:
            raise UserError(f"{self.where}: {dict(selector)} selects no cell; correct it")
        if _PICK in selector:
            if selector[_PICK] != "best":
                raise UserError(f"{self.where}: {unknown('pick', str(selector[_PICK]), ('best',))}")
            return self._best(cells, like)
        return cells

    def _choices(self, field: str, wanted: Any) -> set[Any]:
        """Return the values of a field that are asked for; UserError where no cell has one."""
        known = {getattr(c, field) for c in self.reported.cells} - {None}
        chosen = set()
        for choice in wanted if isinstance(wanted, list) else [wanted]:
            if field == "metric" and choice == UTILITY:
                chosen |= known - {AUC}
            elif isinstance(choice, str) and choice in known:
                chosen.add(choice)
            else:
                raise UserError(f"{self.where}: {unknown(field, str(choice), known)}")
        return chosen

    def _best(self, cells: Sequence[Cell], like: Sequence[str]) -> list[Cell]:
        groups: dict[tuple[Any, ...], Cell] = {}
        for cell in cells:
            if cell.value is None:
                raise UserError(
                    f"{self.where}: the best of cells is asked for, and {cell.source} has no value"
                )
            best = groups.setdefault(keys(cell, like), cell)
            if self.better(Pair(cell, best)) is Verdict.HOLDS:
                groups[keys(cell, like)] = cell
        return list(groups.values())

    def pairs(self, of: Selector, over: Selector, like: Sequence[str] = LIKE) -> list[Pair]:
        """Set every cell of one selection against all of the other that are like it; UserError where one has none."""
        theirs = self.select(over, like)
        found = []
        for cell in self.select(of, like):
            own = [Pair(cell, t) for t in theirs if keys(t, like) == keys(cell, like)]
            if not own:
                raise UserError(
                    f"{self.where}: {cell.source} has nothing to be compared with; correct over or like"
                )
            found += own
        return found

    def steps(self, of: Selector, parameter: str) -> list[Pair]:
        """Set every cell against the one before it along a parameter, line by line of (table, task, metric)."""
        lines: dict[tuple[Any, ...], list[Cell]] = {}
        for cell in self.select(of):
            if parameter not in cell.params:
                raise UserError(f"{self.where}: {cell.source} has no parameter {parameter}; correct along")
            lines.setdefault(keys(cell, LIKE), []).append(cell)
        found = []
        for line in lines.values():
            line.sort(key=lambda c: c.params[parameter])
            for before, after in pairwise(line):
                if before.params[parameter] == after.params[parameter]:
                    raise UserError(
                        f"{self.where}: {before.source} and {after.source} share their {parameter}; drop one"
                    )
                found.append(Pair(after, before))
        return found

    def better(self, pair: Pair) -> Verdict:
        """Tell whether ours is better than theirs."""
        ours, theirs = self._span(pair.ours), self._span(pair.theirs)
        if ours is None or theirs is None:
            return Verdict.UNKNOWN
        return better(ours, theirs, bool(pair.ours.higher_is_better))

    def gain(self, pair: Pair) -> Span | None:
        """Return the relative improvement of ours over theirs, percent; None where it is not known."""
        ours, theirs = self._span(pair.ours), self._span(pair.theirs)
        if ours is None or theirs is None:
            return None
        return gain(ours, theirs, bool(pair.ours.higher_is_better))

    def _span(self, cell: Cell) -> Span | None:
        if cell.value is None:
            return None
        span = printed(cell.value)
        return distance_from_half(span) if cell.metric == AUC and self.reading == DISTANCE else span


Relation = Callable[[Look, Pair], Verdict]


def _not_worse(look: Look, pair: Pair) -> Verdict:
    """Count an equal print as not worse."""
    verdict = look.better(pair)
    return Verdict.HOLDS if verdict is Verdict.ROUNDING else verdict


RELATIONS: dict[str, Relation] = {
    "better": Look.better,
    "not worse": _not_worse,
    "worse": lambda look, pair: look.better(Pair(pair.theirs, pair.ours)),
}
"""What ours may be to theirs."""
