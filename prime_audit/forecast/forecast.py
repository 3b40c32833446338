"""Predict a run's time and memory: the run itself, with a worker that counts passes, at speeds measured here.

Data, community, the methods' own code, metrics and report run for real. The model runs only where speeds are measured;
answers cached by earlier runs are used. Games run with a few relabellings, and their time is extrapolated.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil

from prime_audit.cache.entry import Entry
from prime_audit.community.store import Store, content_key
from prime_audit.engine.base import Base
from prime_audit.engine.engine import Engine
from prime_audit.engine.memory import kv_bytes, state_bytes, training_bytes
from prime_audit.engine.mixture import Spent
from prime_audit.engine.recipe import LoraShape
from prime_audit.engine.shape import Shape
from prime_audit.folder import RunFolder
from prime_audit.forecast.rehearsal import Rehearsal
from prime_audit.forecast.speed import speeds
from prime_audit.games.exam.play import ALL, Effort, rounds
from prime_audit.games.exam.stored import Exam
from prime_audit.lamp.prompts import history_examples
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.plan import Plan
from prime_audit.runs.ledger import Ledger
from prime_audit.runs.perform import open_all, perform, write
from prime_audit.runs.task import TaskRun
from prime_audit.runs.worker import Worker

T = TypeVar("T")
FEW, MORE = Effort(20), Effort(80)
"""Relabellings of a game, to extrapolate to all of them."""
SAMPLE = 200
"""Prompts that are read for their typical length."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One stage of a run to come."""

    task: str | None = None
    """The task's name; null for what all tasks share."""
    method: str | None = None
    """The method's label; null for what all methods share."""
    stage: str
    """As the record names it."""
    requests: int = 0
    """Sequences sent through a model."""
    tokens: int = 0
    """Tokens read or written, without padding."""
    kept: str = "–"
    """Whether the models' work is cached: yes, part or no; – where there is none."""
    seconds: float
    """Predicted."""


@dataclass(frozen=True)
class Forecast:
    """A run to come."""

    work: tuple[Work, ...]
    """In the order in which it will be done."""
    seconds: float
    """Predicted for the whole run, start and report included."""
    memory_bytes: int
    """Predicted peak of the process's memory."""
    device_bytes: int | None
    """Predicted peak on the GPU; null without one."""
    failures: tuple[str, ...] = ()
    """What failed here and would fail in the run, one line each."""


def forecast(
    plan: Plan, cache: Path | None, start_up: float = 0.0, tell: Callable[[str], object] = lambda _: None
) -> Forecast:
    """Predict a run's time and memory; only the measured speeds are written, to the cache.

    ``start_up``: seconds that a new process needs before it starts. ``tell``: prints a line.

    Raises UserError as the run itself would, for data, names and models.
    """
    ledger, datasets = _Clock(), open_all(plan, tell)
    ledger.store = _ReadOnly(cache, Spent())
    worker = Worker.of(plan, datasets, ledger.store, ledger)
    worker.kind = _Rehearsed
    ledger.rehearsal = _ready(worker, cache, tell)
    start, shared = time.perf_counter(), ledger.spent
    record, found = perform(worker, "plan")
    with tempfile.TemporaryDirectory() as folder:
        write(RunFolder.create(Path(folder) / "run", content_key(plan.spec())), record, found)
    between = time.perf_counter() - start - (ledger.spent - shared)
    ledger.work.append(Work(stage="start, metrics and report", seconds=round(start_up + between, 3)))
    host, device = _memory(worker.base, ledger.rehearsal)
    total = sum(w.seconds for w in ledger.work)
    failures = tuple(failure.line().partition("; traceback in")[0] for failure in record.failures)
    return Forecast(tuple(ledger.work), round(total, 1), host, device, failures)


