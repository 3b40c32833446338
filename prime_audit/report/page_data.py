"""A sheet as the compact JSON that the page's script reads: what is said often stands there once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from prime_audit.record import Comparison, Leak
from prime_audit.report import panel
from prime_audit.report.columns import Column, Group, TaskView
from prime_audit.report.page_text import gapped, link, thousandths
from prime_audit.report.series import COLOURS, MARKERS, alpha_of, series_of
from prime_audit.report.sheet import Figure, Judged, Sheet

PARAMETERS = "parameters"
"""Where a sheet's methods keep their parameters."""
CELL = (
    *("value", "lo", "hi", "n", "targets", "reason", "difference", "difference_lo", "difference_hi"),
    *("baseline", "best", "worst", "records", "seeds"),
)
"""Fields of a figure in their order: numbers in thousandths, texts and sets of records by their place."""
LEAK = (
    *("auc", "lo", "hi", "verdict", "why", "told", "p", "p_adjusted"),
    *("control", "over", "over_lo", "over_hi", "tpr", "epsilon", "ceiling", "sizes"),
    *("gap", "gap_lo", "gap_hi", "no_base"),
)
"""Fields of a control panel in their order; ``why`` is the place of a text with gaps, ``told`` what fills them;
``gap`` is the AUC minus the unmerged base's."""
SIZES = ("limits", "members", "others", "undefined", "undefined_base", "both_sides")
"""What many control panels have in common: FPR limits, and counts of items."""


class Places:
    """Things by their place in a list, each once."""

    def __init__(self) -> None:
        self._at: dict[Any, int] = {}

    def of(self, thing: Any) -> int:
        """Return the place of a hashable thing."""
        return self._at.setdefault(thing, len(self._at))

    def all(self) -> list[Any]:
        """List them in the order of their places."""
        return list(self._at)


