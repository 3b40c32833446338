"""Tables of a record: on the terminal, in Markdown and as CSV; ``frontier`` draws it."""

from __future__ import annotations

import csv as csv_module
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prime_audit.folder import write_atomic
from prime_audit.io.markup import code, csv_text, fenced, interval, markdown_text, number
from prime_audit.record import FAILED, Comparison, Record, Result
from prime_audit.report import panel
from prime_audit.report.games import note_of

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

AUC, BASE = "auc", "auc_base"
CONTROLS = {
    BASE: "unmerged base",
    "auc_bag_of_words": "words alone",
    "auc_length_only": "length alone",
    "auc_similarity_only": "similarity alone",
}
"""Leakage metrics that never see the personalised model, and what they see."""
_LABEL_WIDTH = 18
"""Characters of a method's column that a full table leaves on a line of 100."""
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_CSV_COLUMNS = (
    *("task", "method", "metric", "game", "attack", "value", "lo", "hi", "n", "targets"),
    *("baseline", "difference", "difference_lo", "difference_hi", "reason"),
)
READING = (
    "Δ np is the method minus the non-personalised model on the same questions and the same resamples.",
    "AUC is the attack's, per target, averaged over targets: ½ is chance, and distance from ½ in *either* "
    "direction is signal. It is not ranked: members are chosen by similarity, so part of it is there before "
    "any model is personalised. That part is AUC base (the same score from the unmerged base); "
    "AUC − base is what merging adds.",
)
"""How to read a difference and an AUC, in Markdown."""
_READING = (
    "Utility pools the questions of all targets; **bold** is the best value of a column, <u>underlined</u> "
    "the second best, as displayed. An interval says more than the rank.",
    *READING,
    "n/a is no 0.5: a method that merges nobody has no members.",
)


@dataclass(frozen=True)
class Cell:
    """One figure of a table."""

    value: float | None = None
    """The figure; None where it does not apply or was not asked for."""
    ci: tuple[float, float] | None = None
    """Its interval."""
    reason: str | None = None
    """Why there is no figure or no interval."""
    rank: int = 0
    """1 for the best value of the column, 2 for the second best, else 0."""
    signed: bool = False
    """Whether it is a difference, shown with its sign."""


@dataclass(frozen=True)
class Table:
    """One task: a row per method, a column per figure."""

    task: str
    """The task's name."""
    columns: tuple[str, ...]
    """Titles of the columns, without the methods'."""
    methods: tuple[str, ...]
    """Labels of the rows."""
    cells: tuple[tuple[Cell, ...], ...]
    """[methods, columns]."""
    notes: tuple[str, ...]
    """What the figures rest on."""


def rows(record: Record) -> tuple[Table, ...]:
    """Arrange a record as one table a task: utility with Δ to np, then leakage with its controls.

    Where a record holds several games or attacks, the table shows the first.
    """
    return tuple(_table(record, task) for task in dict.fromkeys(r.task for r in record.results))


def leakage(record: Record, task: str) -> tuple[str | None, str | None]:
    """Return the game and attack whose AUC is shown for ``task``: the first of the record."""
    return next(
        ((r.game, r.attack) for r in record.results if r.task == task and r.metric == AUC), (None, None)
    )


def is_leakage(metric: str) -> bool:
    """Whether ``metric`` is an AUC or a control of one."""
    return metric == AUC or metric.startswith(AUC + "_")


def render_all(record: Record, folder: Path) -> None:
    """Write tables, frontier and index.html into ``folder``, each whole or not at all."""
    from prime_audit.report import (
        frontier,  # matplotlib takes half a second to import
        page,
    )
    from prime_audit.report.from_record import sheet_of

    write_atomic(folder / "table.md", [markdown(record)])
    write_atomic(folder / "table.csv", [csv(record)])
    write_atomic(folder / "index.html", [page.render(sheet_of(record, "run"))])
    for form, content in frontier.draw(record).items():
        write_atomic(folder / f"frontier.{form}", [content])