def _ready(worker: Worker, cache: Path | None, tell: Callable[[str], object]) -> Rehearsal:
    """Measure this machine's speeds on prompts of the data, and let a counting worker replace the models'."""
    settings, base, readers = worker.plan.settings, worker.base, worker.readers
    texts = [
        example.prompt
        for task, data in worker.datasets.items()
        for user in data.targets
        for example in history_examples(TASKS[task], user)
    ]
    lora = LoraShape(**{key: settings.get(f"lora.{key}") for key in ("rank", "alpha", "dropout")})
    spent, fits = base.spent, base.fits
    base.spent, base.fits = replace(spent), {name: replace(fit) for name, fit in fits.items()}
    prompts = texts[:: 1 + len(texts) // SAMPLE] or ["text"]
    room = min(settings.get(f"{kind}_tokens") for kind in ("read", "train"))
    found = Rehearsal(speeds(base, readers.encoder, prompts, lora, room, cache, tell))
    base.spent, base.fits = spent, fits
    base.worker = readers.encoder.worker = found
    if readers.profiler:
        readers.profiler.base.worker = found
    return found


class _ReadOnly(Store):
    """A cache that is read and never written; it counts hits and misses."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.found = self.missed = 0

    def _keep(
        self,
        key: str,
        kind: str,
        make: Callable[[], T],
        save: Callable[[T, Path], None],
        load: Callable[[Path], T],
    ) -> T:
        """Read, or compute without storing: invented results must never be read back."""
        found = self._read(Entry(self.root, key), kind, load) if self.root is not None else None
        if found is not None:
            self.found += 1
            return found[0]
        self.missed += 1
        return make()


@dataclass
class _Clock(Ledger):
    """Records each stage: seconds that the real part took, and predicted ones for the counted part."""

    quiet: bool = True
    rehearsal: Rehearsal | None = None
    store: _ReadOnly | None = None
    work: list[Work] = field(default_factory=list)
    spent: float = 0.0
    """Seconds that stages took here."""

    @contextmanager
    def stage(
        self, task: str | None, method: str | None, name: str, total: int, engine: Engine | None = None
    ) -> Iterator[Callable[[int], None]]:
        """Run one stage, and add the time that models would take."""
        start, before = time.perf_counter(), self._counted()
        with super().stage(task, method, name, total, engine) as tick:
            yield tick
        taken, after = time.perf_counter() - start, self._counted()
        self.spent += taken
        cost = self.costs[-1] if engine is not None else None
        self.work.append(
            Work(
                task=task,
                method=method,
                stage=name,
                requests=cost.requests if cost else 0,
                tokens=cost.prompt_tokens + cost.new_tokens if cost else 0,
                kept=_word(int(after[1] - before[1]), int(after[2] - before[2])),
                seconds=round(taken + after[0] - before[0], 3),
            )
        )

    def _counted(self) -> tuple[float, int, int]:
        store = self.store
        return (
            self.rehearsal.seconds if self.rehearsal else 0.0,
            store.found if store else 0,
            store.missed if store else 0,
        )


def _word(found: int, missed: int) -> str:
    if not found and not missed:
        return "–"
    return "no" if not found else "part" if missed else "yes"


class _Rehearsed(TaskRun):
    """A task whose games run with few relabellings; their time is extrapolated."""

    def _play(self, exam: Exam, effort: Effort = FEW) -> None:
        clock, self.ledger = self.ledger, Ledger(quiet=True)
        play = super()._play
        # The first also fits the bag of words, which is then cached.
        first = _timed(lambda: play(exam, FEW))
        few, more = (_timed(partial(self._again, exam, e)) for e in (FEW, MORE))
        self.ledger = clock
        assert isinstance(clock, _Clock)
        each = max(0.0, more - few) / (MORE.permutations - FEW.permutations)
        clock.spent += first + few + more
        seconds = first + each * (ALL.permutations - FEW.permutations)
        clock.work.append(Work(task=self.task.name, stage="games", seconds=round(seconds, 3)))

    def _again(self, exam: Exam, effort: Effort) -> None:
        stage = partial(self.ledger.stage, self.task.name, total=0)
        for _ in rounds(exam, self.games, self.attacks, stage, effort, self.store):
            pass


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _memory(base: Base, rehearsal: Rehearsal) -> tuple[int, int | None]:
    """Bytes at the peak: what is in memory now, and the largest pass of any kind."""
    config, item = base.model.config, base.dtype.itemsize
    states, most = state_bytes(config, item), rehearsal.largest
    passes = [
        most.get("generate", 0) * kv_bytes(config, item) * 2,
        max(most.get(kind, 0) for kind in ("read", "assemble", "embed"))
        * (states + Shape.of(config).vocabulary),
        max(most.get(kind, 0) for kind in ("train", "gates")) * training_bytes(config, item),
    ]
    host = psutil.Process().memory_info().rss
    if base.device.type != "cuda":
        return host + max(passes), None
    import torch

    return host, int(torch.cuda.memory_allocated(base.device)) + max(passes)


def lines(found: Forecast) -> Sequence[list[str]]:
    """Return a forecast's rows of text, for the terminal."""
    return [
        [
            w.task or "",
            w.method or "",
            w.stage,
            f"{w.requests:,}",
            f"{w.tokens:,}",
            w.kept,
            f"{w.seconds:.1f}",
        ]
        for w in found.work
        if w.seconds >= 0.05 or w.requests
    ]


def headline(found: Forecast) -> str:
    """Return a forecast in one line."""
    minutes, seconds = divmod(round(found.seconds), 60)
    gpu = f", {found.device_bytes / 2**30:.1f} GiB on the GPU" if found.device_bytes is not None else ""
    return f"about {minutes} min {seconds} s, {found.memory_bytes / 2**30:.1f} GiB of memory{gpu}"
