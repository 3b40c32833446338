"""Rebuild a run's models from its record, to observe signals that it did not store.

The community is built as in the run (adapters from the cache, else retrained). Merge weights are the run's own
(``models.jsonl``), so no search is repeated. Base, data and the stored log-probabilities must come out the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prime_audit.community.build import Community
from prime_audit.community.store import Store
from prime_audit.engine.mixture import Mixture
from prime_audit.errors import UserError
from prime_audit.folder import Run
from prime_audit.games.exam.stored import Exam, Pass
from prime_audit.lamp.source import open_data
from prime_audit.plan.options import given_of
from prime_audit.plan.plan import Plan, make_plan
from prime_audit.plugins import Personal
from prime_audit.runs.findings import Findings
from prime_audit.runs.ledger import Ledger
from prime_audit.runs.models import Readers, loaded
from prime_audit.runs.task import TaskRun
from prime_audit.settings import BEFORE

TOLERANCE: Mapping[str, float] = {"float32": 1e-3}
"""Nats by which a recomputed log-probability may differ, by number format; else ``LOOSE``."""
LOOSE = 0.25


def plan_of(
    spec: Mapping[str, Any],
    attacks: Sequence[str],
    plugins: Sequence[Path],
    sharers: Path | None = None,
    base_adapter: Path | None = None,
) -> Plan:
    """Make a run's plan again from its record's ``spec``, with other attacks; sharers from where they are now."""
    found = given_of(spec)
    settings = [*spec.get("settings", {}).values()]
    lacking = [key for key in BEFORE if settings and not any(key in own for own in settings)]
    found["overrides"] = [*found.get("overrides", ()), *(f"{key}={BEFORE[key]}" for key in lacking)]
    return make_plan(
        **{
            **found,
            "attacks": attacks,
            "plugins": plugins,
            "sharers": sharers or found.get("sharers"),
            "base_adapter": base_adapter or found.get("base_adapter"),
        }
    )


def observe_again(
    run: Run, exams: Mapping[str, Exam], plan: Plan, cache: Path | None, ledger: Ledger
) -> dict[str, Sequence[Pass]]:
    """Compute the signals that ``plan``'s attacks need from a run's models, by task.

    UserError where data, base or models are no longer those of the run.
    """
    record, found = run.record, dict[str, Sequence[Pass]]()
    with ledger.showing():
        for again in rebuilt(run, plan, exams, cache, ledger):
            task, exam = again.task.name, exams[again.task.name]
            found[task] = again.examine().passes
            known_failures = {p.method for p in exam.passes if p.failed}
            for failure in again.found.faults.found:
                # Without a method, a game failed: its passes are marked, and compared below.
                if failure.method is not None and failure.method not in known_failures:
                    raise UserError(f"rebuilding the run's models: {failure.error}")
            _require_same(exam, found[task], TOLERANCE.get(record.model.dtype, LOOSE))
    return found


def rebuilt(
    run: Run, plan: Plan, tasks: Iterable[str], cache: Path | None, ledger: Ledger
) -> Iterator[Again]:
    """Yield each task of a run, to be built again; UserError where base or data are no longer those of the run."""
    datasets = {
        task: open_data(plan.data, task, plan.seed, plan.settings, **plan.reading()) for task in tasks
    }
    base = loaded(plan, ledger, datasets.values())
    if base.loaded_sha256 != run.record.model.sha256:
        raise UserError(
            f"model {plan.model} is not the run's: its weights have another sha256; restore the model of {run.path}"
        )
    readers, rows = Readers(plan, base), list(run.models())
    known = {d.task: d.sha256 for d in run.record.data}
    for task, data in datasets.items():
        if data.sha256 != known[task]:
            raise UserError(f"data {plan.data}: {task} has changed since the run {run.path}; restore it")
        yield Again(
            plan=plan,
            task=plan.task(task),
            data=data,
            base=base,
            readers=readers,
            store=Store(cache, base.spent, base.codec.cuts, ledger.tally),
            ledger=ledger,
            found=Findings(),
            rows=[row for row in rows if row["task"] == task],
        )


@dataclass(kw_only=True)
class Again(TaskRun):
    """A task whose models take their merge weights from the run's files."""

    rows: Sequence[Mapping[str, Any]]

    def as_run(self, community: Community, core: str) -> dict[str, Personal]:
        """Return a core's models with the run's merge weights."""
        return self._personalise(community, core)

    def anew(self, community: Community, core: str) -> dict[str, Personal]:
        """Make a core's models by the method itself, whatever the run's weights were."""
        return super()._personalise(community, core)

    def _personalise(self, community: Community, core: str, game: str | None = None) -> dict[str, Personal]:
        own = [row for row in self.rows if row["method"] == core and row.get("game") == game]
        if any(row["adapters"] for row in own):
            community.ready()
        if not own or {name for row in own for name in row["adapters"]} - set(self.engine.bank.names):
            return super()._personalise(community, core, game)  # adapters of the method's own
        return {row["target"]: _personal(row) for row in own}


def _personal(row: Mapping[str, Any]) -> Personal:
    names = tuple(row["adapters"])
    weights = np.array(row["weights"], dtype=np.float64) if names else np.zeros(0)
    return Personal(Mixture(names, weights, row["rule"]), tuple(row["sharers"]))


def _require_same(exam: Exam, passes: Sequence[Pass], tolerance: float) -> None:
    """Raise UserError unless the rebuilt models give the run's signals; those of games left out are not compared."""
    again, ways = {p.key: p for p in passes}, {(p.kind, p.pool) for p in passes}
    for one in (p for p in exam.passes if not p.failed and (p.kind, p.pool) in ways):
        later = again.get(one.key, replace(one, merged={}, seen={}))
        if dict(one.merged) != dict(later.merged) or list(one.seen) != list(later.seen):
            raise UserError(
                f"{exam.task}: {one.method} builds other models now than in the run; rerun compare"
            )
        for target, seen in one.seen.items():
            pairs = list(zip(seen.logprobs, later.seen[target].logprobs, strict=True))
            if any(a.size != b.size for a, b in pairs):
                raise UserError(
                    f"{exam.task}: {one.method or 'the base'} is queried for other items now than "
                    "in the run: other libraries? rerun compare"
                )
            gap = max((float(np.abs(a - b).max(initial=0.0)) for a, b in pairs), default=0.0)
            if not gap <= tolerance:
                raise UserError(
                    f"{exam.task}: the models of {one.method or 'the base'} came out different "
                    f"from the run's (by up to {gap:.3g} nats for one token): other machine or "
                    "libraries? rerun compare"
                )
