"""The workers of a Ray cluster, one per GPU or a few per node. Dead workers are replaced; nodes come and go."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prime_audit.errors import UserError
from prime_audit.runs.executors.actor import Actor, Reply
from prime_audit.runs.executors.order import Order
from prime_audit.runs.executors.schedule import Answer, Job

LOOK = 2.0
"""Seconds between two looks at the list of nodes."""
GATHER = 60.0
"""Seconds to wait for the others once the first worker is ready."""
START = 600.0
"""Seconds in which a first worker must be ready."""
STRIKES = 3
"""Consecutive workers that may be lost at their start on a node before it is left out."""


@dataclass(frozen=True)
class Seat:
    """Where a worker can be: a GPU, or a share of a node."""

    node: str
    """Ray's id."""
    number: int
    name: str
    """Name of the node in messages."""
    cores: int
    """What Ray sets aside for it."""


def threads_each(kind: str, workers: int | None) -> int:
    """Return how many threads each worker of a connected cluster gets, so that no node has more than cores.

    Answers are cached by the number, so all workers have that of the fullest node.
    """
    import ray

    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"] and n["Resources"].get(kind, 0) >= 1]
    if not nodes:
        return 1
    most = -(-workers // len(nodes)) if workers else None
    on_node = [min(int(n["GPU"]), most or int(n["GPU"])) if kind == "GPU" else most or 1 for n in nodes]
    return max(1, min(int(n.get("CPU", 1)) // many for n, many in zip(nodes, on_node, strict=True)))


@dataclass
class _Hand:
    """A worker, from the driver's side."""

    seat: Seat
    actor: Any
    pending: Any
    """Ray's reference to the expected answer; None: it is free."""
    job: Job | None = None
    said: bool = False
    """Whether it has identified itself."""


class RayPool:
    """The workers of a connected cluster, by name."""

    def __init__(
        self,
        order: Order,
        alike: Callable[[str, Mapping[str, str]], None],
        report: Callable[[str], None],
        *,
        kind: str,
        workers: int | None,
    ) -> None:
        """``alike`` raises UserError for a node (its name, its worker's identity) that must not take part.

        ``kind``: GPU, one for each worker, or CPU, as many as a worker's threads.
        """
        import ray

        self._ray, self._order, self._alike, self._report = ray, ray.put(order), alike, report
        self._threads, self._kind, self._limit = order.threads, kind, workers
        self._hands: dict[str, _Hand] = {}
        self._strikes: Counter[str] = Counter()
        self._began = False
        self._made = 0

    def free(self) -> Sequence[str]:
        """Name the free workers."""
        return [name for name, hand in self._hands.items() if hand.pending is None]

    def place(self, worker: str) -> str:
        """Name the node of a worker."""
        return self._hands[worker].seat.name

    def places(self) -> set[str]:
        """Name the nodes with a worker that is ready or busy."""
        return {hand.seat.name for hand in self._hands.values() if hand.said}

    def give(self, worker: str, job: Job) -> None:
        """Start a job on a free worker."""
        hand = self._hands[worker]
        what, content = job.work
        hand.job, hand.pending = job, getattr(hand.actor, what).remote(content)

    def wait(self) -> Sequence[Answer]:
        """Wait for an event and return the jobs that ended; none where a worker came.

        UserError where no worker is left and none comes, or a worker reports an error that the user has to fix.
        """
        since = time.monotonic()
        while True:
            self._fill()
            before = set(self.free())
            answers = [a for name in self._ended() if (a := self._take(name)) is not None]
            if answers or set(self.free()) - before:
                return answers
            if not self.places() and time.monotonic() - since > START:
                raise UserError(
                    f"no worker was ready within {START:.0f} s: other jobs use the cluster's "
                    f"{self._kind}s, or its nodes are gone; free or start some, then rerun the "
                    "same command to resume"
                )

    def gather(self) -> None:
        """Wait until every seat has its worker, or for GATHER seconds after the first. Raises as ``wait``.

        Until then a different node ends the run; later it is reported and left out.
        """
        if not list(self._seats()):
            raise UserError(
                f"the Ray cluster has no node with a {self._kind}; start one (ray start) and "
                "rerun the command"
            )
        self.wait()
        ends = time.monotonic() + GATHER
        while any(hand.pending is not None for hand in self._hands.values()) and time.monotonic() < ends:
            self.wait()
        self._began = True

    def close(self) -> None:
        """End all workers."""
        for hand in self._hands.values():
            self._ray.kill(hand.actor)
        self._hands.clear()

    # -- seats -----------------------------------------------------------------------------------------------

    def _seats(self) -> Iterator[Seat]:
        """Yield seats in the order of filling: the first one on every node, then second ones, ..."""
        nodes = [n for n in self._ray.nodes() if n["Alive"] and self._strikes[n["NodeID"]] < STRIKES]
        room = {n["NodeID"]: self._room(n["Resources"]) for n in nodes}
        for number in range(max(room.values(), default=0)):
            for node in sorted(nodes, key=lambda n: str(n["NodeID"])):
                if number < room[node["NodeID"]]:
                    yield Seat(
                        node["NodeID"],
                        number,
                        f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
                        min(self._threads, int(node["Resources"].get("CPU", 0)) // room[node["NodeID"]]),
                    )

    def _room(self, resources: Mapping[str, float]) -> int:
        """Count a node's seats: by its GPUs, or by its cores; one where there is no limit to the workers."""
        cores = int(resources.get("CPU", 0))
        if self._kind == "GPU":
            return int(resources.get("GPU", 0))
        return min(1, cores) if self._limit is None else min(cores, max(1, cores // self._threads))

    def _fill(self) -> None:
        """Start workers on seats that have none."""
        taken = {hand.seat for hand in self._hands.values()}
        for seat in self._seats():
            if self._limit is not None and len(self._hands) >= self._limit:
                return
            if seat not in taken:
                self._start(seat)

    def _start(self, seat: Seat) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._made += 1
        actor = (
            self._ray.remote(Actor)
            .options(
                num_cpus=seat.cores,
                num_gpus=int(self._kind == "GPU"),
                scheduling_strategy=NodeAffinitySchedulingStrategy(seat.node, soft=False),
                max_restarts=0,  # a lost worker is replaced here, by one that identifies itself first
            )
            .remote(self._order)
        )
        self._hands[f"{seat.name} #{self._made}"] = _Hand(seat, actor, actor.hello.remote())

    # -- answers ---------------------------------------------------------------------------------------------

    def _ended(self) -> list[str]:
        """Name the workers with an answer, after a short wait."""
        pending = {hand.pending: name for name, hand in self._hands.items() if hand.pending is not None}
        if not pending:
            time.sleep(LOOK)
            return []
        done, _ = self._ray.wait(list(pending), num_returns=1, timeout=LOOK)
        return [pending[ref] for ref in done]

    def _take(self, name: str) -> Answer | None:
        """Take a worker's answer; one that died or raised is dropped."""
        hand = self._hands[name]
        job, reply = hand.job, self._reply(hand)
        hand.job = hand.pending = None
        if "refused" in reply:
            self._refuse(name, reply["refused"], late=self._began and job is None)
            return None
        if "fault" in reply:
            self._lose(name, reply["fault"])
            why = f"node {hand.seat.name}: {reply['fault']}"
            if job is None:
                return None
            return Answer(hand.seat.name, job, fault=why, trace=reply.get("trace"))
        if job is None:
            try:
                self._alike(hand.seat.name, reply["found"])
                hand.said, self._strikes[hand.seat.node] = True, 0
            except UserError as fault:
                self._refuse(name, str(fault), late=self._began)
            return None
        return Answer(hand.seat.name, job, reply)

    def _reply(self, hand: _Hand) -> Reply:
        from ray.exceptions import RayError

        try:
            reply: Reply = self._ray.get(hand.pending)
        except RayError as fault:
            return Reply(fault=_died(fault))
        return reply

    def _refuse(self, name: str, why: str, *, late: bool) -> None:
        """End the run for an error that the user has to fix; a late worker with an error is left out."""
        if not late:
            raise UserError(why)
        self._strikes[self._hands[name].seat.node] = STRIKES
        self._leave_out(why)
        self._dismiss(name)

    def _lose(self, name: str, why: str) -> None:
        """Drop a worker: its process is dead, or its state cannot be trusted any more."""
        hand = self._hands[name]
        if not hand.said:
            self._strikes[hand.seat.node] += 1
            if self._strikes[hand.seat.node] == STRIKES:
                self._leave_out(
                    f"node {hand.seat.name}: {STRIKES} workers in a row were lost at their start ({why})"
                )
        self._dismiss(name)

    def _leave_out(self, why: str) -> None:
        """Continue without a node. Raises UserError where it was the last."""
        if not list(self._seats()):
            raise UserError(
                f"{why}; no other node is left: fix this one, then rerun the same command to resume"
            )
        self._report(f"{why}; the node is left out")

    def _dismiss(self, name: str) -> None:
        self._ray.kill(self._hands.pop(name).actor)


def _died(fault: Exception) -> str:
    """Return Ray's reason for a worker's end in one line: its last line, without the list of possible causes."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()] or [type(fault).__name__]
    return f"its worker died: {lines[-1].partition(' Some common causes')[0][:300]}"
