"""Scoring of predictions in the official format, ``{"task", "golds": [{"id", "output"}]}``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prime_audit.errors import UserError, unknown
from prime_audit.lamp.metrics import metric_table, unseen, unseen_line
from prime_audit.lamp.official import load_outputs, require_same_ids, stated_task
from prime_audit.lamp.records import Log, is_missing
from prime_audit.lamp.tasks import ROUGE, TEXT_METRICS, Task, find_task, tasks_of_labels

MOST_UNUSABLE = 0.5
"""The largest share of golds that may be none of the task; above it, the file or the task is a wrong one."""
_OUTSIDE = (
    "accuracy counts them as wrong; macro F1, as the official one, has no class for them and counts only a label "
    "predicted there, as wrong"
)


@dataclass(frozen=True)
class Scored:
    """A scored file."""

    metrics: Mapping[str, float]
    """Metric name to value, pooled over the examples."""
    notes: tuple[str, ...] = ()
    """What to know of golds and predictions that the metrics cannot judge, one line each."""


def score_files(
    task: str | None, golds_path: str | Path, preds_path: str | Path, metric: str = ROUGE
) -> Scored:
    """Score a predictions file against a golds file; ``metric`` compares texts.

    Where a gold is no label of the task, accuracy counts any answer as wrong, and macro F1 only a label that was
    predicted: it has no other classes, as in the official code. A missing text scores 0.

    Raises UserError where a file is of another task, a record is defective, the ids differ, more than half of the
    golds are not of the task, or a rating's gold is no number from 1 to 5.
    """
    if metric not in TEXT_METRICS:
        raise unknown("metric", metric, TEXT_METRICS)
    paths = Path(golds_path), Path(preds_path)
    wanted = find_task(task) if task is not None else None
    for path in paths:
        stated = stated_task(path)
        wanted = wanted or stated
        if stated and wanted and not wanted.may_state(stated.name):
            raise UserError(f"{path}: is of {stated.name}, not {wanted.name}: pass files of one task")
    if wanted is None:
        raise UserError(f"{golds_path}: no task in the file: pass --task")
    if metric != ROUGE and wanted.kind != "generation":
        raise UserError(f"--metric {metric}: compares texts, and {wanted.name} has labels: leave it out")
    log = Log()
    golds, preds = (load_outputs(path, log) for path in paths)
    if log.defects:
        defect = log.defects[0]
        raise UserError(f"{defect.file}: {defect.record}: {defect.problem}: correct the record")
    require_same_ids(golds, preds, f"{preds_path} for {golds_path}")
    pairs = {key: (gold, preds[key] or "") for key, gold in golds.items() if gold is not None}
    known = {key: gold for key, (gold, _) in pairs.items()}
    notes = [*_golds(wanted, known, paths[0])]
    if wanted.kind == "generation" and metric == ROUGE:
        counts = {
            what: sum(unseen(pair[side]) for pair in pairs.values())
            for side, what in enumerate(("golds", "predictions"))
        }
        line = unseen_line(counts, len(pairs))
        notes += [line] if line else []
    own = wanted.scored_by(metric)
    table = metric_table(own, list(known.values()), [pred for _, pred in pairs.values()], official=True)
    if wanted.kind == "generation":
        for column in table.columns.values():
            column[[is_missing(gold) for gold in known.values()]] = 0.0
    return Scored({name: table.value(name) for name in table.metrics}, tuple(notes))


def _golds(task: Task, golds: Mapping[str, str], path: Path) -> Iterator[str]:
    """Report the golds that are none of the task; UserError where they are too many, or a rating's."""
    wrong, problem, means = _unusable(task, golds)
    if not wrong:
        return
    key, gold = next(iter(wrong.items()))
    which = f"{len(wrong)} of {len(golds)} golds {problem} (first: id {key[:40]}, {_shown(gold)})"
    if len(wrong) > MOST_UNUSABLE * len(golds):
        if task.kind == "generation":
            raise UserError(f"{path}: {which}: correct them")
        others = tasks_of_labels({gold.strip() for gold in golds.values()})
        hint = f": they are labels of {' or '.join(others)}" if others else ""
        raise UserError(f"{path}: {which}. Check --task{hint}")
    if task.kind == "rating":
        raise UserError(f"{path}: {which}: correct them")
    yield f"{path}: {which}; {means}"


def _unusable(task: Task, golds: Mapping[str, str]) -> tuple[dict[str, str], str, str]:
    """Return the golds that are none of the task by id, what they are, and how they are scored."""
    if task.kind == "rating":
        return {k: g for k, g in golds.items() if not _is_score(g)}, "are no numbers from 1 to 5", ""
    if task.labels:
        wrong = {k: g for k, g in golds.items() if g.strip() not in task.labels}
        return wrong, f"are not labels of {task.name}", _OUTSIDE
    return (
        {k: g for k, g in golds.items() if is_missing(g)},
        "are empty or a word for a missing value",
        "they score 0, whatever was predicted",
    )


def _is_score(text: str) -> bool:
    try:
        return 1 <= float(text) <= 5
    except ValueError:
        return False


def _shown(text: str) -> str:
    """Write a gold in one short line, in its own script."""
    line = " ".join(text.split())
    return f'"{line if len(line) <= 40 else line[:39] + "…"}"'