def terminal(record: Record) -> Group:
    """Make the tables for rich: one a task, at most 100 columns wide, intervals below their figures."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for table in rows(record):
        parts += _rich_table(table)
        if judged := panel.rows(record, table.task):
            parts += [Text(), panel.terminal(judged), *map(Text, panel.warnings(record, table.task))]
        parts.append(Text())
    if panel.stands(record):
        parts += [*(Text(line, style="dim") for line in panel.LEGEND), Text()]
    failed = (Text(f"✗ failed: {failure.line()}", style="bold red") for failure in record.failures)
    return Group(*parts, *failed, *(Text(f"! {warning}", style="yellow") for warning in record.warnings))


def markdown(record: Record) -> str:
    """Return the tables as a Markdown page, with the command that makes them again and how to read them."""
    tables = rows(record)
    sources = ", ".join(dict.fromkeys(code(data.source) for data in record.data))
    tasks = markdown_text(", ".join(t.task for t in tables))
    lines = [
        f"# What personalisation gives, and what it gives away: {tasks}",
        f"Model {code(record.model.name)}, data {sources}. To make this again:",
        fenced(record.command),
    ]
    for table in tables:
        notes = map(markdown_text, [*table.notes, *_footnotes(table)])
        lines += [f"## {markdown_text(table.task)}", _markdown_table(table), _bullets(notes)]
        if judged := panel.rows(record, table.task):
            lines += ["### Control panel", panel.markdown(judged)]
            lines.append(_bullets(map(markdown_text, [*panel.warnings(record, table.task), *panel.LEGEND])))
    lines += ["![Utility against leakage](frontier.svg)", "## How to read this", _bullets(_READING)]
    if record.failures:
        lines += ["## Failures", _bullets(markdown_text(failure.line()) for failure in record.failures)]
    if record.warnings:
        lines += ["## Warnings", _bullets(map(markdown_text, record.warnings))]
    return "\n\n".join(lines) + "\n"


def csv(record: Record) -> str:
    """Return every figure as one CSV row, in full precision, with its difference to the baseline beside it.

    An empty field is a figure that does not apply; ``reason`` says why.
    """
    stream = io.StringIO()
    writer = csv_module.writer(stream, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for r in record.results:
        c = _comparison(record, r)
        figure = [r.value, *(r.ci or (None, None)), r.n, r.targets]
        against = [csv_text(c.baseline), c.difference, *(c.ci or (None, None))] if c else [None] * 4
        names = map(csv_text, (r.task, r.method, r.metric, r.game, r.attack))
        writer.writerow([*names, *figure, *against, csv_text(r.reason)])
    return stream.getvalue()


def _comparison(record: Record, r: Result) -> Comparison | None:
    """Find the difference that belongs to a result."""
    key = (r.task, r.method, r.metric, r.game, r.attack)
    return next(  # the first is np's; others stand in the record
        (c for c in record.comparisons if (c.task, c.method, c.metric, c.game, c.attack) == key), None
    )


def _table(record: Record, task: str) -> Table:
    shown = leakage(record, task)
    results = [
        r
        for r in record.results
        if r.task == task and (not is_leakage(r.metric) or (r.game, r.attack) == shown)
    ]
    methods = tuple(dict.fromkeys(r.method for r in results))
    columns: list[tuple[str, list[Cell]]] = []
    for metric, compared in _layout(r.metric for r in results):
        by_method = {r.method: r for r in results if r.metric == metric}
        if not compared:
            cells = [_figure(by_method.get(method)) for method in methods]
            columns.append(
                (_title(metric, by_method.values()), _ranked(cells, next(iter(by_method.values()))))
            )
        elif found := {m: c for m, r in by_method.items() if (c := _comparison(record, r))}:
            title = "AUC − base" if is_leakage(metric) else "Δ np"
            columns.append((title, [_difference(found.get(method)) for method in methods]))
    lines = tuple(zip(*(cells for _, cells in columns), strict=True))
    return Table(task, tuple(title for title, _ in columns), methods, lines, _notes(record, results))


def _layout(metrics: Iterable[str]) -> list[tuple[str, bool]]:
    """Order the columns as (metric, whether its difference): utility, AUC, base, AUC − base, controls."""
    present = list(dict.fromkeys(metrics))
    utility = [(m, compared) for m in present if not is_leakage(m) for compared in (False, True)]
    leak = [(AUC, False), (BASE, False), (AUC, True)]
    rest = [(m, False) for m in present if is_leakage(m) and m not in (AUC, BASE)]
    return [*utility, *(column for column in leak if column[0] in present), *rest]


def _title(metric: str, results: Iterable[Result]) -> str:
    if is_leakage(metric):
        return metric.replace("auc", "AUC").replace("_", " ")
    arrow = {True: " ↑", False: " ↓", None: ""}[next(iter(results)).higher_is_better]
    return metric + arrow


def _figure(result: Result | None) -> Cell:
    return Cell(result.value, result.ci, result.reason) if result else Cell()


def _difference(comparison: Comparison | None) -> Cell:
    if comparison is None:
        return Cell(signed=True)
    return Cell(comparison.difference, comparison.ci, comparison.reason, signed=True)


def _ranked(cells: list[Cell], example: Result) -> list[Cell]:
    """Mark the best and the second best value as displayed; nothing where there is no contest."""
    if example.higher_is_better is None:
        return cells
    shown = sorted(
        {round(c.value, 3) for c in cells if c.value is not None}, reverse=example.higher_is_better
    )
    places = {value: place for place, value in enumerate(shown[:2], start=1)} if len(shown) > 1 else {}
    return [replace(c, rank=places.get(round(c.value, 3), 0)) if c.value is not None else c for c in cells]


def _notes(record: Record, results: Sequence[Result]) -> tuple[str, ...]:
    utility = [r for r in results if not is_leakage(r.metric) and r.value is not None]
    attacked = [r for r in results if r.metric == AUC and r.value is not None]
    level, draws = f"{100 * record.intervals.level:g} %", record.intervals.draws
    units = ["utility over users"] * bool(utility) + ["leakage over sharers and targets"] * bool(attacked)
    notes = [f"Intervals: {level} bootstrap percentiles, {draws} draws; {'; '.join(units)}."]
    if utility:
        questions, targets = _span(r.n for r in utility), _span(r.targets for r in utility)
        notes.append(f"Utility: {questions} questions of {targets} targets.")
    if any(r.metric == "f1" for r in utility):
        notes.append("f1: percentile intervals lean low: a resample may lack a class, which then counts 0.")
    if attacked:
        items, targets = _span(r.n for r in attacked), _span(r.targets for r in attacked)
        sharers = [r.member_sharers for r in attacked if r.member_sharers is not None]
        members = f", members from {_span(sharers)} sharers" if sharers else ""
        how = f"game {attacked[0].game}, attack {attacked[0].attack}"
        notes.append(f"Leakage: {how}; {items} scored items of {targets} targets{members}.")
        notes += _sampling(record, attacked)
    return tuple(notes)


def _sampling(record: Record, attacked: Sequence[Result]) -> list[str]:
    """Say of a game that its non-members are a sample, and how many items each side has."""
    shown = attacked[0]
    settings = record.spec.get("settings")
    own = settings.get(shown.task) if isinstance(settings, dict) else None
    each = own.get("nonmember_items", 0) if isinstance(own, dict) else 0
    if not each or not note_of(shown.game, record.plugins).samples:
        return []
    leaks = [x for x in record.leaks if (x.task, x.game, x.attack) == (shown.task, shown.game, shown.attack)]
    sides = (
        f"; {_span(x.members for x in leaks)} member items, {_span(x.others for x in leaks)} non-member items"
        if leaks
        else ""
    )
    seed = record.seeds.get("run")
    return [f"Non-members sampled: {each} of each other sharer's items (all of fewer), seed {seed}{sides}."]


def _span(numbers: Iterable[int]) -> str:
    """``7``, or ``7–9`` where rows differ."""
    low, high = min(values := list(numbers)), max(values)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _reasons(table: Table) -> list[str]:
    """Collect the distinct reasons in order of appearance; their places are the footnotes' numbers."""
    return list(dict.fromkeys(c.reason for line in table.cells for c in line if c.reason))


