"""PriME's own search on a community reduced to what it asks for, so that any number of targets can be measured.

Memory is measured in fresh processes, which import this module alone.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from prime_audit.community.sharers import bank_name
from prime_audit.engine.batches import Tick, nothing
from prime_audit.engine.engine import Engine
from prime_audit.lamp.prompts import Example
from prime_audit.lamp.tasks import TASKS
from prime_audit.plugins import Scene
from prime_audit.prime.prime import personalise
from prime_audit.settings import load_settings

from .rivals import NOBODY
from .shapes import Room, build, sharers

TASK, SHARERS, K, NEW = "LaMP-2", 6, 3, 6


def endless(room: Room) -> None:
    """Let no token end an answer: each then costs the same, and time tells of the work, not of luck."""
    room.base.stops = (NOBODY,)


def ready_engine(room: Room, batch_tokens: int = 0) -> Engine:
    """Return an engine whose bank holds a few sharers."""
    adapters = sharers(room, TASK, SHARERS)
    engine = room.engine({bank_name(name): adapter for name, adapter in adapters.items()})
    engine.batch_tokens = batch_tokens or engine.batch_tokens
    return engine


def examples(room: Room, targets: int, history: int) -> dict[str, list[Example]]:
    """Return each target's last examples, all of different prompts."""
    found = {}
    for i, pairs in enumerate(room.users(TASK, targets, 79, "targets")):
        golds = {p.prompt: p.gold for p in pairs}
        kept = list(golds.items())[-history:]
        found[f"t{i}"] = [
            Example(f"{n}", prompt, gold, f"{n}", "plain") for n, (prompt, gold) in enumerate(kept)
        ]
    return found


def evaluations(budget: int) -> int:
    """Models that a search without penalty tries on each target's history: candidates and the recommendation."""
    return budget + 1


def search(engine: Engine, history: dict[str, list[Example]], budget: int) -> dict[str, Any]:
    """Run PriME as it stands."""

    @contextmanager
    def stage(name: str, steps: int) -> Iterator[Tick]:
        yield nothing

    people = [SimpleNamespace(id=name) for name in history]
    order = {name: i for i, name in enumerate(history)}
    sets = [tuple(f"u{(i + j) % SHARERS}" for j in range(K)) for i in (0, K)]
    community: Any = SimpleNamespace(
        targets=people,
        nearest=lambda user, k: sets[order[user] % len(sets)],
        ready=lambda: None,
        last_examples=lambda user: history[user.id],
    )
    settings = load_settings("laptop", [f"max_new={NEW}"])
    scene = Scene(
        task=TASKS[TASK], engine=engine, community=community, settings=settings, seed=0, stage=stage
    )
    words = {"alpha": 0.0, "optimizer": "cma", "granularity": "module", "merge": "delta", "select": "best"}
    words |= {"trim": "none", "density": 0.0}
    return personalise(scene, budget=budget, k=K, share=1.0, **words)  # type: ignore[arg-type]


def peak(shape: str, device: str, full: bool, targets: int, history: int, budget: int) -> int:
    """Search for so many targets; return the peak memory in bytes, of the GPU, else of the process."""
    room = build(shape, device, full)
    endless(room)
    search(ready_engine(room), examples(room, targets, history), budget)
    return int(torch.cuda.max_memory_allocated()) if room.cuda else resident()


def resident() -> int:
    """Return this process's largest resident size so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux ru_maxrss also remembers the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
