"""A sheet laid out: per task its columns of utility, of leakage by game and attack, and its control panel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from prime_audit.record import failed
from prime_audit.report.abilities import DAGGER, UNABLE
from prime_audit.report.columns import PANEL, SHOWN, Column, Shown
from prime_audit.report.games import GameNote, note_of
from prime_audit.report.risk import Risk, risks
from prime_audit.report.sheet import AUC, BASE, SHARED, Figure, PanelRow, Sheet
from prime_audit.report.table import Cell, Linked, Table, any_beaten, marked

WORST = "worst verdict"
"""Head of the column that ``worst_cells`` fills."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A declared column over the methods of a task."""

    column: Column[Shown]
    """What is shown of each figure."""
    metric: str
    figures: tuple[Shown | None, ...]
    """One a method of the task; None where nothing was reported."""

    @cached_property
    def _known(self) -> list[Figure]:
        return [x.figure for x in self.figures if x]

    @property
    def title(self) -> str:
        """For instance accuracy ↑, Δ np, AUC − base."""
        return self.column.head(self.metric, self._known)

    @property
    def better(self) -> int:
        """1 where higher is better, −1 where lower is, 0 where neither is."""
        directions = {f.higher_is_better for f in self._known} - {None}
        return 0 if len(directions) != 1 else 1 if True in directions else -1

    @cached_property
    def cells(self) -> Sequence[Cell]:
        """One a method; of values, those that no other beats are marked."""
        assert self.column.cell
        cells = [self.column.cell(x) if x else Cell() for x in self.figures]
        if self.column is not SHOWN["value"]:
            return cells
        return marked(cells, [x.figure.rank if x else None for x in self.figures])


@dataclass(frozen=True, kw_only=True)
class Group:
    """The leakage of one game and attack on one task."""

    game: str | None
    attack: str | None
    columns: tuple[Placed, ...]
    """AUC, AUC base, AUC − base, verdict: those that are there."""
    controls: tuple[Placed, ...]
    """What the other controls reached: words, length, similarity alone."""
    panels: tuple[tuple[PanelRow, ...], ...]
    """[methods]: control panels, one a record."""

    @property
    def note(self) -> GameNote:
        """What a reader must know of the game."""
        return next((x.game for own in self.panels for x in own), None) or note_of(self.game)


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """One task."""

    task: str
    methods: tuple[str, ...]
    """Labels of the methods that have a figure on it, in the sheet's order."""
    utility: tuple[Placed, ...]
    """Each metric's columns."""
    groups: tuple[Group, ...]
    """Leakage by game and attack, first those whose verdict can be leaks, then as reported."""

    def table(self, columns: Iterable[Placed]) -> Table:
        """Set columns side by side, a row a method that has anything in them."""
        columns = [c for c in columns if c.column.name != "verdict"]  # it is in the panel
        rows = [(m, tuple(c.cells[i] for c in columns)) for i, m in enumerate(self.methods)]
        kept = [(m, cells) for m, cells in rows if not all(cell.empty for cell in cells)]
        heads = tuple(("", c.title) for c in columns)
        return Table("", ("method",), heads, tuple((m,) for m, _ in kept), tuple(cells for _, cells in kept))


def views(sheet: Sheet) -> tuple[TaskView, ...]:
    """Lay a sheet out, one view a task that has figures.

    Raises ValueError where a figure or panel names a task or method that the sheet does not, or a figure is there
    twice.
    """
    _check(sheet)
    by_task: dict[str, list[Shown]] = {task: [] for task in sheet.tasks}
    for x in shown(sheet):
        by_task[x.figure.task].append(x)
    return tuple(_view(task, found, sheet) for task, found in by_task.items() if found)


def shown(sheet: Sheet) -> Iterator[Shown]:
    """Yield every figure; an AUC with its verdicts."""
    panels = _panels(sheet)
    for f in sheet.figures:
        own = panels.get((f.task, f.method, f.game, f.attack), ()) if f.metric == AUC else ()
        yield Shown(f, tuple(own))


def _panels(sheet: Sheet) -> Mapping[tuple[str | None, ...], Sequence[PanelRow]]:
    found: dict[tuple[str | None, ...], list[PanelRow]] = {}
    for one in sheet.leaks:
        leak = one.leak
        found.setdefault((leak.task, leak.method, leak.game, leak.attack), []).append(one)
    return found


def _check(sheet: Sheet) -> None:
    seen = set()
    for f in sheet.figures:
        key = (f.task, f.method, f.metric, f.game, f.attack)
        if key in seen:
            raise ValueError(f"two figures of {' '.join(map(str, key))}")
        seen.add(key)
    named = {(f.task, f.method) for f in sheet.figures} | {(x.leak.task, x.leak.method) for x in sheet.leaks}
    for task, method in sorted(named):
        if task not in sheet.tasks or method not in sheet.methods:
            raise ValueError(f"the sheet has no task {task} or no method {method}")


