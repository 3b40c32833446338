"""Ways of doing the same, timed in turn in one run: medians, their ratio, and what the hardware could have done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import log
from statistics import linear_regression, median
from typing import Any

from prime_audit.engine.mixture import Spent

from .costs import Model
from .shapes import Room


@dataclass(frozen=True)
class Side:
    """One way of doing the work."""

    name: str
    run: Callable[[], Any]
    units: float = 1
    """How much of the work one call does, in the comparison's unit."""
    warm: Callable[[], Any] | None = None
    """A shorter call to warm up with, where ``run`` takes long."""


@dataclass
class SideBySide:
    """Times ours against the others, B A B A…, so that a busy minute of the machine meets both."""

    benchmark: Any
    board: list[str]
    """Lines printed when the session ends."""
    room: Room
    rounds: int
    ceiling: float
    """FLOP/s of a large matrix product, measured in this session; 0 where nothing is timed."""
    times: dict[str, list[float]] = field(default_factory=dict)
    """Seconds a unit of each side, round after round."""
    _results: dict[str, Any] = field(default_factory=dict)
    _spent: Spent = field(default_factory=Spent)
    """Tokens of the latest call, which is ours when a comparison ends."""

    def __call__(self, title: str, ours: Side, *theirs: Side, unit: str, training: bool = False) -> list[Any]:
        """Run all sides; return the last result of each, ours first, and write a line for each rival."""
        if self.room.full:
            for side in (*theirs, ours):
                (side.warm or side.run)()

        def others() -> None:
            for side in theirs:
                self._once(side)

        rounds = self.rounds if self.room.full else 1
        self.benchmark.pedantic(lambda: self._once(ours), setup=others, rounds=rounds)
        self._write(title, ours, theirs, unit)
        if self.room.full:
            flops = Model.of(self.room.plain.config).flops(self._spent, training) / ours.units
            rate = flops / median(self.times[ours.name])
            self.board.append(f"    {ours.name}: {rate:.3g} FLOP/s, {rate / self.ceiling:.1%} of the ceiling")
        return [self._results[side.name] for side in (ours, *theirs)]

    def _once(self, side: Side) -> None:
        before = replace(self.room.base.spent)
        self.room.sync()
        begin = time.perf_counter()
        self._results[side.name] = side.run()
        self.room.sync()
        self.times.setdefault(side.name, []).append((time.perf_counter() - begin) / side.units)
        self._spent = self.room.base.spent.since(before)

    def _write(self, title: str, ours: Side, theirs: Sequence[Side], unit: str) -> None:
        own = self.times[ours.name]
        self.benchmark.extra_info[f"{ours.name}: s a {unit}"] = median(own)
        for side in theirs:
            other = self.times[side.name]
            each = [b / a for a, b in zip(own, other, strict=True)]
            ratio = median(other) / median(own)
            self.benchmark.extra_info[side.name] = {f"s a {unit}": median(other), "ratio": ratio}
            self.board.append(
                f"{title}: {ours.name} {median(own):.3g} s a {unit}, {side.name} {median(other):.3g} s: "
                f"{ratio:.2f}x (rounds {min(each):.2f}-{max(each):.2f}, {len(own)} of them)"
            )


def sweep(benchmark: Any, room: Room, rounds: int, runs: Sequence[Callable[[], object]]) -> list[float]:
    """Return the median seconds of each run, all timed in turn; the last, the largest, is pytest-benchmark's."""
    times: list[list[float]] = [[] for _ in runs]

    def once(place: int) -> None:
        room.sync()
        begin = time.perf_counter()
        runs[place]()
        room.sync()
        times[place].append(time.perf_counter() - begin)

    def others() -> None:
        for place in range(len(runs) - 1):
            once(place)

    runs[0]()  # warm
    benchmark.pedantic(lambda: once(len(runs) - 1), setup=others, rounds=rounds)
    return [median(own) for own in times]


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Return the power of the size with which time grows: the slope of the logarithms."""
    return linear_regression([log(n) for n in sizes], [log(t) for t in times]).slope
