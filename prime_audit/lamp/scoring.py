"""Scores of golds and predictions in the official format, ``{"task", "golds": [{"id", "output"}]}``."""

from __future__ import annotations

from pathlib import Path

from prime_audit.errors import UserError
from prime_audit.lamp.metrics import score
from prime_audit.lamp.official import load_outputs, require_same_ids, stated_task
from prime_audit.lamp.records import Log
from prime_audit.lamp.tasks import find_task


def score_files(task: str | None, golds_path: str | Path, preds_path: str | Path) -> dict[str, float]:
    """Score a predictions file against a golds file: metric name to value, pooled over the examples.

    UserError where a file is of another task, a record is defective, or the ids differ.
    """
    paths = Path(golds_path), Path(preds_path)
    wanted = find_task(task) if task is not None else None
    for path in paths:
        stated = stated_task(path)
        wanted = wanted or stated
        if stated and stated is not wanted:
            raise UserError(
                f"{path}: is of {stated.name}, not {wanted and wanted.name}: pass files of one task"
            )
    if wanted is None:
        raise UserError(f"{golds_path}: no task in the file: pass --task")
    log = Log()
    golds, preds = (load_outputs(path, log) for path in paths)
    if log.defects:
        defect = log.defects[0]
        raise UserError(f"{defect.file}: {defect.record}: {defect.problem}: correct the record")
    require_same_ids(golds, preds, f"{preds_path} for {golds_path}")
    pairs = [
        (gold, pred) for key, gold in golds.items() if gold is not None and (pred := preds[key]) is not None
    ]
    return score(wanted, [gold for gold, _ in pairs], [pred for _, pred in pairs])
