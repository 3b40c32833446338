"""The output of most studies: a table of every variant's metrics, tests of the declared pairs, one figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from prime_audit.plan.plan import REFERENCE
from prime_audit.record import Result
from prime_audit.report.places import gap_between, places
from prime_audit.report.sheet import AUC
from prime_audit.report.table import Cell, Table, marked
from prime_audit.studies import figures
from prime_audit.studies.paired import corrected
from prime_audit.studies.pairs import tests_of
from prime_audit.studies.spec import Found, Report, Variant

SHORT = {"accuracy": "Acc", "f1": "F1", "rouge-1": "R-1", "rouge-L": "R-L", "chrf": "chrF"}
"""The paper's names of metrics."""
ARROWS = {True: " ↑", False: " ↓"}


def report(found: Found) -> Report:
    """Build the usual report."""
    make = _across if found.study.form == "across" else _down
    tables = tuple(make(found, model, title(found, model)) for model in found.models)
    return Report(tables, corrected(tests_of(found)), figure(found), notes(found))


# -- tables ------------------------------------------------------------------------------------------------


def title(found: Found, model: str) -> str:
    """Title a model's table as the paper does, ``(a) NAME``; the name alone if there is one model."""
    return model if len(found.models) == 1 else f"{letter(found, model)} {model}"


def heading(found: Found, task: str, model: str) -> str:
    """Title a figure's subplot: the task, and with several models the letter and the last part of the name."""
    short = model.rstrip("/").rpartition("/")[2]
    return task if len(found.models) == 1 else f"{task} {letter(found, model)} {short}"


def letter(found: Found, model: str) -> str:
    """Return a model's letter in brackets."""
    return f"({chr(ord('a') + found.models.index(model))})"


def _across(found: Found, model: str, name: str) -> Table:
    """Table 1's form: a row per task and metric, a column per variant."""
    labels, cells = [], []
    for task in found.plan.tasks:
        for head, own in _measures(found, model, task):
            labels.append((task, head))
            cells.append(tuple(own))
    heads = tuple((v.group, v.name) for v in found.study.variants)
    return Table(name, ("Task", "Metric"), heads, tuple(labels), tuple(cells))


def _down(found: Found, model: str, name: str) -> Table:
    """Table 2's form: a row per variant, a column per task's metric."""
    heads, columns = [], []
    for task in found.plan.tasks:
        for head, own in _measures(found, model, task):
            heads.append((task, head))
            columns.append(own)
    grouped = any(v.group for v in found.study.variants)
    labels = tuple((v.group, v.name) if grouped else (v.name,) for v in found.study.variants)
    return Table(name, ("",) * (1 + grouped), tuple(heads), labels, tuple(zip(*columns, strict=True)))


def _measures(found: Found, model: str, task: str) -> Iterator[tuple[str, list[Cell]]]:
    """Yield a task's metrics: the title, and every variant's cell. An AUC has no order: ½ is chance."""
    study = found.study
    for metric in found.plan.task(task).metrics:
        name = SHORT.get(metric, metric) + ARROWS[found.plan.task(task).higher_is_better]
        cells = [figure_of(found, model, v, task, metric) for v in study.variants]
        yield name, marked(cells, _places(found, model, task, metric))
    for game in study.games:
        own = [figure_of(found, model, v, task, AUC, game) for v in study.variants]
        named = "" if len(study.games) == 1 else f" ({game})"
        yield f"AUC{named}", own
        yield f"AUC − base{named}", [over_base(found, model, v, task, game) for v in study.variants]


def _places(found: Found, model: str, task: str, metric: str) -> list[tuple[int, int] | None]:
    """Return every variant's places by a metric, of several runs by their mean; None where it has no figure."""
    means = {
        number: mean
        for number, v in enumerate(found.study.variants)
        if (mean := _mean(found.results(model, v, task, metric)))
    }
    order = list(means)
    pairs = combinations(range(len(order)), 2)
    gaps = {(a, b): g for a, b in pairs if (g := gap_between(means[order[a]], means[order[b]]))}
    placed = places(len(order), gaps, higher=bool(found.plan.task(task).higher_is_better))
    known = dict(zip(order, placed, strict=True))
    return [known.get(number) for number in range(len(found.study.variants))]


def _mean(results: Sequence[Result]) -> Result | None:
    """Average one variant's results over its runs, which have the same targets."""
    values = [r.value for r in results if r.value is not None]
    if len(values) < len(results):
        return None
    if len(results) == 1:
        return results[0]
    without = np.mean([r.without for r in results], axis=0).tolist()
    return replace(results[0], value=float(np.mean(values)), ci=None, se=None, without=tuple(without))


