"""What a run has found so far: parts of its record, and rows of the files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prime_audit.faults import Faults
from prime_audit.games.exam.played import Played
from prime_audit.games.exam.stored import Exam
from prime_audit.record import CanaryCost, Comparison, Data, Exposure, Leak, Result, Vulnerable

FEW = 5
"""Records that a report names as the most exposed."""


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
    vulnerable: list[dict[str, Any]] = field(default_factory=list)
    models: list[Mapping[str, object]] = field(default_factory=list)
    exams: list[Exam] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)

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

    def most_exposed(self) -> tuple[Vulnerable, ...]:
        """Return the few most exposed records of each task, method and game that has shadow adapters."""
        groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in self.vulnerable:
            if row["d"] is not None:
                groups.setdefault((row["task"], row["method"], row["game"]), []).append(row)
        ranked = (sorted(rows, key=lambda row: -row["d"])[:FEW] for rows in groups.values())
        return tuple(Vulnerable(**row) for rows in ranked for row in rows)
