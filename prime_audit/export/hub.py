"""What the Hub reads of an exported module: the card's metadata with its results, and an entry of a leaderboard.

The formats are huggingface_hub's: ``model-index`` in the front matter of a card
(https://github.com/huggingface/hub-docs/blob/main/modelcard.md), and files below ``.eval_results/``
(https://huggingface.co/docs/hub/eval-results). Figures are of the method over all targets of its run, and say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prime_audit.engine.hub import pinned
from prime_audit.errors import UserError
from prime_audit.io.markup import interval, plain
from prime_audit.record import Record, Result
from prime_audit.report.eee import METRICS
from prime_audit.report.sheet import is_leakage

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from prime_audit.export.module import Model


def metadata(model: Model) -> str:
    """Write the YAML of a card: base model, library, tags, and utility as ``model-index``."""
    from huggingface_hub import ModelCardData

    name, _ = pinned(model.run.record.model.name)
    results = list(_results(model))
    data = ModelCardData(
        base_model=name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) else None,
        library_name="peft",
        tags=["lora", "personalisation", "prime-audit"],
        model_name=plain(f"{model.label}, {model.task}") if results else None,
        eval_results=results or None,
    )
    return data.to_yaml()


def _results(model: Model) -> Iterator[EvalResult]:
    """Yield the utility of the module's method; none of a remade module, because its own was not measured."""
    from huggingface_hub import EvalResult

    data = next((d for d in model.run.record.data if d.task == model.task), None)
    if model.unlearnt or data is None:
        return
    world = data.layout == "world"
    what = "built-in world of prime-audit" if world else f"{data.layout} layout"
    for r in utility_of(model.run.record, model.task, model.label):
        if r.value is not None:
            yield EvalResult(
                task_type="text-generation",
                task_name=plain(model.task),
                # No data set of the Hub is known to have these bytes; the hash names them.
                dataset_type="prime-audit-world" if world else "unknown",
                dataset_name=plain(f"{model.task}, {what}, sha256 {data.sha256[:12]}"),
                metric_type=plain(METRICS[r.metric].kind if r.metric in METRICS else r.metric),
                metric_name=_says(model, r),
                metric_value=r.value,
            )


def leaderboard_entry(model: Model, dataset: str, task: str) -> str:
    """Write a file for ``.eval_results/``: the first metric of the module's method.

    ``dataset`` is the id of a benchmark on the Hub, ``task`` one of its tasks. Raises UserError without a figure.
    """
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]  # what writes its cards

    record = model.run.record
    found = next((r for r in utility_of(record, model.task, model.label) if r.value is not None), None)
    if found is None:
        raise UserError(f"--benchmark: {model.label} has no utility on {model.task}; leave it out")
    entry = {
        "dataset": {"id": dataset, "task_id": task},
        "value": found.value,
        "date": record.times.finished,
        "notes": f"prime-audit on {plain(model.task)}: {_says(model, found)}",
    }
    return str(yaml_dump([entry]))


def utility_of(record: Record, task: str, label: str) -> list[Result]:
    """Return a method's results on a task that are not of leakage."""
    return [r for r in record.results if (r.task, r.method) == (task, label) and not is_leakage(r.metric)]


def _says(model: Model, r: Result) -> str:
    limits = f", {100 * model.run.record.intervals.level:g} % {interval(r.ci)}" if r.ci else ""
    return plain(f"{r.metric} of the method {r.method}, {r.n} questions of {r.targets} targets{limits}")
