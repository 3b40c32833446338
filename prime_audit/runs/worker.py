"""One process that carries out cells: it holds the models, and the community of the task it is at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prime_audit.lamp.data import Dataset
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.plan import Plan
from prime_audit.record import Failure
from prime_audit.runs.cells import Cell
from prime_audit.runs.ledger import Ledger
from prime_audit.runs.models import Readers, loaded
from prime_audit.runs.task import Findings, TaskRun

if TYPE_CHECKING:
    from prime_audit.community.store import Store
    from prime_audit.engine.base import Base


@dataclass
class Worker:
    """Carries out cells, whichever come; all that is left of them is in the store.

    Cells of one task cost less one after the other: the base is adapted and the community built once for them.
    """

    plan: Plan
    datasets: Mapping[str, Dataset]
    base: Base
    readers: Readers
    store: Store
    ledger: Ledger
    _now: TaskRun | None = field(default=None, init=False)

    @classmethod
    def of(cls, plan: Plan, datasets: Mapping[str, Dataset], store: Store, ledger: Ledger) -> Worker:
        """Load a plan's models; what they spend is counted by ``store``, as in a run."""
        base = loaded(plan, ledger)
        store.spent, store.cuts = base.spent, base.codec.cuts
        return cls(plan, datasets, base, Readers(plan, base), store, ledger)

    def prepare(self, task: str) -> None:
        """Adapt the base to a task and build its community; what that trains is kept, and shared by all its cells."""
        if self._now is None or self._now.task.name != task:
            self._now, data, found = None, self.datasets[task], Findings()
            begun = TaskRun(
                self.plan, TASKS[task], data, self.base, self.readers, self.store, self.ledger, found
            )
            begun.prepare()
            self._now = begun  # not before: what failed half-way is prepared again

    def carry_out(self, cell: Cell) -> list[Failure]:
        """Carry out a cell -> what failed in it; the run that goes through all cells tries and reports that again.

        Raises UserError where the fault is in what the user gave.
        """
        self.prepare(cell.task)
        assert self._now is not None
        return self._now.carry_out(cell)
