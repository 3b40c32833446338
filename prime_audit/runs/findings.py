"""What a run has found so far: parts of its record, and rows of the files beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prime_audit.faults import Faults
from prime_audit.games.exam.played import Played
from prime_audit.games.exam.sharing import taken_away
from prime_audit.games.exam.stored import Exam
from prime_audit.record import CanaryCost, Comparison, Data, Exposure, Leak, Result


@dataclass(kw_only=True)
class Findings:
    """What a run has found so far, task by task."""

    data: list[Data] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    exposures: list[Exposure] = field(default_factory=list)
    canary_costs: list[CanaryCost] = field(default_factory=list)
    community: dict[str, Any] = field(default_factory=dict)
    predictions: list[Mapping[str, object]] = field(default_factory=list)
    scores: list[Mapping[str, object]] = field(default_factory=list)
    models: list[Mapping[str, object]] = field(default_factory=list)
    exams: list[Exam] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)

    def take(self, task: str, played: Played) -> None:
        """Take down all that a game found, under every label that it is a figure of."""
        for where, fault in played.faults(task):
            self.faults.note(fault, where)
        self.scores += played.rows(task)
        for label in played.one.labels:
            self.results += played.results(task, label)
            self.comparisons += played.comparisons(task, label)
            self.leaks += played.leaks(task, label)

    def take_all(self, task: str, rounds: Iterable[Played]) -> None:
        """Take down all games of a task, and what two of them say together."""
        every = []
        for played in rounds:
            self.take(task, played)
            every.append(played)
        self.comparisons += taken_away(task, every)
