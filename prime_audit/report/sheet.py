"""What a table, a frontier or a page shows: one run's figures or a leaderboard's, in one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from prime_audit.record import Comparison, Leak


@dataclass(frozen=True)
class Source:
    """A record behind a figure."""

    id: str
    """The run's id (of a reported figure: the table it stands in)."""
    href: str
    """Where it lies, relative to the sheet's folder, or the address of a publication."""
    seed: int | None = None
    """The run's seed; None where nobody reported one."""


@dataclass(frozen=True)
class Figure:
    """One figure of one method on one task, over all the runs behind it."""

    task: str
    """The task's name."""
    method: str
    """The method's label, parameters included, for instance prime:alpha=0.6+rag."""
    metric: str
    """A metric of the task, auc, or a control of the auc (auc_base, auc_bag_of_words, …)."""
    value: float | None
    """The figure: of several seeds, their mean; None where there is none, and then reason says why."""
    ci: tuple[float, float] | None = None
    """Its interval; None where the data carry none."""
    n: int = 0
    """Questions, or scored items, of one run."""
    targets: int = 0
    """Targets of one run."""
    higher_is_better: bool | None = None
    """Direction; None for an AUC, which is best at ½."""
    reason: str | None = None
    """Why there is no value or no interval."""
    game: str | None = None
    """The membership game, for leakage."""
    attack: str | None = None
    """The score used, for leakage."""
    difference: float | None = None
    """Method minus baseline, paired."""
    difference_ci: tuple[float, float] | None = None
    """Its interval."""
    baseline: str | None = None
    """What was subtracted: np for utility, base for leakage."""
    rank: tuple[int, int] | None = None
    """Best and worst place in its column that the intervals allow, from 1; None where the column has no order."""
    sources: tuple[str, ...] = ()
    """Ids of the records behind it."""
    seeds: tuple[float, ...] = ()
    """The value of each record, in the order of sources."""


class Judged(NamedTuple):
    """A row of a control panel."""

    leak: Leak
    """The figure and what stands beside it."""
    source: str
    """Id of the record it stands in."""
    gap: Comparison | None = None
    """Its AUC minus the unmerged base's, of the same record; None where that holds none."""


@dataclass(frozen=True)
class Sheet:
    """Everything that is shown of one run or one leaderboard."""

    name: str
    """Short name: the board's, or the run folder's."""
    title: str
    """One line."""
    about: tuple[str, ...]
    """Paragraphs: what it is, how to read it."""
    command: str
    """What makes it again."""
    model: str
    """The base model."""
    tasks: tuple[str, ...]
    """Tasks in their order."""
    methods: Mapping[str, Mapping[str, Any]]
    """Label → what is told of it, in their order: ``parameters`` by task; by other names what holds for all."""
    figures: tuple[Figure, ...]
    """Every figure."""
    leaks: tuple[Judged, ...] = ()
    """Control panels of all records."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Records by id."""
    notes: tuple[str, ...] = ()
    """What the figures rest on: intervals, sizes, sampling."""
    warnings: tuple[str, ...] = ()
    """What a reader must know before believing them."""
    plugins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """As in the record, for games that are not installed where the sheet is shown."""
