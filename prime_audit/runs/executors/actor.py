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
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypedDict

from prime_audit.cache.tally import Tally
from prime_audit.errors import UserError, in_a_line
from prime_audit.io.cores import use_threads
from prime_audit.runs.executors.order import Order, identity, machine, plan_again, require_shared

if TYPE_CHECKING:
    from prime_audit.plan.plan import Plan
    from prime_audit.record import Record
    from prime_audit.runs.cells import Cell, Lost
    from prime_audit.runs.findings import Findings
    from prime_audit.runs.worker import Worker


P = ParamSpec("P")


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


def _answered(work: Callable[Concatenate[Actor, P], Any]) -> Callable[Concatenate[Actor, P], Reply]:
    """Let a method reply with its result and its cost, or with the text of what it raises."""

    @wraps(work)
    def reply(actor: Actor, /, *args: P.args, **kwargs: P.kwargs) -> Reply:
        now = actor.tally
        start, before = time.perf_counter(), deepcopy(now)
        try:
            found = work(actor, *args, **kwargs)
        except UserError as fault:
            return Reply(refused=str(fault))
        except Exception as fault:
            return Reply(fault=in_a_line(fault), trace=traceback.format_exc())
        return Reply(
            found=found,
            seconds=round(time.perf_counter() - start, 3),
            made=now.made - before.made,
            read=now.read - before.read,
            damaged=now.damaged[len(before.damaged) :],
        )

    return reply


class Actor:
    """Does one job after another. Ray starts it in a process of its own; the models are loaded for the first job."""

    def __init__(self, order: Order) -> None:
        self._order, self.tally = order, Tally()
        os.environ.update(order.environment)
        use_threads(order.threads)
        # A relative path starts in the driver's folder; a node may lack it.
        with suppress(OSError):
            os.chdir(order.place)

    @_answered
    def hello(self) -> Mapping[str, str]:
        """Identify this worker. Raises where its cache is not the driver's."""
        import torch

        torch.set_num_threads(self._order.threads)  # Ray sets the environment of a worker before it starts
        require_shared(platform.node(), Path(self._order.cache), self._order.token)
        return identity(self._plan) | machine(self._plan.device)

    @_answered
    def prepare(self, task: str) -> None:
        """Adapt the base to a task and build its community."""
        self._worker.prepare(task)

    @_answered
    def carry_out(self, cell: Cell) -> list[str]:
        """Carry out a cell. The final run through all cells finds and reports its failures again."""
        import torch

        failures = [failure.line() for failure in self._worker.carry_out(cell)]
        base = self._worker.base
        if failures and base.device.type == "cuda":
            # After some faults a process can no longer compute. Then this raises, and another worker does the cell.
            (torch.ones(1, device=base.device) + 1).item()
        return failures

    @_answered
    def assemble(self, lost: Mapping[Cell, Lost]) -> tuple[Record, Findings]:
        """Go through all cells, which are cached by now, and return the record and the files beside it."""
        from prime_audit.runs.ledger import Ledger
        from prime_audit.runs.perform import perform

        return perform(replace(self._worker, ledger=Ledger(quiet=True)), self._order.command, lost)

    @cached_property
    def _plan(self) -> Plan:
        return plan_again(self._order)

    @cached_property
    def _worker(self) -> Worker:
        from prime_audit.community.store import Store
        from prime_audit.engine.mixture import Spent
        from prime_audit.runs.ledger import Ledger
        from prime_audit.runs.worker import Worker

        ledger = Ledger(quiet=True, tally=self.tally)
        self.tally.say = lambda _: None  # the driver prints messages
        store = Store(Path(self._order.cache), Spent(), tally=self.tally)
        return Worker.of(self._plan, self._order.datasets, store, ledger)