def _footnotes(table: Table) -> list[str]:
    return [f"{_mark(place)} {reason}" for place, reason in enumerate(_reasons(table), start=1)]


def _mark(place: int) -> str:
    return str(place).translate(_SUPERSCRIPTS)


def _main(cell: Cell, reasons: list[str]) -> str:
    mark = _mark(reasons.index(cell.reason) + 1) if cell.reason else ""
    if cell.value is None:
        return f"{missing(cell.reason)}{mark}" if cell.reason else "–"
    return number(cell.value, cell.signed) + mark


def missing(reason: str) -> str:
    """Say in a word why a figure is missing: its making failed, or it does not apply."""
    return "failed" if reason.startswith(FAILED) else "n/a"


def _markdown_table(table: Table) -> str:
    from tabulate import tabulate

    reasons = _reasons(table)
    styles = {0: "{}", 1: "**{}**", 2: "<u>{}</u>"}

    def show(cell: Cell) -> str:
        main = styles[cell.rank].format(_main(cell, reasons))
        return f"{main} {interval(cell.ci, cell.signed)}" if cell.ci else main

    lines = [[code(m), *map(show, line)] for m, line in zip(table.methods, table.cells, strict=True)]
    align = ("left", *["right"] * len(table.columns))
    return tabulate(
        lines,
        ["method", *map(markdown_text, table.columns)],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=align,
    )


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def _rich_table(table: Table) -> list[RenderableType]:
    """One task for the terminal: the table, then its notes; controls but the base's go into the notes."""
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    small = {_title(metric, ()) for metric in CONTROLS if metric != BASE}
    shown = [i for i, title in enumerate(table.columns) if title not in small]
    narrow = {i for i in shown if table.columns[i] == _title(BASE, ())}  # its interval is left to the files
    grid = Grid(
        box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1), pad_edge=False, title=Text(table.task)
    )
    grid.title_justify, grid.title_style = "left", "bold"
    grid.add_column("method", overflow="fold")
    for i in shown:
        grid.add_column(Text(table.columns[i]), justify="right", no_wrap=True)
    reasons, styles = _reasons(table), {0: "", 1: "bold", 2: "underline"}
    for method, line in zip(table.methods, table.cells, strict=True):
        cells = [
            Text.assemble(
                (_main(line[i], reasons), styles[line[i].rank]),
                ("" if i in narrow else f"\n{_short_interval(line[i])}", "dim"),
            )
            for i in shown
        ]
        grid.add_row(Text(_folded(method)), *cells)
    aside = [_aside(table, i, reasons) for i in range(len(table.columns)) if i not in shown]
    controls = [line for line in aside if line]
    return [grid, *(Text(note, style="dim") for note in [*table.notes, *controls, *_footnotes(table)])]