def _view(task: str, found: Sequence[Shown], sheet: Sheet) -> TaskView:
    present = {x.figure.method for x in found}
    methods = _by_utility([m for m in sheet.methods if m in present], found)
    attacked: dict[tuple[str | None, str | None], list[Shown]] = {}
    for x in found:
        if x.figure.of_a_game:
            attacked.setdefault((x.figure.game, x.figure.attack), []).append(x)
    panels = _panels(sheet)
    for of_task, _, game, attack in panels:
        if of_task == task:
            attacked.setdefault((game, attack), [])
    groups = [
        _group(
            game, attack, own, methods, tuple(tuple(panels.get((task, m, game, attack), ())) for m in methods)
        )
        for (game, attack), own in attacked.items()
    ]
    utility = [x for x in found if not x.figure.of_a_game]
    order = dict.fromkeys(x.figure.metric for x in utility)
    return TaskView(
        task=task,
        methods=methods,
        utility=tuple(
            c
            for place, metric in enumerate(order)
            for c in _placed(metric, utility, methods)
            if not place or c.column is not SHOWN["cut"]  # once: it is of the answers, not of a metric
        ),
        groups=tuple(sorted(groups, key=lambda group: not (group.note.drawn and any(group.panels)))),
    )


def _by_utility(methods: Sequence[str], found: Sequence[Shown]) -> tuple[str, ...]:
    """Order methods by the first metric, best first; equals and those without a figure as reported."""
    first = next((x.figure.metric for x in found if not x.figure.of_a_game), None)
    merits = {x.figure.method: x.figure.merit for x in found if x.figure.metric == first}
    return tuple(sorted(methods, key=lambda m: -merits.get(m, -math.inf)))


def _placed(
    metric: str, found: Iterable[Shown], methods: Sequence[str], names: Sequence[str] = tuple(SHOWN)
) -> Iterator[Placed]:
    """Yield a metric's columns: its values, and of the others those that hold anything."""
    by_method = {x.figure.method: x for x in found if x.figure.metric == metric}
    figures = tuple(by_method.get(m) for m in methods)
    for name in names if by_method else ():
        column = Placed(column=SHOWN[name], metric=metric, figures=figures)
        if name == "place" and not any_beaten([x.figure.rank if x else None for x in figures]):
            continue
        if name == "difference" and all(cell.value is None for cell in column.cells):
            continue  # nothing was subtracted from anything: reasons alone make no column
        if name == "value" or not all(cell.empty for cell in column.cells):
            yield column


def _group(
    game: str | None,
    attack: str | None,
    found: Sequence[Shown],
    methods: Sequence[str],
    panels: tuple[tuple[PanelRow, ...], ...],
) -> Group:
    auc = [*_placed(AUC, found, methods)]
    base = [*_placed(BASE, found, methods, ("value",))]
    metrics = dict.fromkeys(x.figure.metric for x in found)
    rest = [c for m in metrics if m not in (AUC, BASE) for c in _placed(m, found, methods, ("value",))]
    columns = (*auc[:1], *base, *auc[1:])
    return Group(game=game, attack=attack, columns=columns, controls=tuple(rest), panels=panels)


def panel(sheet: Sheet, task: str) -> Table:
    """Return a task's control panel: a row a verdict, then one an attack that failed.

    Methods of one module, whose figures are the same, share a row; of several records each has rows of its own.
    """
    rows: dict[tuple[str, tuple[Cell, ...]], list[str]] = {}
    for one in sheet.leaks:
        if one.leak.task == task:
            cells = tuple(c.cell(one) for c in PANEL if c.cell)
            rows.setdefault((_seed(sheet, one), cells), []).append(one.leak.method)
    for f in sheet.figures:
        if (f.task, f.metric) == (task, AUC) and f.value is None and failed(f.reason):
            known = {
                "game": Cell(text=f.game),
                "attack": Cell(text=f.attack),
                "verdict": Cell(reason=f.reason),
            }
            cells = tuple(known.get(c.name, Cell(text="–")) for c in PANEL)
            rows.setdefault(("", cells), []).append(f.method)
    several = len(sheet.sources) > 1
    labels = [(", ".join(methods), *([seed] if several else [])) for (seed, _), methods in rows.items()]
    heads = tuple(("", c.name) for c in PANEL)
    stub = ("method", *(["seed"] if several else []))
    return Table("", stub, heads, tuple(labels), tuple(cells for _, cells in rows))


