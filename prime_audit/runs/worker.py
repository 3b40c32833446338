"""A process that carries out cells. It holds the models and the community of the current task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prime_audit.lamp.data import Dataset
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.plan import Plan
from prime_audit.record import Failure
from prime_audit.runs.cells import Cell
from prime_audit.runs.findings import Findings
from prime_audit.runs.ledger import Ledger
from prime_audit.runs.models import Readers, loaded
from prime_audit.runs.task import TaskRun

if TYPE_CHECKING:
    from prime_audit.community.store import Store
    from prime_audit.engine.base import Base


@dataclass(kw_only=True)
class Worker:
    """Carries out any cells; the results go to the store.

    Consecutive cells of one task are cheaper: the base is adapted and the community built once for them.
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
        """Load a plan's models; ``store`` counts what they spend, as in a run."""
        base = loaded(plan, ledger)
        store.spent, store.cuts = base.spent, base.codec.cuts
        return cls(
            plan=plan, datasets=datasets, base=base, readers=Readers(plan, base), store=store, ledger=ledger
        )

    def prepare(self, task: str) -> None:
        """Adapt the base to a task and build its community; adapters are cached for all its cells."""
        if self._now is None or self._now.task.name != task:
            self._now = None
            begun = TaskRun(
                plan=self.plan,
                task=TASKS[task],
                data=self.datasets[task],
                base=self.base,
                readers=self.readers,
                store=self.store,
                ledger=self.ledger,
                found=Findings(),
            )
            begun.prepare()
            self._now = begun  # not before: a task that failed half-way is prepared again

    def carry_out(self, cell: Cell) -> list[Failure]:
        """Carry out a cell and return its failures. The final run through all cells retries and reports them.

        Raises UserError where the user's input is at fault.
        """
        self.prepare(cell.task)
        assert self._now is not None
        return self._now.carry_out(cell)
