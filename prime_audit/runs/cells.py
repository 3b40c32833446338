"""Cells, the unit of work of a run and of a cluster: task × core method × chunk of targets.

A cell builds its models, answers their targets' questions and computes what the games need. All results are stored by
content. So any process may carry out any cell in any order. The run then reads all of them from the store and writes
the same record. Chunks belong to the plan (setting ``chunk``), not to an executor: batches, and so last bits, do not
depend on the executor. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prime_audit.lamp.data import Dataset, User
from prime_audit.plan.plan import MethodSpec, Plan


@dataclass(frozen=True)
class Cell:
    """One core method on one chunk of one task's targets."""

    task: str
    core: str
    """Label of the core method: ``prime`` serves ``prime+rag`` too."""
    chunk: int
    targets: tuple[str, ...]
    """Ids of the chunk's targets, in the data's order."""
    weight: float
    """Estimated work in arbitrary units, used for the order only."""


@dataclass(frozen=True)
class Lost:
    """A cell that was given up: its process died repeatedly."""

    why: str
    """In one line."""
    trace: str | None = None
    """A traceback, where there was one."""


def cells_of(plan: Plan, datasets: Mapping[str, Dataset]) -> tuple[Cell, ...]:
    """List a plan's cells in the order of a single process: tasks, cores, chunks."""
    return tuple(
        Cell(task, core, number, ids, weight(plan, spec, task, users))
        for task, data in datasets.items()
        for core, spec in cores_of(plan.methods).items()
        for number, ids in enumerate(chunks(plan, data, task))
        for users in [[u for u in data.targets if u.id in set(ids)]]
    )


def cores_of(methods: Iterable[MethodSpec]) -> dict[str, MethodSpec]:
    """List the personalised models, each once: ``prime`` also serves ``prime+rag``."""
    return {spec.core.label: spec for spec in methods}


def chunks(plan: Plan, data: Dataset, task: str) -> list[tuple[str, ...]]:
    """Split a task's targets into chunks of the setting ``chunk``; 0: one chunk of all."""
    ids = tuple(user.id for user in data.targets)
    size = plan.settings.get("chunk", task) or max(1, len(ids))
    return [ids[i : i + size] for i in range(0, len(ids), size)]


def weight(plan: Plan, spec: MethodSpec, task: str, users: Sequence[User]) -> float:
    """Estimate a cell's work: the targets' items, times the number of passes of a search with a budget."""
    letters = sum(len(item.words) for user in users for item in user.history)
    budget = spec.core.values(plan.settings, task).get("budget", 1)
    return float(letters * max(1, budget) if isinstance(budget, int | float) else letters)
