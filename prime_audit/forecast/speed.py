"""How fast this machine runs this model: a few passes of each kind of work, timed once and cached."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache as once
from pathlib import Path
from statistics import median

import numpy as np
import torch

from prime_audit.cache.entry import UnwritableError
from prime_audit.community.store import Store
from prime_audit.engine.assemble import Unit, assemble
from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.base import Base
from prime_audit.engine.embed import Encoder
from prime_audit.engine.engine import Engine
from prime_audit.engine.memo import Arrays, key_of
from prime_audit.engine.mixture import Mixture, Request, Spent
from prime_audit.engine.recipe import Job, LoraShape, Recipe
from prime_audit.engine.stack import Stack
from prime_audit.engine.train import train_adapters, train_gates
from prime_audit.engine.trainee import fresh_lora
from prime_audit.forecast.rehearsal import Line

NAMES = ("a", "b", "c")
ROUNDS = 3
SMALL, LARGE = 4, 32
"""Rows of the two passes that a line is fitted to; fewer where a run's passes are smaller."""
WRITTEN = (8, 96)
"""Rows of the two generations that are timed, each of ``STEPS`` tokens more than one."""
STEPS, PASSES = 8, 3


def speeds(
    base: Base,
    encoder: Encoder,
    texts: Sequence[str],
    lora: LoraShape,
    room: int,
    cache: Path | None,
    tell: Callable[[str], object],
) -> Mapping[str, Line]:
    """Return seconds by kind of work (``rehearsal.KINDS``), from the cache where they were measured before.

    ``texts``: the run's prompts, at least one. Passes are timed at their typical length, with at most ``room`` padded
    tokens. ``tell`` is called with a line before anything is measured.
    """
    text = sorted(texts, key=len)[len(texts) // 2]
    size = len(base.codec.example(text, "gold").ids)
    cuda = base.device.type == "cuda"
    machine = platform.node(), torch.cuda.get_device_name(base.device) if cuda else platform.processor()
    key = key_of(base, "speeds", machine, repr(lora), encoder.content(), size, room)

    kept = "; they are cached for the next time" if cache else ""

    @once  # also where the cache turns out to be unwritable
    def measured() -> Arrays:
        tell(f"measuring this machine's speeds with this model, about half a minute{kept}")
        found = _Probe(base, encoder, text, lora, room).measure()
        return {kind: np.array([own.start, own.each]) for kind, own in found.items()}

    store = Store(cache / "speeds" if cache else None, Spent())
    try:
        found = store.arrays(key, measured)
    except UnwritableError:  # a plan writes nothing else, so a read-only cache is enough
        kept = ""
        found = measured()
    return {kind: Line(*own.tolist()) for kind, own in found.items()}


class _Probe:
    """Times the engine's own calls on random adapters."""

    def __init__(self, base: Base, encoder: Encoder, text: str, lora: LoraShape, room: int) -> None:
        self._base, self._encoder, self._lora, self._text = base, encoder, lora, text
        self._tokens = len(base.codec.example(text, "gold").ids)
        self._large = max(2 * SMALL, 4 * (min(LARGE, room // self._tokens) // 4))
        jobs = [self._job(name, 1) for name in NAMES]
        still = Recipe(batch=1, lr=0.0, steps=1)
        self._adapters = train_adapters(base, jobs, lora, still, seed=0, tokens=room)
        self._engine = Engine(
            base=base, bank=AdapterBank(base), batch_tokens=1 << 20, read_tokens=self._large * self._tokens
        )
        self._engine.bank.add(self._adapters)

    def measure(self) -> dict[str, Line]:
        """Measure every kind of work."""
        t = self._tokens
        read = self._line(self._read, t)
        # Training is timed with its optimizer steps, and an optimizer step is timed alone, too.
        timed = (self._line(work, share * t) for work, share in ((self._train, 1), (self._gates, 0.75)))
        train, gates = (Line(line.start / PASSES, line.each / PASSES) for line in timed)
        return {
            "read": read,
            "write": self._writing(read),
            "train": train,
            "gates": gates,
            "step": self._steps(),
            "assemble": self._line(self._assemble, t),
            "embed": self._line(
                lambda rows: self._encoder.embed([self._text] * rows), min(t, self._encoder.limit)
            ),
        }

    def _writing(self, read: Line) -> Line:
        """Time a step of decoding: a generation without reading its prompts."""
        stops, self._base.stops = self._base.stops, (-1,)  # no token ends an answer
        try:
            whole = [_seconds(lambda rows=rows: self._write(rows)) for rows in WRITTEN]  # type: ignore[misc]
        finally:
            self._base.stops = stops
        first, last = (
            (rows, max(0.0, took - read.seconds(rows * self._tokens)) / STEPS)
            for rows, took in zip(WRITTEN, whole, strict=True)
        )
        return Line.through(first, last)

    def _line(self, work: Callable[[int], object], units: float) -> Line:
        small, large = (_seconds(lambda rows=rows: work(rows)) for rows in (SMALL, self._large))  # type: ignore[misc]
        return Line.through((SMALL * units, small), (self._large * units, large))

    def _mixtures(self, rows: int) -> list[Mixture]:
        rng = np.random.default_rng(0)
        return [Mixture(NAMES, rng.uniform(-1, 1, len(NAMES))) for _ in range(rows)]

    def _read(self, rows: int) -> None:
        self._engine.score([Request(self._text, m, gold="gold") for m in self._mixtures(rows)])

    def _write(self, rows: int) -> None:
        requests = [Request(self._text, m) for m in self._mixtures(rows)]
        self._engine.generate(requests, STEPS + 1)

    def _steps(self) -> Line:
        """Time an optimizer step of one owner and of three."""
        stacks = {n: Stack([fresh_lora(self._base, self._lora, 0)] * n, 0.0) for n in (1, len(NAMES))}
        one, many = (_seconds(lambda s=s, n=n: s.step([0.0] * n)) for n, s in stacks.items())  # type: ignore[misc]
        return Line.through((1, one), (len(NAMES), many))

    def _train(self, rows: int) -> None:
        jobs = [self._job(f"{n}", rows // 4) for n in range(4)]
        still = Recipe(batch=rows // 4, lr=0.0, steps=PASSES)
        train_adapters(self._base, jobs, self._lora, still, seed=0, tokens=1 << 20)

    def _gates(self, rows: int) -> None:
        jobs = [self._job(name, rows // 4) for name in NAMES]
        still = Recipe(batch=rows // 4, lr=0.0, steps=PASSES)
        train_gates(self._base, self._engine.bank, jobs, still, seed=0, tokens=1 << 20)

    def _assemble(self, rows: int) -> None:
        gates = {n: tuple(torch.zeros(s.d_in) for s in self._base.sites) for n in NAMES}
        assemble(self._engine, [Unit("u", NAMES, ((self._text, "gold"),) * rows)], gates, 1)

    def _job(self, name: str, rows: int) -> Job:
        return Job(name, ((self._text, "gold"),) * rows)


def _seconds(work: Callable[[], object]) -> float:
    """Median of a few rounds, after one that warms up."""
    taken = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return float(median(taken[1:]))
