"""What a run has found so far: parts of its record, and rows of the files beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from prime_audit.audit.verdict import ALPHA, Evidence, over_tasks, verdict
from prime_audit.faults import Faults
from prime_audit.games.exam.played import Played
from prime_audit.games.exam.sharing import taken_away
from prime_audit.games.exam.stored import Exam
from prime_audit.record import (
    Ability,
    CanaryCost,
    Comparison,
    Data,
    Exposure,
    Extraction,
    Leak,
    Result,
    Vulnerable,
)

KINDS = ("no effect", "ability", "cut answers", "games", "community", "answers", "data", "model", "chance")
"""Kinds of warnings, what matters most first: settings without effect, what decides whether figures mean anything."""
FEW = 5
"""Records that a report names as the most vulnerable."""


BEYOND = "something is beyond chance"
"""A warning with these words speaks of the attacks that were judged together, and of no others."""


@dataclass(kw_only=True)
class Findings:
    """What a run has found so far, task by task."""

    data: list[Data] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    unaided: list[Comparison] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    """As if their task was all that was audited; ``settled`` judges them together."""
    evidence: list[Evidence] = field(default_factory=list)
    """Of each leak."""
    exposures: list[Exposure] = field(default_factory=list)
    canary_costs: list[CanaryCost] = field(default_factory=list)
    extractions: list[Extraction] = field(default_factory=list)
    extracted: list[dict[str, Any]] = field(default_factory=list)
    community: dict[str, Any] = field(default_factory=dict)
    predictions: list[Mapping[str, object]] = field(default_factory=list)
    scores: list[Mapping[str, object]] = field(default_factory=list)
    vulnerable: list[dict[str, Any]] = field(default_factory=list)
    models: list[Mapping[str, object]] = field(default_factory=list)
    exams: list[Exam] = field(default_factory=list)
    abilities: list[Ability] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    """(kind, line) of each; ``warned`` sorts them."""
    faults: Faults = field(default_factory=Faults)

    def warn(self, kind: str, lines: Iterable[str]) -> None:
        """Note warnings of one of ``KINDS``."""
        self.warnings += [(kind, line) for line in lines]

    def warned(self) -> tuple[str, ...]:
        """Return all warnings, in the order of ``KINDS``."""
        every = [*self.warnings, *(("chance", line) for line in self.expected())]
        return tuple(line for kind in KINDS for own, line in every if own == kind)

    def take(self, task: str, played: Played) -> None:
        """Take down all that a game found, under every label that it is a figure of."""
        for where, fault in played.faults(task):
            self.faults.note(fault, where)
        self.scores += played.rows(task)
        self.vulnerable += played.vulnerable(task)
        for label in played.one.labels:
            self.results += played.results(task, label)
            self.comparisons += played.comparisons(task, label)
            self.leaks += played.leaks(task, label)
            self.evidence += [one.evidence for one in played.judged]

    def take_all(self, task: str, rounds: Iterable[Played]) -> None:
        """Take down all games of a task, and what two of them say together."""
        every = []
        for played in rounds:
            self.take(task, played)
            every.append(played)
        self.comparisons += taken_away(task, every)

    def settled(self) -> tuple[Leak, ...]:
        """Return the leaks with their verdicts over all tasks, each game's together."""
        found = list(self.leaks)
        for _, tasks, judged in self._over_tasks():
            for own, q in zip(tasks, judged, strict=True):
                for place, (of_leak, already) in zip(own, q, strict=True):
                    leak = found[place]
                    said = verdict(self.evidence[place], of_leak, already)
                    found[place] = replace(
                        leak,
                        verdict=said.word,
                        why=said.reason,
                        q=None if leak.p_adjusted is None else of_leak,
                        q_already=None if leak.p_already is None else already,
                    )
        return tuple(found)

    def expected(self) -> list[str]:
        """Say for each game with findings how many of them to expect by chance, whatever their verdicts."""
        lines = []
        for game, tasks, judged in self._over_tasks():
            called = sum(any(min(q) <= ALPHA for q in own) for own in judged)
            if not called:
                continue
            line = f"game {game}: {BEYOND} (q ≤ {ALPHA:g}) in "
            if len(tasks) == 1:
                line += f"its one task; at most {100 * ALPHA:g} % of such runs show that without any leak"
            else:
                line += (
                    f"{called} of {len(tasks)} tasks; on average over such runs, at most {100 * ALPHA:g} % of these "
                    "tasks hold a false call"
                )
            lines.append(line)
        return lines

    def _over_tasks(self) -> Iterator[tuple[str, list[list[int]], list[list[tuple[float, float]]]]]:
        """Yield each game, the places of its leaks by task, and both q of each."""
        leaks = self.leaks
        for places in _by(range(len(leaks)), lambda place: leaks[place].game):
            tasks = _by(places, lambda place: leaks[place].task)
            judged = over_tasks([[self.evidence[place] for place in own] for own in tasks])
            yield leaks[places[0]].game, tasks, judged

    def most_vulnerable(self) -> tuple[Vulnerable, ...]:
        """Return the few most vulnerable records of each task, method and game that has shadow adapters."""
        groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in self.vulnerable:
            if row["d"] is not None:
                groups.setdefault((row["task"], row["method"], row["game"]), []).append(row)
        ranked = (sorted(rows, key=lambda row: -row["d"])[:FEW] for rows in groups.values())
        return tuple(Vulnerable(**row) for rows in ranked for row in rows)


def _by(places: Iterable[int], key: Callable[[int], str]) -> list[list[int]]:
    """Sort places into lists of one key, in order of appearance."""
    found: dict[str, list[int]] = {}
    for place in places:
        found.setdefault(key(place), []).append(place)
    return list(found.values())
