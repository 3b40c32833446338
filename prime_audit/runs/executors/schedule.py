"""Scheduling and retries: the longest job first, on any free worker. Independent of Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from prime_audit.runs.cells import Lost

TRIES = 3
"""Attempts before a job is given up."""
AT_HOME = 2.0
"""How much longer another task's job must be before a worker leaves its current task."""


@dataclass(frozen=True)
class Job:
    """A piece of work that one worker does at once."""

    name: str
    """Unique name, shown in messages."""
    task: str
    """The task whose community it needs."""
    weight: float
    """Estimated duration, in any unit."""
    work: Any
    """The worker's input, only passed on here."""
    after: str | None = None
    """Name of the job that must be done first."""


@dataclass(frozen=True)
class Answer:
    """How a job ended."""

    place: str
    """The node of the worker."""
    job: Job
    found: Any = None
    fault: str | None = None
    """Why there is no result (the worker died or raised), in one line."""
    trace: str | None = None
    """The traceback, where it raised."""


@dataclass
class Outcome:
    """How all jobs ended, by name."""

    found: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, Lost] = field(default_factory=dict)
    """Why a job was given up."""


class Pool(Protocol):
    """Workers, by name."""

    def free(self) -> Sequence[str]:
        """Name the free workers."""

    def place(self, worker: str) -> str:
        """Name the node of a worker."""

    def places(self) -> set[str]:
        """Name the nodes with a worker that could start a job, now or after its current one."""

    def give(self, worker: str, job: Job) -> None:
        """Start a job on a free worker."""

    def wait(self) -> Sequence[Answer]:
        """Wait for an event and return the jobs that ended; none where a worker came or time passed."""


def carry_out(
    jobs: Sequence[Job], pool: Pool, report: Callable[[str], None], tick: Callable[[int], None]
) -> Outcome:
    """Run all jobs. A failed job is retried, at most ``TRIES`` times in all, on other nodes if there are any.

    So a node on which everything fails costs each job one attempt, and no job is lost to it. ``report`` receives one
    line for each failure; ``tick`` counts finished and given-up jobs.
    """
    todo, begun, outcome = {job.name: job for job in jobs}, Counter[str](), Outcome()
    home: dict[str, str] = {}
    shunned: dict[str, set[str]] = {job.name: set() for job in jobs}
    running = 0

    def settle(name: str) -> None:
        """Count a job as ended, and give up the jobs that depend on a given-up one."""
        tick(1)
        for other in [j for j in todo.values() if j.after == name and name in outcome.failed]:
            del todo[other.name]
            outcome.failed[other.name] = replace(why := outcome.failed[name], why=f"{name}: {why.why}")
            settle(other.name)

    def may(job: Job, place: str) -> bool:
        """Whether a job may start at a place now: not where it failed, unless it failed everywhere."""
        if job.after is not None and job.after not in outcome.found:
            return False
        return place not in shunned[job.name] or shunned[job.name] >= pool.places()

    while todo or running:
        for worker in pool.free():
            ready = [j for j in todo.values() if may(j, pool.place(worker))]
            if not ready:
                continue
            job = next_of(ready, home.get(worker))
            del todo[job.name]
            begun[job.name] += 1
            home[worker] = job.task
            pool.give(worker, job)
            running += 1
        for answer in pool.wait():
            running -= 1
            name = answer.job.name
            if answer.fault is None:
                outcome.found[name] = answer.found
                settle(name)
            elif begun[name] < TRIES:
                shunned[name].add(answer.place)
                report(f"{name}: {answer.fault}; retrying")
                todo[name] = answer.job
            else:
                why = f"given up after {TRIES} attempts: {answer.fault}"
                outcome.failed[name] = Lost(why, answer.trace)
                report(f"{name}: {why}")
                settle(name)
    return outcome


def next_of(ready: Sequence[Job], home: str | None) -> Job:
    """Choose the longest; jobs of the worker's current task count ``AT_HOME`` times."""
    return max(ready, key=lambda j: j.weight * (AT_HOME if j.task == home else 1.0))
