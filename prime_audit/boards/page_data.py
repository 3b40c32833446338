"""A sheet as the compact JSON that the page's script reads: what is said often stands there once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from prime_audit.boards.columns import Column, Group, Judged, TaskView
from prime_audit.boards.series import COLOURS, MARKERS, alpha_of, series_of
from prime_audit.boards.sheet import Figure, Sheet
from prime_audit.record import Leak

CELL = (
    *("value", "lo", "hi", "n", "targets", "reason", "difference", "difference_lo", "difference_hi"),
    *("baseline", "best", "worst", "records", "seeds"),
)
"""Fields of a figure in their order; of the texts and record sets, their place in ``texts`` and ``sets``."""
LEAK = (
    *("auc", "lo", "hi", "verdict", "why", "p", "p_adjusted", "control", "over", "over_lo", "over_hi"),
    *(
        "limits",
        "tpr",
        "members",
        "others",
        "undefined",
        "undefined_base",
        "both_sides",
        "epsilon",
        "ceiling",
    ),
)
"""Fields of a control panel in their order."""
_ADDRESS = re.compile(r"https://[^\s<>\"'`\\\x00-\x20]+")


def link(href: str) -> str | None:
    """Return an address a page may link to: https, or a path relative to the page; else None.

    The characters of a path that an address reserves are quoted.
    """
    if _ADDRESS.fullmatch(href):
        return href
    first = href.split("/", 1)[0]
    if not first or ":" in first or "\\" in href or any(ord(c) < 32 for c in href):
        return None
    return quote(href, safe="/:=+,@~!'()*;&", errors="replace")


def shown(value: float | None, digits: int = 3) -> float | None:
    """Round to what is displayed, so that two programs cannot display one number in two ways."""
    return None if value is None else float(f"{value:.{digits}f}") + 0.0


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
        self.texts, self.cells, self.leaks, self.records, self.sets = (Places() for _ in range(5))
        self.records_of_sheet = [self.records.of(id) for id in sheet.sources]

    def pack(self, views: Sequence[TaskView]) -> dict[str, Any]:
        """Return the page's data as JSON types."""
        tasks = [self._task(view) for view in views]
        methods = list(self.sheet.methods)
        series = list(dict.fromkeys(map(series_of, methods)))
        return {
            "cell_fields": CELL,
            "leak_fields": LEAK,
            "methods": methods,
            "series_of": [series.index(series_of(m)) for m in methods],
            "series": [_look(name, place, methods) for place, name in enumerate(series)],
            "tasks": tasks,
            "cells": [_trimmed(cell) for cell in self.cells.all()],
            "leaks": self.leaks.all(),
            "sets": self.sets.all(),
            "records": [self._record(id) for id in self.records.all()],
            "texts": self.texts.all(),
        }

    def _task(self, view: TaskView) -> dict[str, Any]:
        notes = [self.sheet.methods[m] for m in view.methods]
        return {
            "name": view.task,
            "methods": [list(self.sheet.methods).index(m) for m in view.methods],
            "params": [
                [self.texts.of(line) for line in params(said, view.task, self.sheet.tasks)] for said in notes
            ],
            "alpha": [
                alpha_of(m, said.get(view.task, {}) if isinstance(said.get(view.task, {}), Mapping) else {})
                for m, said in zip(view.methods, notes, strict=True)
            ],
            "utility": [self._column(column) for column in view.utility],
            "groups": [self._group(group) for group in view.groups],
        }

    def _group(self, group: Group) -> dict[str, Any]:
        return {
            "game": group.game,
            "attack": group.attack,
            "columns": [self._column(column) for column in group.columns],
            "controls": [self._column(column) for column in group.controls],
            "leaks": [[self._judged(judged) for judged in panel] for panel in group.leaks],
        }

    def _column(self, column: Column) -> dict[str, Any]:
        return {
            "metric": column.metric,
            "title": column.title,
            "compared": column.compared,
            "better": column.better,
            "cells": [None if f is None else self.cells.of(self._figure(f)) for f in column.cells],
        }

    def _figure(self, f: Figure) -> tuple[Any, ...]:
        """Pack a figure in the order of ``CELL``."""
        return (
            shown(f.value),
            *map(shown, f.ci or (None, None)),
            f.n,
            f.targets,
            self._text(f.reason),
            shown(f.difference),
            *map(shown, f.difference_ci or (None, None)),
            self._text(f.baseline),
            *(f.rank or (None, None)),
            self.records_behind(f.sources),
            tuple(map(shown, f.seeds)) if len(f.seeds) > 1 else None,
        )

    def _judged(self, judged: Judged) -> tuple[int, int]:
        leak, source = judged
        return self.leaks.of(self._leak(leak)), self.records.of(source)

    def _leak(self, x: Leak) -> tuple[Any, ...]:
        """Pack a control panel in the order of ``LEAK``."""
        return (
            *(shown(x.auc), *map(shown, x.ci or (None, None)), self._text(x.verdict), self._text(x.why)),
            *(shown(x.p), shown(x.p_adjusted), self._text((x.best_control or "–").replace("_", " "))),
            *(shown(x.over_control), *map(shown, x.over_control_ci or (None, None))),
            *(self._text(" ".join(x.tpr)), tuple(map(shown, x.tpr.values()))),
            *(x.members, x.others, x.undefined, x.undefined_base, x.both_sides),
            *(shown(x.epsilon, 2), shown(x.epsilon_ceiling, 2)),
        )

    def _text(self, text: str | None) -> int | None:
        return None if text is None else self.texts.of(text)

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


def params(said: Mapping[str, Any], task: str, tasks: Iterable[str]) -> list[str]:
    """Write what a sheet says of a method on a task as lines ``name = value``; other tasks' parameters are left out."""
    own = said.get(task, {})
    lines = dict(own) if isinstance(own, Mapping) else {task: own}
    lines |= {key: value for key, value in said.items() if key not in tasks}
    return [f"{name} = {_plain(value)}" for name, value in lines.items()]


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


def dump(data: Mapping[str, Any]) -> str:
    """Write JSON that can stand in a script element: no text of it ends the element or starts another."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04X}")
    return text
