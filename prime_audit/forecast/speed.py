"""How fast this machine runs this model: a few passes of each kind of work, timed in a box of seconds and cached."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np
import torch

from prime_audit.cache.entry import Entry, UnwritableError
from prime_audit.community.store import Store
from prime_audit.engine.assemble import Unit, assemble
from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.base import Base
from prime_audit.engine.embed import Encoder
from prime_audit.engine.engine import Engine
from prime_audit.engine.memo import Arrays, key_of
from prime_audit.engine.mixture import Mixture, Request, Spent
from prime_audit.engine.passes import Pass, Worker
from prime_audit.engine.recipe import Job, LoraShape, Recipe
from prime_audit.engine.stack import Stack
from prime_audit.engine.train import Learn, train_adapters, train_gates
from prime_audit.engine.trainee import fresh_lora
from prime_audit.forecast.rehearsal import Line
from prime_audit.io.cores import Others

T = TypeVar("T")
BOX = {"read": 4.0, "write": 6.0, "train": 6.0, "gates": 5.0, "step": 1.0, "assemble": 3.0, "embed": 1.0}
"""Seconds for each kind of work; one pass of the fewest rows is done whatever it takes."""
NAMES = ("a", "b", "c")
ROUNDS = 3
"""The most timings of a size, where the box has room for as many."""
LARGE, WRITTEN = 32, 96
"""Rows of the largest pass, and of the largest generation; fewer where a run's are smaller, or the model is slow."""
STEPS = 8
"""Tokens of a generation, beside its first."""
SLACK = 0.5
"""Cores that others may use beside those that a measurement needs."""


def speeds(
    probe: Probe,
    kinds: Collection[str],
    cache: Path | None,
    tell: Callable[[str], object],
    again: bool = False,
) -> Mapping[str, Line]:
    """Return seconds by kind of work (``rehearsal.KINDS``), from the cache where they were measured before.

    What is measured while other processes need the same cores is not stored: the next call measures again.
    ``again``: what is stored is measured anew. ``tell`` is called with a line before anything is measured.
    """
    # A generation reads its prompts first.
    keys = {kind: probe.key(kind) for kind in BOX if kind in kinds or (kind == "read" and "write" in kinds)}
    root = cache / "speeds" if cache else None
    store = Store(root, Spent())
    missing = [kind for kind, key in keys.items() if again or root is None or not Entry(root, key).there()]
    if missing:
        tell(f"measuring this machine's speeds, in about {sum(BOX[kind] for kind in missing):.0f} s")
    for kind in keys.keys() - set(missing):  # computed where it turns out to be damaged
        probe.lines[kind] = _unpacked(store.arrays(keys[kind], lambda kind=kind: _packed(probe.line(kind))))  # type: ignore[misc]
    meanwhile = Others()
    for kind in missing:
        probe.line(kind)
    others, cores = meanwhile.cores(), os.cpu_count() or 1
    crowded = others + torch.get_num_threads() > cores + SLACK
    if missing and crowded:
        tell(
            f"other processes used {others:.1f} of {cores} cores meanwhile: these are speeds of a busy machine; "
            "the next plan measures again"
        )
    elif root is not None:
        with suppress(UnwritableError):  # a plan writes nothing else, so a read-only cache is enough
            for kind in missing:
                Entry(root, keys[kind]).remove()
                store.arrays(keys[kind], lambda kind=kind: _packed(probe.line(kind)))  # type: ignore[misc]
    return probe.lines


def _packed(line: Line) -> Arrays:
    return {"line": np.array([line.start, line.each])}


def _unpacked(found: Arrays) -> Line:
    return Line(*found["line"].tolist())


