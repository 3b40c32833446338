"""A publication's tables as data: ``cells.json``, one row for each printed cell, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from prime_audit.boards.entries import entry, read_object
from prime_audit.errors import UserError, unknown
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.plan import REFERENCE, MethodSpec, parse_methods
from prime_audit.settings import load_settings

FILE = "cells.json"
SCHEMA = "prime-audit/reported/1"
AUC = "auc"
MARKS = ("bold", "underline")
DECIMALS = 3
"""Decimals of every printed cell; a cell covers all numbers that round to it."""
_TEXTS = ("table", "row", "column", "task", "metric", "method")


@dataclass(frozen=True)
class Table:
    """One table of the publication."""

    model: str
    """The base model, in the publication's words."""
    title: str
    """From its caption."""
    marks: str
    """What could be read of its bold and underlined cells."""


@dataclass(frozen=True)
class Publication:
    """The publication that the cells come from."""

    cite: str
    """The reference, one line."""
    href: str
    targets: int
    """Targets behind every figure."""
    game: str
    """The membership game of its AUCs."""
    attack: str
    """The score of its AUCs."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One printed cell."""

    table: str
    """Number of its table, with the letter of its part: 6a."""
    row: str
    """Its row, in the publication's words."""
    column: str
    """Its column, in the publication's words."""
    model: str
    task: str
    metric: str
    """One of the task's metrics, or auc."""
    method: str
    """prime-audit's label."""
    value: float | None = None
    """As printed; None if it could not be read, and then ``reading`` says why."""
    variant: str | None = None
    """What distinguishes it from the label's own cell: other profiles, a mean of runs."""
    stderr: float | None = None
    """Its standard error, as printed."""
    mark: str | None = None
    """``bold`` or ``underline``, if it can be read; None means unknown (see the table's marks)."""
    reading: str | None = None
    """How a doubtful cell was read, or why it could not be."""

    @property
    def place(self) -> str:
        """``LaMP-2 Acc, PriME +RAG``: its place in its table."""
        return f"{self.row}, {self.column}"

    @property
    def source(self) -> str:
        """``Table 1, LaMP-2 Acc, PriME +RAG``: where it is printed."""
        return f"Table {self.table}, {self.place}"

    @property
    def shown(self) -> str:
        """The value as printed."""
        return "(not readable)" if self.value is None else f"{self.value:.{DECIMALS}f}"

    @property
    def higher_is_better(self) -> bool | None:
        """Direction of the metric; None for an AUC, where ½ is chance."""
        return None if self.metric == AUC else TASKS[self.task].higher_is_better

    @property
    def spec(self) -> MethodSpec:
        """The method, parsed."""
        return _spec(self.method)

    @property
    def core(self) -> str:
        """The first word of the label: prime, perpcs, oppu, np, rag, pag."""
        return re.split(r"[:+]", self.method)[0]

    @property
    def front(self) -> str:
        """What is put in front of the prompt: rag, pag, or nothing."""
        return "+".join(part.plugin.name for part in self.spec.fronts)

    @property
    def params(self) -> dict[str, Any]:
        """All parameters in force under the preset ``paper``: ``{"prime.alpha": 0.2, …}``."""
        return {
            f"{name}.{key}": value for name, own in _in_force(self.method, self.task) for key, value in own
        }

    @property
    def given(self) -> dict[str, Any]:
        """Those parameters that the label names."""
        named = {f"{p.plugin.name}.{key}" for p in self.spec.parts for key, _ in p.given}
        return {key: value for key, value in self.params.items() if key in named}

    @property
    def same(self) -> tuple[Any, ...]:
        """Equal for cells of one row: model, task, variant, and the method under any of its labels."""
        return (self.model, self.task, self.variant, frozenset(_in_force(self.method, self.task)))


