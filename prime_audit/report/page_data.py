"""A sheet as the compact JSON that the page's script reads: what is said often is stored once.

Also what else a page may hold: addresses that may become links, numbers as displayed, data inside HTML.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from prime_audit.io.markup import encoded
from prime_audit.record import failed
from prime_audit.report.columns import LEGEND, PANEL, SHOWN, remark
from prime_audit.report.risk import CHOICES, SEVERITY, grade, risks
from prime_audit.report.series import alpha_of, looks_of, series_of
from prime_audit.report.sheet import Figure, PanelRow, Sheet
from prime_audit.report.table import Cell, shown
from prime_audit.report.views import WORST, Group, Placed, TaskView, worst_cells

CELL = (
    *("value", "lo", "hi", "n", "targets", "reason", "difference", "difference_lo", "difference_hi"),
    *("baseline", "best", "worst", "records", "seeds", "failed"),
)
"""Fields of a figure in their order: numbers in thousandths, texts and sets of records by their place."""
ENTRY = ("text", "value", "lo", "hi", "signed", "reason")
"""Fields of a cell of any declared column."""
GAP = "\u00a4"
"""Takes the place of a number in a wording; a text that has it is stored whole."""
NUMBER = re.compile(r"([+\u2212-]?\d[\d.,]*)")
MOST = 2**26
"""Bytes that the data of a page may have: what is read may come from others."""
_DATA = re.compile(r'(?<=id="data">)[A-Za-z0-9+/=]+(?=</script>)')
_ADDRESS = re.compile(r"https://[^\s<>\"'`\\\x00-\x20]+")


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
        self.texts, self.cells, self.entries, self.leaks, self.records, self.sets = (
            Places() for _ in range(6)
        )
        self.records_of_sheet = [self.records.of(id) for id in sheet.sources]

    def pack(self, views: Sequence[TaskView]) -> dict[str, Any]:
        """Return the page's data as JSON types."""
        tasks = [self._task(view) for view in views]
        methods = list(self.sheet.methods)
        looks = looks_of(methods)
        return {
            "cell_fields": CELL,
            "entry_fields": ENTRY,
            "methods": methods,
            "series_of": [list(looks).index(series_of(m)) for m in methods],
            "series": list(looks.values()),
            "tasks": tasks,
            "opens_on": self._opens_on(views),
            "cells": [_trimmed(cell) for cell in self.cells.all()],
            "entries": [_trimmed(entry) for entry in self.entries.all()],
            "panel": [{"name": c.name, "help": c.help or None} for c in PANEL],
            "severity": SEVERITY,
            "risks": [(choice.key, choice.says) for choice in CHOICES],
            "leaks": self.leaks.all(),
            "sets": self.sets.all(),
            "records": [self._record(id) for id in self.records.all()],
            "legend": LEGEND,
            **_without_repeats(self.texts.all()),
        }

    def _opens_on(self, views: Sequence[TaskView]) -> int:
        """Return the place of the task with most to say: one that the model can do, with the most decided verdicts."""
        decided = Counter(
            row.leak.task
            for row in self.sheet.leaks
            if grade(row.leak.verdict) not in ("confounded", "too few to say")
        )
        able = [view.task not in self.sheet.unable for view in views]
        return max(range(len(views)), key=lambda n: (able[n], decided[views[n].task], -n), default=0)

    def _task(self, view: TaskView) -> dict[str, Any]:
        params = [self.sheet.parameters(m, view.task) for m in view.methods]
        # What holds for a method on all tasks: versions, for instance.
        notes = [
            {name: value for name, value in self.sheet.methods[m].items() if name != "parameters"}
            for m in view.methods
        ]
        return {
            "name": view.task,
            "methods": [list(self.sheet.methods).index(m) for m in view.methods],
            "params": [self._lines(own) for own in params],
            "said": [self._lines(own) for own in notes],
            "alpha": [alpha_of(m, own) for m, own in zip(view.methods, params, strict=True)],
            "worst": self._worst(view),
            "risk": self._risks(view),
            "utility": [self._column(column) for column in on_page(view.utility)],
            "groups": [self._group(group) for group in view.groups],
        }

    def _worst(self, view: TaskView) -> dict[str, Any] | None:
        cells = worst_cells(self.sheet, view)
        if not cells:
            return None
        return {
            "metric": "worst",
            "kind": "worst",
            "title": WORST,
            "compared": False,
            "better": 0,
            "entries": [self._entry(cell) for cell in cells],
        }

    def _risks(self, view: TaskView) -> Sequence[tuple[int | None, Sequence[int]]]:
        """Pack each method's worst verdict, as its place in ``SEVERITY``, and the places of ``CHOICES`` it meets."""
        return [
            (
                None if one.verdict is None else SEVERITY.index(one.verdict),
                [place for place, choice in enumerate(CHOICES) if choice.accepts(one)],
            )
            for one in map(risks(self.sheet, view.task).__getitem__, view.methods)
        ]

    def _group(self, group: Group) -> dict[str, Any]:
        return {
            "game": group.game,
            "attack": group.attack,
            "drawn": group.note.drawn,
            "says": self._text(group.note.says),
            "columns": [self._column(column) for column in on_page(group.columns)],
            "controls": [self._column(column) for column in group.controls],
            "leaks": [[self._judged(judged) for judged in own] for own in group.panels],
        }

    def _column(self, column: Placed) -> dict[str, Any]:
        kind = column.column
        head = {
            "metric": column.metric,
            "kind": kind.name,
            "title": column.title,
            "compared": kind is SHOWN["difference"],
            "better": column.better,
        }
        if kind is SHOWN["difference"]:  # of the same cells as the column of the metric's values
            return head
        if kind is not SHOWN["value"]:
            bare = [replace(cell, reason=None) for cell in column.cells]  # a verdict's is in its panel
            return head | {"entries": [self._entry(cell) for cell in bare]}
        return head | {
            "cells": [None if x is None else self.cells.of(self._figure(x.figure)) for x in column.figures]
        }

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
            1 if f.value is None and failed(f.reason) else None,
        )

    def _judged(self, one: PanelRow) -> tuple[int, int]:
        cells = tuple(self._entry(c.cell(one)) for c in PANEL if c.cell)
        place = SEVERITY.index(grade(one.leak.verdict))
        return self.leaks.of((*cells, place, self._text(remark(one)))), self.records.of(one.source)

    def _entry(self, cell: Cell) -> int:
        """Pack a cell in the order of ``ENTRY``."""
        text = None if cell.value is not None or cell.empty else self._text(shown(cell))
        low, high = cell.ci or (None, None)
        numbers = map(thousandths, (cell.value, low, high))
        return self.entries.of((text, *numbers, 1 if cell.signed else None, self._text(cell.reason)))

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


