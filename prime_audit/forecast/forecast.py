"""Predict a run's time and memory: the run itself, with a worker that counts passes, at speeds measured here.

Data, community, the methods' own code, metrics and report run for real. The model runs only where speeds are measured;
answers cached by earlier runs are used. Games run with a few relabellings, and their time is extrapolated.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import psutil
import torch

from prime_audit.cache.entry import Entry
from prime_audit.community.store import Store, content_key
from prime_audit.engine.base import Base
from prime_audit.engine.engine import Engine
from prime_audit.engine.memory import kv_bytes, state_bytes, training_bytes
from prime_audit.engine.mixture import Spent
from prime_audit.engine.native import SIZES, multiplies_natively
from prime_audit.engine.packed import unpacked_bytes
from prime_audit.engine.recipe import LoraShape
from prime_audit.engine.shape import Shape
from prime_audit.folder import RunFolder
from prime_audit.forecast.rehearsal import Amount, Line, Rehearsal
from prime_audit.forecast.speed import Probe, speeds
from prime_audit.games.exam.play import ALL, Effort, rounds
from prime_audit.games.exam.power import outlook
from prime_audit.games.exam.stored import Exam
from prime_audit.lamp.data import Dataset
from prime_audit.lamp.prompts import history_examples
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.plan import Plan, label_parts
from prime_audit.runs.cells import Cell, cells_of
from prime_audit.runs.ledger import Ledger
from prime_audit.runs.perform import open_all, perform, write
from prime_audit.runs.run import require_room
from prime_audit.runs.task import TaskRun
from prime_audit.runs.worker import Worker

T = TypeVar("T")
FEW, MORE = Effort(500), Effort(8_000)
"""Relabellings of a game, to extrapolate to all of them."""
SAMPLE = 200
"""Prompts and golds that are read for their typical length."""


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
    outlook: tuple[str, ...] = ()
    """Who shares, why the others do not, and what an audit of this size can find, one line each."""


def forecast(
    plan: Plan,
    cache: Path | None,
    start_up: float = 0.0,
    tell: Callable[[str], object] = lambda _: None,
    *,
    out: Path | None = None,
    workers: int = 1,
    again: bool = False,
) -> Forecast:
    """Predict a run's time and memory; only the measured speeds are written, to the cache.

    The run is rehearsed first, so its faults are known before any speed is measured. ``start_up``: seconds that a new
    process needs before it starts. ``tell``: prints a line. ``out``: the run's folder, if it is known. ``workers``:
    how many share the cells. ``again``: speeds are measured even where they are known.

    Raises UserError as the run itself would, for data, names and models.
    """
    ledger, datasets = _Clock(), open_all(plan, tell)
    if out is not None:
        require_room(plan, datasets, out)
    seen = _outlook(plan, datasets)
    for line in seen:
        tell(line)
    tell(f"reading {plan.model}")
    ledger.store = _ReadOnly(cache, Spent())
    worker = Worker.of(plan, datasets, ledger.store, ledger)
    base, readers = worker.base, worker.readers
    if _pays_in_half(base):
        tell("this CPU multiplies bfloat16 natively: --dtype bfloat16 is faster here")
    worker.kind = _Rehearsed
    ledger.rehearsal = rehearsal = Rehearsal()
    base.worker = readers.encoder.worker = rehearsal
    if readers.profiler:
        readers.profiler.base.worker = rehearsal
    tell("rehearsing the run")
    start, shared = time.perf_counter(), ledger.spent
    record, found = perform(worker, "plan")
    with tempfile.TemporaryDirectory() as folder:
        write(RunFolder.create(Path(folder) / "run", content_key(plan.spec())), record, found)
    between = time.perf_counter() - start - (ledger.spent - shared)
    ledger.add(Work(stage="start, metrics and report", seconds=start_up + between))
    failures = tuple(failure.line().partition("; traceback in")[0] for failure in record.failures)
    for line in failures:
        tell(f"would fail: {line}")
    speeds = _speeds(worker, rehearsal.done.passes, cache, tell, again)
    work = tuple(
        replace(w, seconds=round(w.seconds + amount.seconds(speeds), 3)) for w, amount in ledger.work
    )
    total = sum(w.seconds for w in work) - _shared_out(work, cells_of(plan, datasets), workers)
    return Forecast(work, round(total, 1), *_memory(base, rehearsal), failures, seen)


def _pays_in_half(base: Base) -> bool:
    """Whether a model in float32 on a CPU is faster in bfloat16, if its layers are about as wide as those timed."""
    wide = 2 * Shape.of(base.model.config).hidden >= SIZES[1]
    full = base.device.type == "cpu" and base.dtype == torch.float32
    return full and wide and multiplies_natively(torch.bfloat16)


def _outlook(plan: Plan, datasets: Mapping[str, Dataset]) -> tuple[str, ...]:
    return tuple(
        f"{task}: {line}"
        for task, data in datasets.items()
        for line in outlook(data, plan.settings, plan.games, plan.seed)
    )


def _speeds(
    worker: Worker,
    kinds: Collection[str],
    cache: Path | None,
    tell: Callable[[str], object],
    again: bool,
) -> Mapping[str, Line]:
    """Return this machine's speeds at these kinds of work, on prompts of the data."""
    settings, base = worker.plan.settings, worker.base
    base.restore()
    texts = [
        (example.prompt, example.gold)
        for task, data in worker.datasets.items()
        for user in data.targets
        for example in history_examples(TASKS[task], user)
    ]
    lora = LoraShape(**{key: settings.get(f"lora.{key}") for key in ("rank", "alpha", "dropout")})
    pairs = texts[:: 1 + len(texts) // SAMPLE] or [("text", "gold")]
    room = min(settings.get(f"{kind}_tokens") for kind in ("read", "train"))
    probe = Probe(base, worker.readers.encoder, pairs, lora, room)
    return speeds(probe, kinds, cache, tell, again)


def _shared_out(work: Sequence[Work], cells: Sequence[Cell], workers: int) -> float:
    """Seconds that ``workers`` save by sharing the cells: at best all are busy until the last one ends.

    What belongs to no method (communities, games, the record) is done once. Starting workers and waiting for what
    another one makes are left out.
    """
    cores, chunks = {cell.core for cell in cells}, {cell.task: cell.chunk + 1 for cell in cells}
    own: dict[tuple[str, str], float] = defaultdict(float)
    for w in work:
        # A stage of a game's queries has the method in its name.
        core = label_parts(w.method or w.stage.partition(" · ")[0])[0]
        if w.task is not None and core in cores | {w.method}:
            own[w.task, core] += w.seconds
    longest = max((seconds / chunks[task] for (task, _), seconds in own.items()), default=0.0)
    total = sum(own.values())
    return total - max(longest, total / workers)


class _ReadOnly(Store):
    """A cache that is read and never written; it counts hits and misses.

    What this rehearsal made counts as a hit when it is asked for again, as the run would have stored it by then. Not
    so what a search asks after its first population: that depends on answers, and the invented ones are too much alike
    to tell one α from another.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.found = self.missed = 0
        self._known: dict[str, tuple[Any, Spent]] = {}
        self._within: list[int] = []
        """For each entry that is being made, how many questions it has asked, one more where it depends on answers."""

    def _keep(
        self,
        key: str,
        kind: str,
        make: Callable[[], T],
        save: Callable[[T, Path], None],
        load: Callable[[Path], T],
    ) -> T:
        """Read, or compute without storing: another run must never read invented results."""
        decided = not self._within or not self._within[-1]
        if self._within:
            self._within[-1] += 1
        found = self._read(Entry(self.root, key), kind, load) if self.root is not None else None
        if found is not None:
            self.found += 1
            return found[0]
        if key in self._known and decided:
            self.found += 1
            known, cost = self._known[key]
            self.spent.add(cost)
            return cast(T, known)
        self.missed += 1
        before = replace(self.spent)
        self._within.append(0 if decided else 1)
        try:
            made = make()
        finally:
            self._within.pop()
        # Without a cache a run computes all again. A community holds its adapters itself.
        if self.root is not None and kind != "adapters":
            self._known[key] = made, self.spent.since(before)
        return made


@dataclass
class _Clock(Ledger):
    """Records each stage: seconds that the real part took, and predicted ones for the counted part."""

    quiet: bool = True
    rehearsal: Rehearsal | None = None
    store: _ReadOnly | None = None
    work: list[tuple[Work, Amount]] = field(default_factory=list)
    """Each with the seconds of its real part, and what was counted in it."""
    spent: float = 0.0
    """Seconds that stages took here."""

    @contextmanager
    def stage(
        self, task: str | None, method: str | None, name: str, total: int, engine: Engine | None = None
    ) -> Iterator[Callable[[int], None]]:
        """Run one stage, and add the time that models would take."""
        start, before, done = time.perf_counter(), self._kept(), self._done()
        with super().stage(task, method, name, total, engine) as tick:
            yield tick
        taken, after = time.perf_counter() - start, self._kept()
        self.spent += taken
        cost = self.costs[-1] if engine is not None else None
        self.add(
            Work(
                task=task,
                method=method,
                stage=name,
                requests=cost.requests if cost else 0,
                tokens=cost.prompt_tokens + cost.new_tokens if cost else 0,
                kept=_word(after[0] - before[0], after[1] - before[1]),
                seconds=taken,
            ),
            self._done().since(done),
        )

    def add(self, work: Work, counted: Amount | None = None) -> None:
        """Add what took time here, with what was only counted."""
        self.work.append((work, counted or Amount()))

    def _done(self) -> Amount:
        return self.rehearsal.done.copy() if self.rehearsal else Amount()

    def _kept(self) -> tuple[int, int]:
        return (self.store.found, self.store.missed) if self.store else (0, 0)


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
        clock.add(Work(task=self.task.name, stage="games", seconds=seconds))

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
    host = psutil.Process().memory_info().rss + unpacked_bytes(base.model)
    if base.device.type != "cuda":
        return host + max(passes), None
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
