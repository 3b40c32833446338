"""A rehearsal: the engine is asked everything that a run asks, and counts the work instead of doing it.

So what a plan predicts cannot drift from what a run does, and a method of somebody else's is predicted like our own.
Answers are made up: a request's gold for a text, log-probabilities out of thin air; only their sizes matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from prime_audit.engine.mixture import Observation

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
class Rehearsal:
    """What a rehearsed run would take."""

    speeds: Mapping[str, Line]
    """By kind of work (``KINDS``)."""
    seconds: float = 0.0
    """Predicted so far."""
    largest: dict[str, int] = field(default_factory=dict)
    """Kind → padded tokens of its largest pass, answers' room included."""

    def count(self, kind: str, units: int, passes: int = 1) -> None:
        """Add work: ``passes`` passes of ``units`` each."""
        self.seconds += passes * self.speeds[kind].seconds(units)
        self.largest[kind] = max(self.largest.get(kind, 0), units)

    def decode(self, width: int, lengths: Sequence[int], max_new: int) -> None:
        """Count one batch of generation: reading its prompts, then a step a token while rows are left."""
        self.count("read", width * len(lengths))
        self.largest["generate"] = max(self.largest.get("generate", 0), (width + max_new) * len(lengths))
        steps = np.arange(1, max(lengths, default=0))
        for rows in np.count_nonzero(np.asarray(lengths)[None] > steps[:, None], axis=1).tolist():
            self.count("write", rows)


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