def _aside(table: Table, column: int, reasons: list[str]) -> str:
    """Write one control as a line, ``AUC length: 0.612 (prime), 0.608 (perpcs)``; empty where none has a value."""
    by_value: dict[str, list[str]] = {}
    for method, line in zip(table.methods, table.cells, strict=True):
        if line[column].value is not None:
            by_value.setdefault(_main(line[column], reasons), []).append(method)
    groups = [f"{value} ({', '.join(methods)})" for value, methods in by_value.items()]
    shown = next(iter(by_value)) if len(by_value) == 1 else ", ".join(groups)
    return f"{table.columns[column]}: {shown}" if shown else ""


def _folded(method: str) -> str:
    """Break a long label between its parameters and before its suffixes, filling lines."""
    lines = [""]
    for piece in re.split(r"(?<=,)|(?=\+)", method):
        if lines[-1] and len(lines[-1]) + len(piece) > _LABEL_WIDTH:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def _short_interval(cell: Cell) -> str:
    """``.541–.622`` below a figure, ``−.021 +.083`` below a difference; two decimals from 1 on."""
    if cell.ci is None:
        return ""
    if max(map(abs, cell.ci)) < 1:
        low, high = (number(x, cell.signed).replace("0.", ".", 1) for x in cell.ci)
    else:
        low, high = (f"{x:{'+' if cell.signed else ''}.2f}".replace("-", "−") for x in cell.ci)
    return f"{low} {high}" if cell.signed else f"{low}–{high}"
