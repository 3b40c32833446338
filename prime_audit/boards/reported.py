"""A publication's cells as a sheet: a tab for each task and base model, a row for each method."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prime_audit.boards.cells import AUC, DECIMALS, FILE, Cell, Reported, read_cells
from prime_audit.boards.config import read_board
from prime_audit.boards.gather import sheet_with
from prime_audit.lamp.tasks import TASKS
from prime_audit.report.places import Gap, with_places
from prime_audit.report.sheet import Figure, Sheet, Source


@dataclass(frozen=True)
class _Row:
    """One method of one tab, from one table or several that agree."""

    label: str
    cells: Mapping[str, tuple[Cell, ...]]
    """Metric → the cells that print it."""


def sheet(folder: Path) -> Sheet:
    """Read ``folder``'s board.toml and cells.json into what is shown; UserError if either is broken."""
    board = read_board(folder)
    reported = read_cells(folder / FILE)
    rows = _rows(reported)
    figures = [f for name, own in rows.items() for f in _figures(name, own, reported)]
    labels = dict.fromkeys(row.label for own in rows.values() for row in own)
    return sheet_with(
        board,
        tasks=tuple(rows),
        methods={label: {"parameters": _parameters(label, rows)} for label in labels},
        figures=tuple(figures),
        sources={f"Table {t}": Source(f"Table {t}", reported.publication.href) for t in reported.tables},
        notes=_notes(reported),
        warnings=tuple(_warnings(reported)),
    )


def tab(cell: Cell) -> str:
    """``LaMP-2 · Llama-2-7b``: the tab of a cell."""
    return f"{cell.task} · {cell.model}"


def disagreements(reported: Reported) -> Iterable[str]:
    """Name the figures that tables print with different values.

    ``perpcs, LaMP-2 · Llama-2-7b, accuracy: 0.363 (Tables 1, 4), 0.369 (Table 2)``.
    """
    groups: dict[Any, dict[float, list[Cell]]] = {}
    for cell in reported.cells:
        if cell.value is not None:
            groups.setdefault((cell.same, cell.metric), {}).setdefault(cell.value, []).append(cell)
    for by_value in groups.values():
        if len(by_value) > 1:
            first = next(iter(by_value.values()))[0]
            values = ", ".join(
                f"{value:.3f} (Table{'s' if len(own) > 1 else ''} {', '.join(c.table for c in own)})"
                for value, own in by_value.items()
            )
            yield f"{first.method}, {tab(first)}, {first.metric}: {values}"


def _rows(reported: Reported) -> dict[str, list[_Row]]:
    """Gather each tab's rows; a table's line joins the row of its method if they agree in all they share."""
    lines: dict[Any, dict[str, Cell]] = {}
    for cell in reported.cells:
        lines.setdefault((cell.same, cell.table), {})[cell.metric] = cell
    rows: dict[str, dict[Any, list[_Row]]] = {}
    for (same, _), line in lines.items():
        first = next(iter(line.values()))
        known = rows.setdefault(tab(first), {}).setdefault(same, [])
        for place, row in enumerate(known):
            if all(cell.value == other.value for m, cell in line.items() for other in row.cells.get(m, ())):
                known[place] = _joined(row, line)
                break
        else:
            known.append(_joined(_Row(_label(first, bool(known)), {}), line))
    return {name: [row for own in found.values() for row in own] for name, found in rows.items()}


def _joined(row: _Row, line: Mapping[str, Cell]) -> _Row:
    return _Row(row.label, {**row.cells, **{m: (*row.cells.get(m, ()), c) for m, c in line.items()}})


def _label(cell: Cell, disputed: bool) -> str:
    brackets = [text for text in (cell.variant, f"Table {cell.table}" if disputed else None) if text]
    return f"{cell.method} ({', '.join(brackets)})" if brackets else cell.method


def _parameters(label: str, rows: Mapping[str, Sequence[_Row]]) -> dict[str, dict[str, Any]]:
    """Collect the parameters that any of a row's tables names, by tab."""
    own = {name: [row for row in found if row.label == label] for name, found in rows.items()}
    return {
        name: {
            k: v for row in found for cells in row.cells.values() for c in cells for k, v in c.given.items()
        }
        for name, found in own.items()
        if found
    }


def _figures(name: str, rows: Sequence[_Row], reported: Reported) -> list[Figure]:
    """Return a tab's figures: a row's metrics in the task's order, then the AUC if any row has one."""
    task = next(iter(rows[0].cells.values()))[0].task
    metrics = [*TASKS[task].metrics, *([AUC] if any(AUC in row.cells for row in rows) else [])]
    figures = [_figure(name, task, row, metric, reported) for row in rows for metric in metrics]
    return with_places(figures, _printed)


def _printed(one: Figure, other: Figure) -> Gap:
    """Take printed values as they are: no error is printed."""
    assert one.value is not None
    assert other.value is not None
    return Gap(one.value - other.value, 0.0, math.inf)


def _figure(name: str, task: str, row: _Row, metric: str, reported: Reported) -> Figure:
    cells = row.cells.get(metric, ())
    leakage, said = metric == AUC, reported.publication
    return Figure(
        task=name,
        method=row.label,
        metric=metric,
        value=cells[0].value if cells else None,
        targets=said.targets if cells else 0,
        higher_is_better=None if leakage else TASKS[task].higher_is_better,
        reason="; ".join(dict.fromkeys(_remarks(cells))) or None if cells else "not reported",
        game=said.game if leakage else None,
        attack=said.attack if leakage else None,
        sources=tuple(f"Table {c.table}" for c in cells),
        seeds=tuple(c.value for c in cells if c.value is not None),
    )


def _remarks(cells: Iterable[Cell]) -> Iterable[str]:
    for cell in cells:
        if cell.stderr is not None:
            yield f"printed with ± {cell.stderr:.3f} (standard error)"
        if cell.reading:
            yield cell.reading


def _notes(reported: Reported) -> tuple[str, ...]:
    said = reported.publication
    return (
        f"Reported, not measured here ({said.cite}): every figure is as printed, with {DECIMALS} decimals, and "
        "names its tables.",
        "A row is one method. If a later table prints other values for it, that table has a row of its own with its "
        "number in brackets. Other brackets name a mean of several runs, or other profiles.",
        "Place: by the printed value; equal prints share one. No intervals are printed, so no place is certain.",
        f"AUC: game {said.game}, attack {said.attack}. ½ is chance, and distance from ½ in either direction is signal, "
        "so it has no place. The unmerged base's AUC is not reported, so what merging adds is unknown.",
    )


def _warnings(reported: Reported) -> Iterable[str]:
    for found in disagreements(reported):
        yield f"Tables disagree: {found}."
    for cell in reported.cells:
        if cell.reading:
            value = "no value" if cell.value is None else f"{cell.value:.3f}"
            yield f"Uncertain reading: {cell.source}, {value}. {cell.reading}"
