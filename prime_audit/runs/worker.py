"""A process that carries out cells. It holds the models and the community of the current task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prime_audit.community.store import Store
from prime_audit.engine.base import Base
from prime_audit.lamp.data import Dataset
from prime_audit.plan.plan import Plan
from prime_audit.record import Failure
from prime_audit.runs.cells import Cell, Lost
from prime_audit.runs.findings import Findings
from prime_audit.runs.ledger import Ledger
from prime_audit.runs.models import Readers, loaded
from prime_audit.runs.task import TaskRun


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
    kind: type[TaskRun] = TaskRun
    """How a task is run; a forecast only rehearses it."""
    _now: TaskRun | None = field(default=None, init=False)

    @classmethod
    def of(cls, plan: Plan, datasets: Mapping[str, Dataset], store: Store, ledger: Ledger) -> Worker:
        """Load a plan's models; ``store`` counts what they spend, as in a run."""
        base = loaded(plan, ledger, datasets.values())
        store.spent, store.cuts = base.spent, base.codec.cuts
        return cls(
            plan=plan, datasets=datasets, base=base, readers=Readers(plan, base), store=store, ledger=ledger
        )

    def task(self, name: str, found: Findings, lost: Mapping[tuple[str, int], Lost]) -> TaskRun:
        """Return a task's run, which adds its results to ``found``; ``lost`` as in :class:`TaskRun`."""
        return self.kind(
            plan=self.plan,
            task=self.plan.task(name),
            data=self.datasets[name],
            base=self.base,
            readers=self.readers,
            store=self.store,
            ledger=self.ledger,
            found=found,
            lost=lost,
        )

    def prepare(self, task: str) -> None:
        """Adapt the base to a task and build its community; adapters are cached for all its cells."""
        if self._now is None or self._now.task.name != task:
            self._now = None
            begun = self.task(task, Findings(), {})
            begun.prepare()
            self._now = begun  # not before: a task that failed half-way is prepared again

    def carry_out(self, cell: Cell) -> list[Failure]:
        """Carry out a cell and return its failures. The final run through all cells retries and reports them.

        Raises UserError where the user's input is at fault.
        """
        self.prepare(cell.task)
        assert self._now is not None
        return self._now.carry_out(cell)
