"""A cluster's worker: a process that holds the models and the current task's community between jobs."""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from prime_audit.cache.tally import Tally
from prime_audit.errors import UserError, in_a_line
from prime_audit.runs.executors.order import Order, identity, machine, plan_again, require_shared

if TYPE_CHECKING:
    from prime_audit.plan.plan import Plan
    from prime_audit.record import Record
    from prime_audit.runs.cells import Cell, Lost
    from prime_audit.runs.findings import Findings
    from prime_audit.runs.worker import Worker


class Reply(TypedDict, total=False):
    """A worker's reply. Errors are data too, as text."""

    found: Any
    seconds: float
    made: int
    """Artefacts computed for the job."""
    read: int
    """Artefacts read from the cache instead."""
    damaged: list[str]
    """Damaged cache entries that were recomputed."""
    refused: str
    """Text of a UserError, which the user has to fix."""
    fault: str
    """Any other error, in one line."""
    trace: str
    """Its traceback."""


class Actor:
    """Does one job after another. Ray starts it in a process of its own; the models are loaded for the first job."""

    def __init__(self, order: Order) -> None:
        self._order, self._tally = order, Tally()
        os.environ.update(order.environment)
        with suppress(
            OSError
        ):  # folders may differ between nodes, so relative paths would mean something else
            os.chdir(order.place)

    def hello(self) -> Reply:
        """Identify this worker. Raises where its cache is not the driver's."""
        return self._answered(self._hello)

    def prepare(self, task: str) -> Reply:
        """Adapt the base to a task and build its community."""
        return self._answered(lambda: self._worker.prepare(task))

    def carry_out(self, cell: Cell) -> Reply:
        """Carry out a cell. The final run through all cells finds and reports its failures again."""
        return self._answered(lambda: self._carry_out(cell))

    def assemble(self, lost: Mapping[Cell, Lost]) -> Reply:
        """Go through all cells, which are cached by now, and return the record and the files beside it."""
        return self._answered(lambda: self._assemble(lost))

    def _hello(self) -> Mapping[str, str]:
        import torch

        torch.set_num_threads(self._order.threads)
        require_shared(platform.node(), Path(self._order.cache), self._order.token)
        return identity(self._plan) | machine(self._plan.device)

    @cached_property
    def _plan(self) -> Plan:
        return plan_again(self._order)

    @cached_property
    def _worker(self) -> Worker:
        from prime_audit.community.store import Store
        from prime_audit.engine.mixture import Spent
        from prime_audit.runs.ledger import Ledger
        from prime_audit.runs.worker import Worker

        ledger = Ledger(quiet=True, tally=self._tally)
        self._tally.say = _silent  # the driver prints messages
        store = Store(Path(self._order.cache), Spent(), tally=self._tally)
        return Worker.of(self._plan, self._order.datasets, store, ledger)

    def _carry_out(self, cell: Cell) -> list[str]:
        import torch

        failures = [failure.line() for failure in self._worker.carry_out(cell)]
        base = self._worker.base
        if failures and base.device.type == "cuda":
            # After some faults a process can no longer compute. Then this raises, and another worker does the cell.
            (torch.ones(1, device=base.device) + 1).item()
        return failures

    def _assemble(self, lost: Mapping[Cell, Lost]) -> tuple[Record, Findings]:
        from prime_audit.runs.ledger import Ledger
        from prime_audit.runs.perform import perform

        return perform(replace(self._worker, ledger=Ledger(quiet=True)), self._order.command, lost)

    def _answered(self, work: Callable[[], Any]) -> Reply:
        start, before = time.perf_counter(), deepcopy(self._tally)
        try:
            found = work()
        except UserError as fault:
            return Reply(refused=str(fault))
        except Exception as fault:
            return Reply(fault=in_a_line(fault), trace=traceback.format_exc())
        now = self._tally
        return Reply(
            found=found,
            seconds=round(time.perf_counter() - start, 3),
            made=now.made - before.made,
            read=now.read - before.read,
            damaged=now.damaged[len(before.damaged) :],
        )


def _silent(_: str) -> None:
    pass
