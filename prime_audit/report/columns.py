"""A sheet laid out for reading: per task its utility columns, and per game and attack its leakage columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prime_audit.report.games import GameNote, note_of
from prime_audit.report.sheet import Figure, Judged, Sheet
from prime_audit.report.tables import AUC, BASE, CONTROLS, is_leakage


@dataclass(frozen=True)
class Column:
    """One column of a task's table: a figure of every method, or its difference to the baseline."""

    metric: str
    """The figures' metric."""
    title: str
    """For instance accuracy ↑, Δ np, AUC − base."""
    cells: tuple[Figure | None, ...]
    """One a method of the task; None where nothing was reported."""
    compared: bool = False
    """Whether the figures' differences are shown, not their values."""

    @property
    def better(self) -> int:
        """1 where higher is better, −1 where lower is, 0 where neither is."""
        directions = {c.higher_is_better for c in self.cells if c and c.higher_is_better is not None}
        return 0 if len(directions) != 1 else 1 if directions == {True} else -1


@dataclass(frozen=True)
class Group:
    """The leakage of one game and attack on one task."""

    game: str | None
    """Who is a member."""
    attack: str | None
    """The score used."""
    columns: tuple[Column, ...]
    """AUC, AUC base, AUC − base: those that are there."""
    controls: tuple[Column, ...]
    """What the other controls reached: words, length, similarity alone."""
    leaks: tuple[tuple[Judged, ...], ...]
    """[methods]: control panels, one a record."""
    note: GameNote
    """What a reader must know of the game."""

    @property
    def telling(self) -> bool:
        """Whether it has a verdict that can stand."""
        return self.note.drawn and any(self.leaks)


@dataclass(frozen=True)
class TaskView:
    """One task."""

    task: str
    """Its name."""
    methods: tuple[str, ...]
    """Labels of the methods that have a figure on it, in the sheet's order."""
    utility: tuple[Column, ...]
    """Each metric, followed by its difference where there is one."""
    groups: tuple[Group, ...]
    """Leakage by game and attack, the first shown first: those whose verdict can stand, then the rest as reported."""


def views(sheet: Sheet) -> tuple[TaskView, ...]:
    """Lay a sheet out, one view a task that has figures.

    Raises
    ------
    ValueError
        Where a figure or panel names a task or method that the sheet does not, or a figure stands there twice.
    """
    _check(sheet)
    by_task: dict[str, list[Figure]] = {task: [] for task in sheet.tasks}
    for figure in sheet.figures:
        by_task[figure.task].append(figure)
    leaks: dict[tuple[str, ...], list[Judged]] = {}
    for judged in sheet.leaks:
        leak = judged.leak
        leaks.setdefault((leak.task, leak.method, leak.game, leak.attack), []).append(judged)
    return tuple(_view(task, found, sheet, leaks) for task, found in by_task.items() if found)


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


def _view(
    task: str, figures: Sequence[Figure], sheet: Sheet, leaks: Mapping[tuple[str, ...], Sequence[Judged]]
) -> TaskView:
    present = {f.method for f in figures}
    methods = tuple(m for m in sheet.methods if m in present)
    attacked: dict[tuple[str | None, str | None], list[Figure]] = {}
    for f in figures:
        if _of_a_game(f):
            attacked.setdefault((f.game, f.attack), []).append(f)
    for of_task, _, *group in leaks:
        if of_task == task:
            attacked.setdefault((group[0], group[1]), [])
    groups = []
    for (game, attack), own in attacked.items():
        panels = tuple(tuple(leaks.get((task, m, str(game), str(attack)), ())) for m in methods)
        groups.append(_group(game, attack, own, methods, panels, note_of(game, sheet.plugins)))
    utility = [f for f in figures if not _of_a_game(f)]
    shown = sorted(groups, key=lambda group: not group.telling)
    return TaskView(task, methods, tuple(_utility(utility, methods)), tuple(shown))


def _of_a_game(figure: Figure) -> bool:
    """Whether a figure is of leakage: by its metric, or because a game was played for it."""
    return is_leakage(figure.metric) or figure.game is not None


def _utility(figures: Sequence[Figure], methods: Sequence[str]) -> Iterable[Column]:
    for metric in dict.fromkeys(f.metric for f in figures):
        plain = Column(metric, metric, _cells(figures, metric, methods))
        arrow = {1: " ↑", -1: " ↓", 0: ""}[plain.better]
        yield Column(metric, metric + arrow, plain.cells)
        if baselines := _baselines(plain.cells):
            yield Column(metric, f"Δ {baselines}", plain.cells, compared=True)


def _group(
    game: str | None,
    attack: str | None,
    figures: Sequence[Figure],
    methods: Sequence[str],
    leaks: tuple[tuple[Judged, ...], ...],
    note: GameNote,
) -> Group:
    def column(metric: str) -> Column:
        return Column(metric, leak_title(metric), _cells(figures, metric, methods))

    present = list(dict.fromkeys(f.metric for f in figures))
    columns = [column(metric) for metric in (AUC, BASE) if metric in present]
    if AUC in present and (baselines := _baselines(columns[0].cells)):
        columns.append(Column(AUC, f"AUC − {baselines}", columns[0].cells, compared=True))
    rest = [column(metric) for metric in present if metric not in (AUC, BASE)]
    return Group(game, attack, tuple(columns), tuple(rest), leaks, note)


def leak_title(metric: str) -> str:
    """Name an AUC or a control of it for a reader: AUC, AUC base, AUC words alone."""
    if metric == BASE:
        return "AUC base"
    return f"AUC {CONTROLS[metric]}" if metric in CONTROLS else metric.replace("auc", "AUC").replace("_", " ")


def _cells(figures: Sequence[Figure], metric: str, methods: Sequence[str]) -> tuple[Figure | None, ...]:
    by_method = {f.method: f for f in figures if f.metric == metric}
    return tuple(by_method.get(m) for m in methods)


def _baselines(cells: Iterable[Figure | None]) -> str:
    """Name what is subtracted, empty where nothing is: np, base, or several with a slash."""
    return "/".join(dict.fromkeys(c.baseline for c in cells if c and c.baseline and c.difference is not None))
