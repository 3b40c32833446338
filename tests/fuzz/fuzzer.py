"""A mutational fuzzer: what reaches new lines is kept and mutated on. The same seed and runs give the same tries."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .attempt import Find, Target, attempt
from .cover import Lines
from .mutate import mutate

_SHRINKS = 150


@dataclass
class Tally:
    """What came of fuzzing one reader."""

    target: str
    runs: int = 0
    refused: int = 0
    """Tries that ended in UserError."""
    lines: int = 0
    """Lines of the package that were run."""
    kept: int = 0
    """Inputs kept because they reached new ones, the seeds too."""
    seconds: float = 0.0
    slowest: float = 0.0
    finds: list[Find] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.target}: {self.runs} tries in {self.seconds:.0f} s (slowest {self.slowest:.2f} s), "
            f"{self.refused} refused, {self.lines} lines, {self.kept} inputs kept, {len(self.finds)} finds"
        )


def fuzz(target: Target, folder: Path, *, seed: int, runs: int | None = None, seconds: float = 1e9) -> Tally:
    """Try a reader with mutated inputs, so many or so long; the seeds come first, and must be read."""
    rng, lines, tally = random.Random(f"{target.name} {seed}"), Lines(), Tally(target.name)
    # What was read leads further in than what was refused; both are kept where they reached new lines.
    read, corpus = list(target.seeds), list(target.seeds)
    known, begun = set[tuple[str, str, str]](), time.perf_counter()
    for number, data in enumerate(_inputs(target, read, corpus, rng)):
        if (runs is not None and number >= runs + len(target.seeds)) or tally.seconds > seconds:
            break
        before, start = len(lines), time.perf_counter()
        with lines.watching():
            said = attempt(target, data, folder)
        if number < len(target.seeds) and said is not None:
            raise AssertionError(f"{target.name}: seed {number} is not read: {said}")
        now = time.perf_counter()
        tally.runs, tally.seconds = tally.runs + 1, now - begun
        tally.slowest = max(tally.slowest, now - start)
        tally.refused += isinstance(said, str)
        if isinstance(said, Find) and said.key not in known:
            known.add(said.key)
            tally.finds.append(shrunk(target, said, folder))
        elif len(lines) > before and number >= len(target.seeds):
            corpus.append(data)
            read += [data] if said is None else []
    tally.lines, tally.kept = len(lines), len(corpus)
    return tally


def _inputs(target: Target, read: list[bytes], corpus: list[bytes], rng: random.Random) -> Iterator[bytes]:
    yield from list(read)
    while True:
        yield mutate(rng.choice(read if rng.random() < 0.8 else corpus), rng, corpus, target.words)


def shrunk(target: Target, find: Find, folder: Path) -> Find:
    """Leave out of a find's input what is not needed for it, within bounds."""
    best, step, tries = find, max(1, len(find.data) // 2), 0
    while step and tries < _SHRINKS:
        at, smaller = 0, False
        while at < len(best.data) and tries < _SHRINKS:
            tries += 1
            said = attempt(target, best.data[:at] + best.data[at + step :], folder)
            if isinstance(said, Find) and said.key == find.key:
                best, smaller = said, True
            else:
                at += step
        step = step if smaller else step // 2
    return best