def figure_of(found: Found, model: str, variant: Variant, task: str, metric: str, game: str = "") -> Cell:
    """Build the cell of one run's result with its interval, or of several runs' mean with its standard error."""
    results = found.results(model, variant, task, metric, game)
    if len(results) == 1:
        (r,) = results
        return Cell(r.value, r.ci, reason=r.reason)
    values = [r.value for r in results if r.value is not None]
    if len(values) < len(results):
        return Cell(reason=next(r.reason for r in results if r.value is None))
    return Cell(float(np.mean(values)), error=float(np.std(values, ddof=1) / math.sqrt(len(values))))


def over_base(found: Found, model: str, variant: Variant, task: str, game: str) -> Cell:
    """Build the cell of a variant's AUC minus the unmerged base's on the same items."""
    wanted = (task, variant.method, AUC, game, found.plan.attacks[0])
    every = found.of(model, variant)[0].record.comparisons
    c = next((c for c in every if (c.task, c.method, c.metric, c.game, c.attack) == wanted), None)
    return Cell(c.difference, c.ci, signed=True, reason=c.reason) if c else Cell(signed=True)


def notes(found: Found) -> tuple[str, ...]:
    """List the sample sizes behind the results."""
    first = next(iter(found.runs.values())).record
    sizes = [f"{d.task} {d.queries} questions of {d.users['targets']} targets" for d in first.data]
    lines = [f"Metrics pool the questions of all targets: {', '.join(sizes)}; seed {found.plan.seed}."]
    if any(len(v.runs) > 1 for v in found.study.variants):
        lines.append("±: standard error over the repetitions, which share targets, data and models.")
    lines.append(f"Intervals: {first.intervals.level:.0%}, leaving out one target at a time, Student's t.")
    if found.study.games:
        lines.append(
            f"AUC: attack {found.plan.attacks[0]}, game {', '.join(found.study.games)}; not "
            "ranked, because distance from ½ in either direction is signal, and part of it "
            "exists before anything is merged. AUC − base is what merging adds; both intervals "
            "leave out one sharer at a time."
        )
    return tuple(lines)


# -- figure ------------------------------------------------------------------------------------------------


def figure(found: Found) -> dict[str, bytes]:
    """Draw what the study declares: both metrics as lines, the first as dots."""
    if found.study.figure == "frontier":
        return figures.frontier(
            [
                (found.first(model).record, {task: heading(found, task, model) for task in found.plan.tasks})
                for model in found.models
            ]
        )
    rows = 2 if found.study.figure == "lines" else 1
    subplots = [
        subplot(found, model, task, found.plan.task(task).metrics[row])
        for model in found.models
        for row in range(rows)
        for task in found.plan.tasks
        if row < len(found.plan.task(task).metrics)
    ]
    make = figures.lines if found.study.figure == "lines" else figures.dots
    repeated = any(len(v.runs) > 1 for v in found.study.variants)
    return make(subplots, len(found.plan.tasks), "± standard error" if repeated else figures.INTERVAL)


def subplot(found: Found, model: str, task: str, metric: str) -> figures.Subplot:
    """Collect the values of one metric of one task."""
    marks = {v.key: _mark(v, figure_of(found, model, v, task, metric)) for v in found.study.variants}
    references = {key: marks.pop(key).value for key in found.study.reference}
    if references:
        best = max if found.plan.task(task).higher_is_better else min
        key = best(references, key=lambda key: references[key])
        lines = {f"best of {', '.join(references)}" if len(references) > 1 else key: references[key]}
    else:
        plain = Variant("", REFERENCE, runs=found.study.variants[0].runs)
        lines = {"non-personalised": _mark(plain, figure_of(found, model, plain, task, metric)).value}
    measured = SHORT.get(metric, metric) + ARROWS[found.plan.task(task).higher_is_better]
    return figures.Subplot(
        heading(found, task, model), measured, tuple(marks.values()), lines, found.study.axis
    )


def _mark(variant: Variant, cell: Cell) -> figures.Mark:
    assert cell.value is not None, f"{variant.key} has no figure"
    around = None if cell.error is None else (cell.value - cell.error, cell.value + cell.error)
    return figures.Mark(
        label=variant.key, group=variant.group, x=variant.x, value=cell.value, bar=cell.ci or around
    )
