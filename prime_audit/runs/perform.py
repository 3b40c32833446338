"""Every task of a plan: data → community → personalised models → the same exam and the same attacks → the record."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from prime_audit import faults
from prime_audit.audit.verdict import EDITION
from prime_audit.cache.numeric import versions
from prime_audit.engine.size import require_model
from prime_audit.folder import EXTRACTION, PREDICTIONS, SCORES, VULNERABILITY, RunFolder
from prime_audit.games.exam.stored import write_exam
from prime_audit.lamp.check import no_effect
from prime_audit.lamp.data import Dataset
from prime_audit.lamp.readers import require_searchable
from prime_audit.lamp.source import open_data
from prime_audit.plan.plan import REFERENCE, Plan
from prime_audit.plugins.loading import load_attack, load_game
from prime_audit.record import Intervals, Model, Record
from prime_audit.runs.cells import Cell, Lost
from prime_audit.runs.findings import Findings
from prime_audit.runs.models import hardware
from prime_audit.runs.provenance import code, code_since, plugins_of
from prime_audit.runs.worker import Worker


def open_all(plan: Plan, tell: Callable[[str], object] = lambda _: None) -> dict[str, Dataset]:
    """Read the data of every task of a plan, and ``tell`` which settings change nothing on them.

    Raises UserError where its methods cannot run on them, or, first, where a path of its models leads to none.
    """
    for role in ("model", "encoder", "profiler"):
        if name := getattr(plan, role):
            require_model(name, role)
    datasets = {
        task: open_data(plan.data, task, plan.seed, plan.settings, **plan.reading()) for task in plan.tasks
    }
    if any(m.core.plugin.name != REFERENCE for m in plan.methods):
        for data in datasets.values():
            require_searchable(data)
    for task, data in datasets.items():
        for line in no_effect(data, plan.settings):
            tell(f"note: {task}: {line}")
    return datasets


def perform(worker: Worker, command: str, lost: Mapping[Cell, Lost] | None = None) -> tuple[Record, Findings]:
    """Run every task of a worker's plan and return the results; ``lost``: cells that are not tried again."""
    plan, base, ledger = worker.plan, worker.base, worker.ledger
    found, began, plugins = Findings(), code(), _plugins(plan)
    found.warn("model", [*base.notes, *worker.readers.notes()])
    for task in worker.datasets:
        left = {(c.core, c.chunk): why for c, why in (lost or {}).items() if c.task == task}
        worker.task(task, found, left).run()
    halved = {fit.what: fit.halved for fit in (*base.fits.values(), *worker.readers.fits()) if fit.halved}
    for what, n in halved.items():
        ledger.note(f"memory ran out {n} times with batches of more than {what}; they were halved")
    record = Record(
        command=command,
        spec=plan.spec(),
        methods={m.label: {task: m.values(plan.settings, task) for task in plan.tasks} for m in plan.methods},
        seeds={"run": plan.seed},
        versions={"python": platform.python_version(), "prime-audit": version("prime-audit"), **versions()},
        data=tuple(found.data),
        model=Model(
            plan.model,
            base.loaded_sha256,
            base.parameters(),
            str(base.dtype).removeprefix("torch."),
            base.file_sha256,
        ),
        hardware=hardware(base),
        results=tuple(found.results),
        comparisons=tuple(found.comparisons),
        unaided=tuple(found.unaided),
        leaks=found.settled(),
        vulnerable=found.most_vulnerable(),
        exposures=tuple(found.exposures),
        canary_costs=tuple(found.canary_costs),
        extractions=tuple(found.extractions),
        community=found.community,
        costs=tuple(ledger.costs),
        intervals=Intervals(),
        abilities=tuple(found.abilities),
        warnings=found.warned(),
        code=code_since(began),
        plugins=plugins,
        failures=tuple(found.faults.found),
        rules=EDITION,
        times=replace(ledger.times(), halved=halved),
    )
    return record, found


def _plugins(plan: Plan) -> dict[str, Any]:
    methods = {part.plugin.name: part.plugin for spec in plan.methods for part in spec.parts}
    attacks = [load_attack(name, plan.plugins) for name in plan.attacks]
    games = [load_game(name, plan.plugins) for name in plan.games]
    return plugins_of([*methods.values(), *attacks, *games], plan.plugins)


def write(folder: RunFolder, record: Record, found: Findings) -> None:
    """Write all of a run into its folder, the record last."""
    from prime_audit.report.from_record import render_all

    folder.write_jsonl(PREDICTIONS, found.predictions)
    folder.write_jsonl(SCORES, found.scores)
    if found.vulnerable:
        folder.write_jsonl(VULNERABILITY, found.vulnerable)
    if found.extracted:
        folder.write_jsonl(EXTRACTION, found.extracted)
    folder.write_jsonl("models.jsonl", found.models)
    for exam in found.exams:
        write_exam(folder.path, exam)
    faults.write(folder, found.faults)
    render_all(record, folder.path)
    folder.write_record(record)
