"""A method's risk: its worst verdict over all games and attacks, its largest leak over the base, its largest ε.

One rule for the terminal, the tables, the page and the summary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from prime_audit.errors import unknown
from prime_audit.report.sheet import PanelRow, Sheet

SEVERITY = (
    "leaks",
    "leaks, already in the base",
    "leaks in a record, not board-wide",
    "confounded",
    "too few to say",
    "no leak found",
)
"""From the worst to the best."""
EXPOSED = ("sharers", "the target", "shared adapters")
"""What a game can find exposed (``prime_audit.plugins.contracts``)."""


def grade(verdict: str) -> str:
    """Return a verdict's word in ``SEVERITY``; a board words its own (``prime_audit.boards.wide``)."""
    if verdict in SEVERITY:
        return verdict
    if "not board-wide" in verdict:
        return SEVERITY[2]
    return SEVERITY[1] if "already" in verdict else SEVERITY[0]


@dataclass(frozen=True)
class Risk:
    """What is known of the leaks of one method on one task."""

    rows: tuple[PanelRow, ...]
    """Its verdicts, of all games, attacks and records; empty where nothing was audited. What the shared adapters leak
    before any merge is not the method's."""

    @cached_property
    def worst(self) -> PanelRow | None:
        """The row that decides: the worst verdict, then the largest difference to the base, then the largest AUC.

        A game whose members were selected decides only where no other was played: it can never say more than
        *confounded*.
        """
        return min(self.deciding, key=_weight, default=None)

    @cached_property
    def deciding(self) -> Sequence[PanelRow]:
        """The rows of games whose members were drawn; where there are none, all."""
        return [x for x in self.rows if x.game.drawn] or self.rows

    @property
    def verdict(self) -> str | None:
        """The worst verdict (``SEVERITY``); None where nothing was audited."""
        return grade(self.worst.leak.verdict) if self.worst else None

    @property
    def over_base(self) -> PanelRow | None:
        """The row whose AUC may be farthest over the unmerged base's (``reach``), of games whose members were drawn."""
        known = [x for x in self.rows if x.game.drawn and reach(x) is not None]
        return max(known, key=lambda x: reach(x) or 0.0, default=None)

    @property
    def epsilon(self) -> PanelRow | None:
        """The row with the largest lower bound on ε."""
        known = [x for x in self.rows if x.leak.epsilon is not None]
        return max(known, key=lambda x: x.leak.epsilon or 0.0, default=None)


def _weight(x: PanelRow) -> tuple[float, ...]:
    gap = x.gap.difference if x.gap else None
    return SEVERITY.index(grade(x.leak.verdict)), -(gap or 0.0), -(x.leak.auc or 0.0)


def reach(x: PanelRow) -> float | None:
    """Say how far a row's AUC may be over the base's: the upper limit of its interval, else its figure."""
    if x.gap is None or x.gap.difference is None:
        return None
    return x.gap.ci[1] if x.gap.ci else x.gap.difference


def risks(sheet: Sheet, task: str) -> Mapping[str, Risk]:
    """Return the risk of every method of a task, in the sheet's order."""
    rows: dict[str, list[PanelRow]] = {m: [] for m in sheet.methods}
    for one in sheet.leaks:
        if one.leak.task == task and one.game.exposes != EXPOSED[2]:
            rows.setdefault(one.leak.method, []).append(one)
    present = {f.method for f in sheet.figures if f.task == task}
    return {m: Risk(tuple(own)) for m, own in rows.items() if m in present}


@dataclass(frozen=True)
class Choice:
    """A risk that someone accepts, over all games that were played; what no game asked about never qualifies."""

    key: str
    says: str
    accepts: Callable[[Risk], bool]


def _over(most: float) -> Callable[[Risk], bool]:
    def accepts(risk: Risk) -> bool:
        far = reach(risk.over_base) if risk.over_base else None
        return far is not None and far <= most

    return accepts


def _bound(most: float) -> Callable[[Risk], bool]:
    return lambda risk: risk.epsilon is not None and (risk.epsilon.leak.epsilon or 0.0) <= most


CHOICES = (
    Choice("any", "any", lambda _: True),
    Choice("no-leak-shown", "no leak shown", lambda risk: risk.verdict in SEVERITY[3:]),
    Choice("no-leak-found", "no leak found in any game played", lambda risk: risk.verdict == SEVERITY[-1]),
    *(Choice(f"auc-{x:g}", f"AUC over base at most {x:g} (95 %)", _over(x)) for x in (0.05, 0.1, 0.2)),
    *(Choice(f"epsilon-{x:g}", f"ε ≤ {x:g}, as far as shown", _bound(x)) for x in (0.5, 1.0)),
)


def choice_of(key: str) -> Choice:
    """Return a choice by its key; UserError for an unknown one."""
    found = {one.key: one for one in CHOICES}
    if key not in found:
        raise unknown("--risk", key, found)
    return found[key]
