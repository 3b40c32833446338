"""What is reported of one run or of one leaderboard: figures, control panels, and the records behind them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from prime_audit.record import Comparison, Leak, Record, Result
from prime_audit.report.games import GameNote, note_of

AUC, BASE = "auc", "auc_base"
SHARED = "adapter"
"""The game of the shared adapters themselves."""
VULNERABLE = "The most vulnerable records"
"""Title of ``Sheet.vulnerable``."""
_LEAKAGE = frozenset({AUC, BASE, "auc_bag_of_words", "auc_length_only", "auc_similarity_only"})


def is_leakage(metric: str) -> bool:
    """Whether ``metric`` is an AUC or a control of one."""
    return metric in _LEAKAGE


@dataclass(frozen=True)
class Source:
    """A record behind a figure."""

    id: str
    """The run's id; of a reported figure, the name of its table."""
    href: str
    """Its path relative to the sheet's folder, or the address of a publication."""
    seed: int | None = None
    """The run's seed; None where none was reported."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of one method on one task, over all the runs behind it."""

    task: str
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
    """Best and worst place in its column that paired differences allow, from 1; None where it has no order."""
    cut: float | None = None
    """Share of the answers that were cut at max_new tokens, mean over runs; None: unknown."""
    q: float | None = None
    """Of an AUC on a board: the smallest level at which the board calls a leak; None where members were selected."""
    sources: tuple[str, ...] = ()
    """Ids of the records behind it."""
    seeds: tuple[float, ...] = ()
    """The value of each record, in the order of sources."""

    @property
    def merit(self) -> float:
        """The value, turned so that more is better; the worst where there is none."""
        if self.value is None:
            return -math.inf
        return -self.value if self.higher_is_better is False else self.value

    @property
    def of_a_game(self) -> bool:
        """Whether it is of leakage: by its metric, or because a game was played for it."""
        return self.game is not None or is_leakage(self.metric)


class PanelRow(NamedTuple):
    """A row of a control panel."""

    leak: Leak
    """The figure and its verdict."""
    source: str
    """Id of its record."""
    gap: Comparison | None = None
    """Its AUC minus the unmerged base's, of the same record; None where that holds none."""
    known: GameNote | None = None
    """What the record says of its game; None where it has no entry of it."""
    left: Comparison | None = None
    """Its AUC minus that of the shared adapters; None but for the game heldout beside the game adapter."""
    unable: bool = False
    """Whether the model is not shown to do the task."""

    @property
    def game(self) -> GameNote:
        """What a reader must know of its game."""
        return self.known or note_of(self.leak.game)


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Everything that is shown of one run or one leaderboard."""

    name: str
    """Short name: the board's, or the run folder's."""
    title: str
    """One line."""
    about: tuple[str, ...]
    """Paragraphs: what it is, how to read it."""
    command: str
    """What builds it again."""
    model: str
    tasks: tuple[str, ...]
    methods: Mapping[str, Mapping[str, Any]]
    """Label → what is known of it, in their order: ``parameters`` by task; by other names what holds for all."""
    figures: tuple[Figure, ...]
    leaks: tuple[PanelRow, ...] = ()
    """Control panels of all records."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Records by id."""
    vulnerable: tuple[str, ...] = ()
    """The most vulnerable records of a run, a line each."""
    controls: tuple[str, ...] = ()
    """Labels of methods that are there for comparison only."""
    notes: tuple[str, ...] = ()
    """What the figures rest on: intervals, sizes, sampling."""
    failures: tuple[str, ...] = ()
    """Parts of a run that failed while the rest went on."""
    able: Mapping[str, str] = field(default_factory=dict)
    """Task that the model is shown to do → by which figures."""
    unable: Mapping[str, str] = field(default_factory=dict)
    """Task that the model is not shown to do → the line that says so, shown above its table."""
    warnings: tuple[str, ...] = ()
    """What else a reader must know before believing the figures."""

    def parameters(self, method: str, task: str) -> Mapping[str, Any]:
        """Return a method's parameters on a task."""
        return dict(self.methods[method].get("parameters", {}).get(task, {}))


def cut_share(results: Iterable[Result]) -> float | None:
    """Return the mean share of answers that were cut at max_new tokens; None where no result says."""
    known = [r.cut / r.n for r in results if r.cut is not None and r.n]
    return sum(known) / len(known) if known else None


def judged(record: Record, source: str) -> tuple[PanelRow, ...]:
    """Pair every verdict of a record with its AUC minus the unmerged base's; ``source``: the record's id."""
    gaps = {
        (c.task, c.method, c.game, c.attack, c.baseline): c for c in record.comparisons if c.metric == AUC
    }
    unable = {ability.task for ability in record.abilities if not ability.shown}
    return tuple(
        PanelRow(
            leak,
            source,
            gaps.get((leak.task, leak.method, leak.game, leak.attack, "base")),
            note_of(leak.game, record.plugins),
            gaps.get((leak.task, leak.method, leak.game, leak.attack, SHARED)),
            leak.task in unable,
        )
        for leak in record.leaks
    )