def _without_repeats(texts: Sequence[str]) -> dict[str, Any]:
    """Store what texts say alike once: a reason of a verdict is its wording (``wordings``) and its numbers.

    A text is itself; ``[wording, number|number|…]`` where another has the same wording, which has ``GAP`` for numbers.
    """
    parts = [NUMBER.split(text) if GAP not in text else [text] for text in texts]
    wordings = [GAP.join(own[::2]) for own in parts]
    many = [w for w, n in Counter(wordings).items() if n > 1]
    place = {w: i for i, w in enumerate(many)}
    packed = [
        [place[w], "|".join(own[1::2])] if w in place and len(own) > 1 else text
        for text, w, own in zip(texts, wordings, parts, strict=True)
    ]
    return {"wordings": many, "texts": packed}


def on_page(columns: Sequence[Placed]) -> list[Placed]:
    """Leave out the place: the page shows it beside the value."""
    return [c for c in columns if c.column is not SHOWN["place"]]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _trimmed(cell: Sequence[Any]) -> list[Any]:
    """Leave out the Nones at the end."""
    known = [place for place, value in enumerate(cell) if value is not None]
    return list(cell[: known[-1] + 1]) if known else []


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


def thousandths(value: float | None) -> int | None:
    """Round to three decimals, as displayed, in thousandths: two programs cannot display one number in two ways.

    ValueError where ``value`` is not finite.
    """
    return None if value is None else int(f"{value:.3f}".replace(".", ""))


def dump(data: Mapping[str, Any]) -> str:
    """Write JSON for a script element, compressed (zlib, Base64): as it is, it would be most of the page."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(encoded(text), 9)).decode()


def load(html: str) -> dict[str, Any]:
    """Read the data of a page that ``render`` wrote."""
    return dict(json.loads(_inflated(_DATA.findall(html)[0])))


def plain(html: str) -> str:
    """Return a page with its data uncompressed: builds of zlib compress alike texts to unlike bytes."""
    return _DATA.sub(lambda found: _inflated(found[0]), html)


def _inflated(written: str) -> str:
    """ValueError where a browser would read nothing, or more than ``MOST`` bytes come out."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(base64.b64decode(written, validate=True), MOST)
    except zlib.error as fault:
        raise ValueError(f"the page's data are damaged: {fault}") from None
    if not stream.eof or stream.unused_data:
        raise ValueError("the page's data are damaged, or too large")
    return text.decode()