def sharing(sheet: Sheet, task: str) -> Table:
    """Set the shared adapters' AUC beside the merged models': what sharing leaks, and how much merging takes away.

    A row a method, attack and record with both games; empty where the game adapter was not played.
    """
    alone = {
        (x.source, x.leak.method, x.leak.attack): x
        for x in sheet.leaks
        if (x.leak.task, x.leak.game) == (task, SHARED)
    }
    own = [x for x in sheet.leaks if x.leak.task == task and x.left is not None]
    rows = [(x, alone.get((x.source, x.leak.method, x.leak.attack))) for x in own]
    cells = tuple(
        (
            Cell(shared.leak.auc, shared.leak.ci) if shared else Cell(text="–"),
            Cell(x.leak.auc, x.leak.ci),
            Cell(x.left.difference, x.left.ci, signed=True, reason=x.left.reason),
        )
        for x, shared in rows
        if x.left
    )
    several = len(sheet.sources) > 1
    labels = [(x.leak.method, x.leak.attack, *([_seed(sheet, x)] if several else [])) for x, _ in rows]
    stub = ("method", "attack", *(["seed"] if several else []))
    heads = (("AUC", "shared adapters"), ("AUC", "merged"), ("AUC", "merged − shared"))
    return Table("", stub, heads, tuple(labels), cells)


def _seed(sheet: Sheet, one: PanelRow) -> str:
    source = sheet.sources.get(one.source)
    return "" if source is None or source.seed is None else str(source.seed)


def with_records(table: Table, sheet: Sheet, task: str) -> Table:
    """Add a column that links every record behind a row: by its seed, a reported table by its name."""
    behind: dict[str, dict[str, None]] = {}
    for f in sheet.figures:
        if f.task == task:
            behind.setdefault(f.method, {}).update(dict.fromkeys(i for i in f.sources if i in sheet.sources))
    found = [[sheet.sources[i] for i in behind.get(method, ())] for (method,) in table.labels]
    links = [tuple((s.id if s.seed is None else f"seed {s.seed}", s.href) for s in own) for own in found]
    cells = tuple((*row, Linked(links=own, text="–")) for row, own in zip(table.cells, links, strict=True))
    return replace(table, head=(*table.head, ("", "records")), cells=cells)


def overview(sheet: Sheet, view: TaskView) -> Table:
    """Return what decides, a row a method: worst verdict over all games, first metric, leak over the base.

    The leak is that of the task's first game and attack, which its other figures show too.
    """
    columns: list[tuple[str, Sequence[Cell]]] = []
    if worst := worst_cells(sheet, view):
        columns.append((WORST, worst))
    first = view.utility[0].metric if view.utility else None
    shown = [c for c in view.utility if c.metric == first and c.column.name in ("value", "difference")]
    leaked = [c for group in view.groups[:1] for c in group.columns if c.column.name == "difference"]
    columns += [(c.title, c.cells) for c in (*shown, *leaked)]
    rows = [tuple(cells[i] for _, cells in columns) for i in range(len(view.methods))]
    # Why a figure has no interval is a detail; why there is none, and what a dagger means, is not.
    plain = [tuple(replace(c, reason=None) if c.value is not None else c for c in row) for row in rows]
    heads = tuple(("", title) for title, _ in columns)
    audited = f"; leakage: game {view.groups[0].game}, attack {view.groups[0].attack}" if leaked else ""
    title = f"{view.task}{audited}"
    return Table(title, ("method",), heads, tuple((m,) for m in view.methods), tuple(plain))


def worst_cells(sheet: Sheet, view: TaskView) -> list[Cell]:
    """Return each method's worst verdict and the game that gave it; nothing where nothing was audited."""
    audited = risks(sheet, view.task)
    dagger = DAGGER if view.task in sheet.unable else ""
    return [_worst(audited[m], dagger) for m in view.methods] if any(r.rows for r in audited.values()) else []


def with_worst(table: Table, sheet: Sheet, view: TaskView) -> Table:
    """Put the worst verdicts before a task's other columns, where anything was audited."""
    worst = dict(zip(view.methods, worst_cells(sheet, view), strict=False))
    if not worst:
        return table
    cells = tuple((worst[m], *row) for (m,), row in zip(table.labels, table.cells, strict=True))
    return replace(table, head=(("", WORST), *table.head), cells=cells)


def _worst(risk: Risk, dagger: str) -> Cell:
    if risk.worst is None:
        return Cell(text="not audited")
    return Cell(
        text=f"{risk.verdict} ({risk.worst.leak.game})", mark=dagger, reason=UNABLE if dagger else None
    )


def glance(sheet: Sheet, found: Sequence[TaskView]) -> Table:
    """Set every method's utility on every task side by side, without intervals: the paper's Table 1 turned."""
    columns = [(view, c) for view in found for c in view.utility if c.column is SHOWN["value"]]
    heads = tuple((view.task, c.title) for view, c in columns)
    rows = []
    for method in sheet.methods:
        cells = (
            c.cells[view.methods.index(method)] if method in view.methods else Cell() for view, c in columns
        )
        rows.append(tuple(replace(cell, ci=None, reason=None) for cell in cells))
    return Table("", ("method",), heads, tuple((m,) for m in sheet.methods), tuple(rows))
