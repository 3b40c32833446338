"""A run on a Ray cluster: communities, then cells (longest first), then the record.

Everything expensive goes through the content-addressed store, so the cluster only has to fill it. One worker then
writes the record with the same code as a local run. The record is the same except for its times.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from prime_audit.errors import UserError
from prime_audit.io.cores import asked_for
from prime_audit.lamp.data import Dataset
from prime_audit.plan.plan import Plan
from prime_audit.record import Record, StageSeconds
from prime_audit.runs.cells import Cell, cells_of
from prime_audit.runs.executors import Where
from prime_audit.runs.executors.order import Likeness, Order, identity, marked, order_of
from prime_audit.runs.executors.pool import RayPool, threads_each
from prime_audit.runs.executors.schedule import Job, Outcome, carry_out
from prime_audit.runs.findings import Findings
from prime_audit.runs.ledger import Ledger

COMMUNITY, RECORD = "community", "record"
REACH = 15.0
"""Seconds in which a cluster must answer."""


def perform_on_ray(
    plan: Plan,
    datasets: Mapping[str, Dataset],
    cache: Path | None,
    ledger: Ledger,
    command: str,
    where: Where,
) -> tuple[Record, Findings]:
    """Run every task of a plan on a cluster and return the results, as ``run.perform`` does.

    UserError without Ray, without a cluster, without a cache that all its nodes share, or where workers differ. Also
    where a task's community or the record itself failed, and as the run itself would.
    """
    if cache is None:
        raise UserError(
            "--executor ray: workers share results through the cache; leave --no-cache out, or "
            "pass --cache DIR on a disk that all nodes share"
        )
    cache = cache.absolute()
    asked = where.threads or asked_for()
    with connected(where) as gpus, marked(cache) as token:
        kind = "GPU" if plan.device != "cpu" and (gpus or plan.device == "cuda") else "CPU"
        threads = asked or threads_each(kind, where.workers)
        order = order_of(plan, datasets, command, cache, token, threads)
        alike = Likeness(identity(plan))
        with closing(RayPool(order, alike, ledger.note, kind=kind, workers=where.workers)) as pool:
            with ledger.stage(None, None, "workers", 0):
                pool.gather()
            return _performed(order, cells_of(plan, datasets), pool, ledger)


def _performed(order: Order, cells: Sequence[Cell], pool: RayPool, ledger: Ledger) -> tuple[Record, Findings]:
    named = _named(cells)
    jobs = [*_communities(cells), *(_job(name, cell) for name, cell in named.items())]
    with ledger.stage(None, None, "cells", len(jobs)) as tick:
        done = carry_out(jobs, pool, ledger.note, tick)
    for line in dict.fromkeys(line for name in named for line in done.found.get(name, {}).get("found", ())):
        ledger.note(line)
    for task in order.datasets:
        _require(done, _of(task, COMMUNITY))
    lost = {cell: done.failed[name] for name, cell in named.items() if name in done.failed}
    with ledger.stage(None, None, RECORD, 0):
        last = carry_out([Job(RECORD, "", 1.0, ("assemble", lost))], pool, ledger.note, lambda _: None)
    _require(last, RECORD)
    record, found = last.found[RECORD]["found"]
    replies = [*done.found.values(), *last.found.values()]
    damaged = [line for reply in replies for line in reply["damaged"]]
    for line in damaged:
        ledger.warn(f"cache: {line}")
    times = replace(
        record.times,
        started=ledger.started,
        stages=(*_seconds(done, jobs), *ledger.stages, *record.times.stages),
        made=sum(reply["made"] for reply in replies),
        read=sum(reply["read"] for reply in replies),
        damaged=tuple(damaged),
    )
    return replace(record, times=times), found


def _of(task: str, what: str) -> str:
    return f"{task} · {what}"


def _named(cells: Sequence[Cell]) -> dict[str, Cell]:
    """Give each cell a name for messages: ``LaMP-2 · prime 1/3``."""
    chunks = Counter((cell.task, cell.core) for cell in cells)
    return {_of(c.task, f"{c.core} {c.chunk + 1}/{chunks[c.task, c.core]}"): c for c in cells}


def _communities(cells: Sequence[Cell]) -> list[Job]:
    """List the jobs that come before all cells of their task; the task with the most work first."""
    total: dict[str, float] = {}
    for cell in cells:
        total[cell.task] = total.get(cell.task, 0.0) + cell.weight
    return [Job(_of(task, COMMUNITY), task, work, ("prepare", task)) for task, work in total.items()]


def _job(name: str, cell: Cell) -> Job:
    return Job(name, cell.task, cell.weight, ("carry_out", cell), after=_of(cell.task, COMMUNITY))


def _require(done: Outcome, name: str) -> None:
    if name in done.failed:
        raise UserError(f"{name}: {done.failed[name].why}; rerun the same command to resume")


def _seconds(done: Outcome, jobs: Sequence[Job]) -> Iterator[StageSeconds]:
    """Log how long each job took on its worker."""
    for job in jobs:
        if job.name in done.found:
            work = job.work[1]
            method = work.core if isinstance(work, Cell) else None
            stage = f"cell {work.chunk + 1}" if isinstance(work, Cell) else COMMUNITY
            yield StageSeconds(job.task, method, stage, done.found[job.name]["seconds"])


@contextmanager
def connected(where: Where) -> Iterator[bool]:
    """Connect to the cluster, or to one that is started and ended here; yields whether it has GPUs.

    Ray prints nothing, reports no usage and serves no dashboard. An existing connection of the calling process is
    used and left open.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise UserError("--executor ray: Ray is not installed: pip install 'prime-audit[ray]'") from None
    # Ray reports dead workers on standard output, which belongs to the command; ours go to stderr.
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # noqa: PTH123
        ours = not ray.is_initialized()
        if ours:
            _connect(ray, where.address or os.environ.get("RAY_ADDRESS"))
        try:
            yield ray.cluster_resources().get("GPU", 0) >= 1
        finally:
            if ours:
                ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        _require_reachable(address)
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as fault:  # grpc, sockets and versions each raise their own type
        raise UserError(
            f"Ray {address or 'on this machine'}: no connection "
            f"({' '.join(str(fault).split())[:300]}); start it with ray start --head, and pass "
            "--address HOST:PORT"
        ) from fault
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray puts its own there


def _require_reachable(address: str | None) -> None:
    """Raise OSError where nothing answers at HOST:PORT: Ray itself would retry for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH).close()