class Packer:
    """Packs one sheet."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.texts, self.cells, self.leaks, self.sizes, self.records, self.sets = (Places() for _ in range(6))
        self.records_of_sheet = [self.records.of(id) for id in sheet.sources]

    def pack(self, views: Sequence[TaskView]) -> dict[str, Any]:
        """Return the page's data as JSON types."""
        tasks = [self._task(view) for view in views]
        methods = list(self.sheet.methods)
        series = list(dict.fromkeys(map(series_of, methods)))
        return {
            "cell_fields": CELL,
            "leak_fields": LEAK,
            "size_fields": SIZES,
            "methods": methods,
            "series_of": [series.index(series_of(m)) for m in methods],
            "series": [_look(name, place, methods) for place, name in enumerate(series)],
            "tasks": tasks,
            "cells": [_trimmed(cell) for cell in self.cells.all()],
            "leaks": self.leaks.all(),
            "sizes": self.sizes.all(),
            "sets": self.sets.all(),
            "records": [self._record(id) for id in self.records.all()],
            "legend": panel.LEGEND,
            "texts": self.texts.all(),
        }

    def _task(self, view: TaskView) -> dict[str, Any]:
        said = [self.sheet.methods[m] for m in view.methods]
        params = [params_of(x, view.task) for x in said]
        return {
            "name": view.task,
            "methods": [list(self.sheet.methods).index(m) for m in view.methods],
            "params": [self._lines(own) for own in params],
            "said": [self._lines(notes_of(x)) for x in said],
            "alpha": [alpha_of(m, own) for m, own in zip(view.methods, params, strict=True)],
            "utility": [self._column(column) for column in view.utility],
            "groups": [self._group(group) for group in view.groups],
        }

    def _group(self, group: Group) -> dict[str, Any]:
        return {
            "game": group.game,
            "attack": group.attack,
            "drawn": group.note.drawn,
            "says": self._text(group.note.says),
            "columns": [self._column(column) for column in group.columns],
            "controls": [self._column(column) for column in group.controls],
            "leaks": [[self._judged(judged) for judged in own] for own in group.leaks],
        }

    def _column(self, column: Column) -> dict[str, Any]:
        head = {
            "metric": column.metric,
            "title": column.title,
            "compared": column.compared,
            "better": column.better,
        }
        if column.compared:  # of the same cells as the column of the metric's values
            return head
        return head | {"cells": [None if f is None else self.cells.of(self._figure(f)) for f in column.cells]}

    def _figure(self, f: Figure) -> tuple[Any, ...]:
        """Pack a figure in the order of ``CELL``."""
        return (
            thousandths(f.value),
            *map(thousandths, f.ci or (None, None)),
            f.n,
            f.targets,
            self._text(f.reason),
            thousandths(f.difference),
            *map(thousandths, f.difference_ci or (None, None)),
            self._text(f.baseline),
            *(f.rank or (None, None)),
            self.records_behind(f.sources),
            tuple(map(thousandths, f.seeds)) if len(f.seeds) > 1 else None,
        )

    def _judged(self, judged: Judged) -> tuple[int, int]:
        return self.leaks.of(self._leak(judged.leak, judged.gap)), self.records.of(judged.source)

    def _leak(self, x: Leak, gap: Comparison | None) -> tuple[Any, ...]:
        """Pack a control panel in the order of ``LEAK``."""
        own, over = x.ci or (None, None), x.over_control_ci or (None, None)
        named = dict(zip("abcdefgh", (x.auc, *own, x.p, x.p_adjusted, x.over_control, *over), strict=True))
        why, told = gapped(x.why, named)
        sizes = (" ".join(x.tpr), x.members, x.others, x.undefined, x.undefined_base, x.both_sides)
        return (
            *map(thousandths, (x.auc, *own)),
            *(self._text(x.verdict), self._text(why), told),
            *map(thousandths, (x.p, x.p_adjusted)),
            self._text((x.best_control or "–").replace("_", " ")),
            *map(thousandths, (x.over_control, *over)),
            tuple(map(thousandths, x.tpr.values())),
            *(thousandths(x.epsilon, 2), thousandths(x.epsilon_ceiling, 2)),
            self.sizes.of(sizes),
            *map(thousandths, (gap.difference, *(gap.ci or (None, None))) if gap else (None, None, None)),
            self._text(panel.no_base(gap)),
        )

    def _text(self, text: str | None) -> int | None:
        return None if text is None else self.texts.of(text)

    def _lines(self, said: Mapping[str, Any]) -> list[int]:
        return [self.texts.of(f"{name} = {_plain(value)}") for name, value in said.items()]

    def records_behind(self, ids: Sequence[str]) -> int | None:
        """Return the place of a set of records; None for none."""
        return self.sets.of(tuple(self.records.of(id) for id in ids)) if ids else None

    def _record(self, id: str) -> dict[str, Any]:
        source = self.sheet.sources.get(id)
        return {
            "id": id,
            "href": link(source.href) if source else None,
            "seed": source.seed if source else None,
        }


def params_of(told: Mapping[str, Any], task: str) -> Mapping[str, Any]:
    """Return a method's parameters on a task, from what a sheet tells of it."""
    return dict(told.get(PARAMETERS, {}).get(task, {}))


def notes_of(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a sheet tells of a method on all tasks alike: versions, for instance."""
    return {name: value for name, value in told.items() if name != PARAMETERS}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _look(name: str, place: int, methods: Sequence[str]) -> dict[str, Any]:
    """Name a series: by its method where it has only one, else by the label without alpha."""
    labels = [m for m in methods if series_of(m) == name]
    return {
        "name": labels[0] if len(labels) == 1 else name,
        "colour": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
    }


def _trimmed(cell: Sequence[Any]) -> list[Any]:
    """Leave out the Nones at the end."""
    known = [place for place, value in enumerate(cell) if value is not None]
    return list(cell[: known[-1] + 1]) if known else []
