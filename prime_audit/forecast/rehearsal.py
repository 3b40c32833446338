"""A worker that counts passes instead of doing them.

The engine runs its own loops, so a prediction cannot drift from a run, and a third-party method is predicted too.
Results are invented: a request's gold for a text, or the gold of another, and random log-probabilities. Their sizes
matter, and that searches end at different mixtures.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import Any, TypeVar

import numpy as np

from prime_audit.engine.assemble import Assemble
from prime_audit.engine.embed import Embed
from prime_audit.engine.engine import Read, Write
from prime_audit.engine.gradients import Differentiate
from prime_audit.engine.mixture import Observation
from prime_audit.engine.passes import Pass, Worker
from prime_audit.engine.train import Learn

T = TypeVar("T")

KINDS = ("read", "write", "train", "gates", "step", "assemble", "embed")
"""Work that is timed, in padded tokens a pass; ``write`` in rows of a step of decoding, ``step`` in owners."""


@dataclass(frozen=True)
class Line:
    """Seconds of one pass: ``start + each · units``."""

    start: float
    """Seconds."""
    each: float
    """Seconds a unit."""

    def seconds(self, units: float) -> float:
        """Say how long one pass takes."""
        return self.start + self.each * units

    @classmethod
    def through(cls, small: tuple[float, float], large: tuple[float, float]) -> Line:
        """Fit (units, seconds) of two passes; neither part is below 0."""
        each = max(0.0, (large[1] - small[1]) / (large[0] - small[0]))
        return cls(max(0.0, small[1] - each * small[0]), each)


@dataclass(frozen=True)
class Amount:
    """Passes and their units, by kind of work (``KINDS``)."""

    passes: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)

    def copy(self) -> Amount:
        """Return what is counted so far."""
        return Amount(self.passes.copy(), self.units.copy())

    def since(self, before: Amount) -> Amount:
        """Return what came after ``before``."""
        return Amount(self.passes - before.passes, self.units - before.units)

    def seconds(self, speeds: Mapping[str, Line]) -> float:
        """Say how long it takes."""
        return sum(
            speeds[kind].start * n + speeds[kind].each * self.units[kind] for kind, n in self.passes.items()
        )


@dataclass
class Rehearsal(Worker):
    """Counts what a run would take, and invents what its passes would return."""

    done: Amount = field(default_factory=Amount)
    """Counted so far."""
    largest: dict[str, int] = field(default_factory=dict)
    """Kind → padded tokens of its largest pass, answers' room included."""

    def do(self, one: Pass[T]) -> T:
        """Count one pass and return an invented result of the right size."""
        found: T = self._counted(one)
        return found

    def count(self, kind: str, units: int) -> None:
        """Add one pass of this size."""
        self.done.passes[kind] += 1
        self.done.units[kind] += units
        self.largest[kind] = max(self.largest.get(kind, 0), units)

    def decode(self, width: int, lengths: Sequence[int], max_new: int) -> None:
        """Count one batch of generation: reading its prompts, then a step a token while rows are left."""
        self.count("read", width * len(lengths))
        self.largest["generate"] = max(self.largest.get("generate", 0), (width + max_new) * len(lengths))
        steps = np.arange(1, max(lengths, default=0))
        for rows in np.count_nonzero(np.asarray(lengths)[None] > steps[:, None], axis=1).tolist():
            self.count("write", rows)

    @singledispatchmethod
    def _counted(self, one: Any) -> Any:
        raise TypeError(f"{type(one).__name__}: no count is known for this kind of pass")

    @_counted.register
    def _(self, one: Read) -> list[Observation]:
        self.count("read", len(one.trees) * max(len(tree.ids) for tree in one.trees))
        golds = [[row.ids[len(row.ids) - row.gold :] for row in tree.rows] for tree in one.trees]
        return [made_up(own, want) for own, want in zip(golds, one.wanted, strict=True)]

    @_counted.register
    def _(self, one: Write) -> list[list[int]]:
        # The golds: a model that has learnt its task writes about as much as they hold.
        golds = [one.codec.example(r.prompt, r.gold or "") for r in one.requests]
        rows = [list(g.ids[len(g.ids) - g.gold : -1])[: one.max_new] for g in golds]
        luck = np.random.default_rng(self.done.passes["write"])
        rows = [rows[n if luck.random() < 0.5 else int(luck.integers(len(rows)))] for n in range(len(rows))]
        width = max(len(p.ids) for p in one.prompts)
        self.decode(width, [min(len(row) + 1, one.max_new) for row in rows], one.max_new)
        return rows

    @_counted.register
    def _(self, one: Assemble) -> np.ndarray:
        lengths = [len(e.ids) for own in one.examples for e in own]
        self.count("assemble", len(lengths) * max(lengths))
        # The pool's first, in equal parts.
        weights = np.zeros((len(one.examples), one.sites, one.pool))
        weights[..., : one.top_k] = 1 / min(one.top_k, one.pool)
        return weights

    @_counted.register
    def _(self, one: Learn) -> None:
        self.count(one.kind, one.units)

    @_counted.register
    def _(self, one: Differentiate) -> np.ndarray:
        self.count("train", one.units)
        return np.ones((one.rows, one.sites))

    @_counted.register
    def _(self, one: Embed) -> np.ndarray:
        self.count("embed", one.tokens)
        rngs = [np.random.default_rng(_seed(text)) for text in one.texts]
        return np.stack([rng.normal(size=one.hidden) for rng in rngs])


def made_up(texts: Sequence[Sequence[int]], moments: bool) -> Observation:
    """Return log-probabilities for continuations of these gold tokens, the same for the same tokens."""
    rng = np.random.default_rng(_seed(repr(texts)))
    logprobs = tuple(-rng.exponential(size=len(t)) for t in texts)
    ones = np.ones(len(texts[0]))
    return Observation(logprobs, *((-ones, ones, logprobs[0] > -1) if moments else ()))


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