class _Stopwatch(Worker):
    """Times the passes that a run would do; all else was rehearsed for real."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def do(self, one: Pass[T]) -> T:
        """Do one pass. Optimizer steps are timed alone."""
        start = time.perf_counter()
        found = super().do(one)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if not (isinstance(one, Learn) and one.kind == "step"):
            self.seconds += time.perf_counter() - start
        return found


class Probe:
    """Times the engine's own calls on random adapters."""

    def __init__(
        self, base: Base, encoder: Encoder, texts: Sequence[tuple[str, str]], lora: LoraShape, room: int
    ) -> None:
        """``texts``: prompts and golds of the run, at least one pair; passes have their typical length.

        ``room``: the most padded tokens of a pass.
        """
        self._base, self._encoder, self._lora, self._room = base, encoder, lora, room
        self._text, self._gold = sorted(texts, key=lambda pair: sum(map(len, pair)))[len(texts) // 2]
        self._tokens = len(base.codec.example(self._text, self._gold).ids)
        self._large = max(2, min(LARGE, room // self._tokens))
        self.lines: dict[str, Line] = {}
        """What is known so far."""

    def key(self, kind: str) -> str:
        """Hash all that decides a speed: machine, model, adapters, sizes."""
        base = self._base
        cuda = base.device.type == "cuda"
        machine = platform.node(), torch.cuda.get_device_name(base.device) if cuda else platform.processor()
        asked = (kind, machine, repr(self._lora), self._encoder.content(), self._tokens, self._room)
        return key_of(base, "speeds", *asked)

    def line(self, kind: str) -> Line:
        """Measure a kind of work, once; ``write`` needs ``read``."""
        if kind not in self.lines:
            self._base.worker = self._encoder.worker = self._watch
            self.lines[kind] = self._measured(kind)
        return self.lines[kind]

    def _measured(self, kind: str) -> Line:
        t = self._tokens
        match kind:
            case "write":
                return self._writing()
            case "step":
                return self._steps()
            case "embed":
                each = min(t, self._encoder.limit)
                return self._line(kind, lambda rows: self._encoder.embed([self._text] * rows), each)
            case "gates":  # of three owners
                return self._line(kind, self._gates, t)
            case "train":
                return self._line(kind, self._train, t)
            case "assemble":
                return self._line(kind, self._assemble, t)
        return self._line(kind, self._read, t)

    @cached_property
    def _watch(self) -> _Stopwatch:
        return _Stopwatch()

    @cached_property
    def _engine(self) -> Engine:
        jobs = [self._job(name, 1) for name in NAMES]
        still = Recipe(batch=1, lr=0.0, steps=1)
        adapters = train_adapters(self._base, jobs, self._lora, still, seed=0, tokens=self._room)
        engine = Engine(
            base=self._base,
            bank=AdapterBank(self._base),
            batch_tokens=1 << 20,
            read_tokens=self._large * self._tokens,
        )
        engine.bank.add(adapters)
        return engine

    def _line(self, kind: str, work: Callable[[int], object], units: float) -> Line:
        """Time passes of ``units`` padded tokens a row."""
        small, large = self._timed(work, BOX[kind], self._large)
        return Line.through((small[0] * units, small[1]), (large[0] * units, large[1]))

    def _timed(
        self, work: Callable[[int], object], box: float, many: int
    ) -> tuple[tuple[int, float], tuple[int, float]]:
        """Time ``work`` on twice as many rows each time, up to ``many`` or as many as the box has room for.

        Returns (rows, median seconds) of a quarter of the most rows, and of these.
        """
        begun = time.perf_counter()

        def left() -> float:
            return box - (time.perf_counter() - begun)

        self._seconds(work, 1)  # warms up
        taken = {rows: [self._seconds(work, rows)] for rows in (1, 2)}
        while (most := max(taken)) < many and left() > 2 * taken[most][0]:
            rows = min(2 * most, many)
            taken[rows] = [self._seconds(work, rows)]
        few = max([rows for rows in taken if 4 * rows <= most], default=1)
        while len(taken[most]) < ROUNDS and left() > taken[few][0] + taken[most][0]:
            for rows in (few, most):
                taken[rows].append(self._seconds(work, rows))
        return (few, median(taken[few])), (most, median(taken[most]))

    def _seconds(self, work: Callable[[int], object], rows: int) -> float:
        before = self._watch.seconds
        work(rows)
        return self._watch.seconds - before

    def _writing(self) -> Line:
        """Time a step of decoding: a generation without reading its prompts."""
        stops, self._base.stops = self._base.stops, (-1,)  # no token ends an answer
        try:
            found = self._timed(self._write, BOX["write"], WRITTEN)
        finally:
            self._base.stops = stops
        read = self.line("read")
        first, last = (
            (rows, max(0.0, took - read.seconds(rows * self._tokens)) / STEPS) for rows, took in found
        )
        return Line.through(first, last)

    def _mixtures(self, rows: int) -> list[Mixture]:
        rng = np.random.default_rng(0)
        return [Mixture(NAMES, rng.uniform(-1, 1, len(NAMES))) for _ in range(rows)]

    def _read(self, rows: int) -> None:
        self._engine.score([Request(self._text, m, gold=self._gold) for m in self._mixtures(rows)])

    def _write(self, rows: int) -> None:
        requests = [Request(self._text, m) for m in self._mixtures(rows)]
        self._engine.generate(requests, STEPS + 1)

    def _steps(self) -> Line:
        """Time an optimizer step of one owner and of three."""
        points = []
        for n in (1, len(NAMES)):
            stack = Stack([fresh_lora(self._base, self._lora, 0)] * n, 0.0)
            taken = []
            for _ in range(ROUNDS + 1):  # the first makes its moments
                start = time.perf_counter()
                stack.step([0.0] * n)
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                taken.append(time.perf_counter() - start)
            points.append((n, median(taken[1:])))
        return Line.through(*points)

    def _train(self, rows: int) -> None:
        train_adapters(self._base, self._jobs(rows), self._lora, self._still(rows), seed=0, tokens=1 << 20)

    def _gates(self, rows: int) -> None:
        bank = self._engine.bank
        train_gates(self._base, bank, self._jobs(rows), self._still(rows), seed=0, tokens=1 << 20)

    def _jobs(self, rows: int) -> list[Job]:
        """Split rows among owners, in parts as equal as they can be; each has one step."""
        return [self._job(name, len(range(n, rows, len(NAMES)))) for n, name in enumerate(NAMES[:rows])]

    def _still(self, rows: int) -> Recipe:
        return Recipe(batch=rows, lr=0.0, steps=1)

    def _assemble(self, rows: int) -> None:
        gates = {n: tuple(torch.zeros(s.d_in) for s in self._base.sites) for n in NAMES}
        assemble(self._engine, [Unit("u", NAMES, ((self._text, self._gold),) * rows)], gates, 1)

    def _job(self, name: str, rows: int) -> Job:
        return Job(name, ((self._text, self._gold),) * rows)
