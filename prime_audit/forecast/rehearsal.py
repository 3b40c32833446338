"""A worker that counts passes instead of doing them.

The engine runs its own loops, so a prediction cannot drift from a run, and a third-party method is predicted too.
Results are invented: a request's gold for a text, random log-probabilities. Only their sizes matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import Any, TypeVar

import numpy as np

from prime_audit.engine.assemble import Assemble
from prime_audit.engine.embed import Embed
from prime_audit.engine.engine import Read, Write
from prime_audit.engine.mixture import Observation
from prime_audit.engine.passes import Pass, Worker
from prime_audit.engine.train import Learn, Update

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


@dataclass
class Rehearsal(Worker):
    """Counts what a run would take, and invents what its passes would return."""

    speeds: Mapping[str, Line]
    """By kind of work (``KINDS``)."""
    seconds: float = 0.0
    """Predicted so far."""
    largest: dict[str, int] = field(default_factory=dict)
    """Kind → padded tokens of its largest pass, answers' room included."""

    def do(self, work: Pass[T]) -> T:
        """Count one pass and return an invented result of the right size."""
        found: T = self._counted(work)
        return found

    def count(self, kind: str, units: int) -> None:
        """Add one pass of this size."""
        self.seconds += self.speeds[kind].seconds(units)
        self.largest[kind] = max(self.largest.get(kind, 0), units)

    def decode(self, width: int, lengths: Sequence[int], max_new: int) -> None:
        """Count one batch of generation: reading its prompts, then a step a token while rows are left."""
        self.count("read", width * len(lengths))
        self.largest["generate"] = max(self.largest.get("generate", 0), (width + max_new) * len(lengths))
        steps = np.arange(1, max(lengths, default=0))
        for rows in np.count_nonzero(np.asarray(lengths)[None] > steps[:, None], axis=1).tolist():
            self.count("write", rows)

    @singledispatchmethod
    def _counted(self, work: Any) -> Any:
        raise TypeError(f"{type(work).__name__}: no count is known for this kind of pass")

    @_counted.register
    def _(self, work: Read) -> list[Observation]:
        self.count("read", len(work.trees) * max(len(tree.ids) for tree in work.trees))
        golds = [[row.ids[len(row.ids) - row.gold :] for row in tree.rows] for tree in work.trees]
        return [made_up(own, want) for own, want in zip(golds, work.wanted, strict=True)]

    @_counted.register
    def _(self, work: Write) -> list[list[int]]:
        # The golds: a model that has learnt its task writes about as much as they hold.
        golds = [work.engine.base.codec.example(r.prompt, r.gold or "") for r in work.requests]
        rows = [list(g.ids[len(g.ids) - g.gold : -1])[: work.max_new] for g in golds]
        width = max(len(p.ids) for p in work.prompts)
        self.decode(width, [min(len(row) + 1, work.max_new) for row in rows], work.max_new)
        return rows

    @_counted.register
    def _(self, work: Assemble) -> np.ndarray:
        rows = [e for own in work.examples for e in own]
        self.count("assemble", len(rows) * max(len(e.ids) for e in rows))
        # The pool's first, in equal parts.
        weights = np.zeros((len(work.examples), len(work.engine.base.sites), len(work.pool)))
        weights[..., : work.top_k] = 1 / min(work.top_k, len(work.pool))
        return weights

    @_counted.register
    def _(self, work: Learn) -> None:
        self.count(work.kind, len(work.examples) * max(len(e.ids) for e in work.examples))

    @_counted.register
    def _(self, work: Update) -> None:
        self.count("step", work.owners)

    @_counted.register
    def _(self, work: Embed) -> np.ndarray:
        self.count("embed", work.width * len(work.rows))
        return np.stack([made_up_embedding(t, work.encoder.body.config.hidden_size) for t in work.texts])


def made_up(texts: Sequence[Sequence[int]], moments: bool) -> Observation:
    """Return log-probabilities for continuations of these gold tokens, the same for the same tokens."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(repr(texts).encode()).digest()[:8], "big"))
    logprobs = tuple(-rng.exponential(size=len(t)) for t in texts)
    both = (-np.ones(len(texts[0])), np.ones(len(texts[0]))) if moments else (None, None)
    return Observation(logprobs, *both)


def made_up_embedding(text: str, width: int) -> np.ndarray:
    """Return a vector, float64 [width], that belongs to a text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).normal(size=width)