@dataclass(frozen=True)
class Reported:
    """A publication's tables."""

    publication: Publication
    tables: Mapping[str, Table]
    """By number, in their order."""
    cells: tuple[Cell, ...]
    """In the order of the file."""


@cache
def _spec(label: str) -> MethodSpec:
    specs = parse_methods(label)
    if len(specs) != 1:
        raise UserError(f"method {label!r} is not a single label; write for example prime:alpha=0.2+rag")
    return specs[0]


@cache
def _in_force(label: str, task: str) -> tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]:
    """Return (plugin, (parameter, value) …) of every part, with the preset's numbers filled in."""
    settings = load_settings("paper")
    return tuple((p.plugin.name, tuple(p.values(settings, task).items())) for p in _spec(label).parts)


def read_cells(path: Path) -> Reported:
    """Read ``path`` (a ``cells.json``).

    Raises UserError if the file is missing or broken, or a row cannot be a cell; it names the row, counted from 1.
    """
    content = read_object(path, SCHEMA)
    publication = entry(Publication, content.get("publication"), f"{path}: publication")
    tables, rows = content.get("tables"), content.get("cells")
    if not isinstance(tables, dict):
        raise UserError(f"{path}: tables is not a JSON object; fix it")
    known = {name: entry(Table, own, f"{path}: table {name}") for name, own in tables.items()}
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path}: has no cells; add a list of rows")
    cells: list[Cell] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        cell = _cell(row, known, f"{path}: row {number}")
        if (first := seen.setdefault(cell.source, number)) != number:
            raise UserError(f"{path}: row {number}: {cell.source} is in row {first} already; drop one")
        cells.append(cell)
    return Reported(publication, known, tuple(cells))


def _cell(row: Any, tables: Mapping[str, Table], where: str) -> Cell:
    cell = entry(Cell, row, where, model="")  # its table names it
    if empty := next((key for key in (*_TEXTS, "variant", "reading") if getattr(cell, key) == ""), None):
        raise UserError(f"{where}: {empty} is empty; fill it in")
    if cell.table not in tables:
        raise UserError(f"{where}: {unknown('table', cell.table, tables)}")
    if cell.task not in TASKS:
        raise UserError(f"{where}: {unknown('task', cell.task, TASKS)}")
    metrics = (*TASKS[cell.task].metrics, AUC)
    if cell.metric not in metrics:
        raise UserError(f"{where}: {unknown('metric', cell.metric, metrics)}")
    if cell.mark not in (None, *MARKS):
        raise UserError(f"{where}: {unknown('mark', cell.mark, MARKS)}")
    _require_printed(cell.value, cell.metric, f"{where}: value")
    _require_printed(cell.stderr, cell.metric, f"{where}: stderr")
    if cell.value is None and not cell.reading:
        raise UserError(f"{where}: has no value; say in reading why it could not be read")
    cell = replace(cell, model=tables[cell.table].model)
    _require_method(cell, where)
    return cell


def _require_method(cell: Cell, where: str) -> None:
    try:
        spec, _ = cell.spec, cell.params  # the second refuses parameters that do not exist
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    # np+rag and rag are one method; a file with both would split its row.
    if spec.label != cell.method:
        raise UserError(f"{where}: method {cell.method!r} is labelled {spec.label!r}; write that")
    if cell.method == REFERENCE and cell.metric == AUC:
        raise UserError(f"{where}: {REFERENCE} merges no adapters and has no AUC; correct the method")


def _require_printed(value: float | None, metric: str, where: str) -> None:
    """Refuse a number that the metric cannot have, or with more decimals than are printed."""
    # Ratings are from 1 to 5, so an error is at most 4.
    if value is not None and not 0 <= value <= (4 if metric in ("MAE", "RMSE") else 1):
        raise UserError(f"{where} {value:g} is outside the range of {metric}; correct it")
    if value is not None and round(value, DECIMALS) != value:
        raise UserError(f"{where} {value!r} has more than {DECIMALS} decimals; write it as printed")
