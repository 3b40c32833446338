"""Requests to the engine, its results and its costs, as plain data without torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from prime_audit.engine.rules import DEFAULT, RULES


@dataclass(frozen=True, eq=False)
class Mixture:
    """Merge weights over adapters of the bank; the empty mixture is the bare base."""

    names: tuple[str, ...] = ()
    """Adapters in the bank, k of them."""
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """[k] one weight per adapter, [layers, k] one per decoder layer, or [sites, k] one per LoRA module."""
    rule: str = DEFAULT
    """Name of a merge rule (``rules.RULES``)."""

    def __post_init__(self) -> None:
        if self.rule not in RULES or self.weights.shape[-1] != len(self.names):
            raise ValueError(
                f"mixture of {len(self.names)} adapters with weights {self.weights.shape}, {self.rule}"
            )


def alone(name: str) -> Mixture:
    """One adapter at full strength."""
    return Mixture((name,), np.ones(1))


BASE = Mixture()


@dataclass(frozen=True)
class Request:
    """One prompt to one personalised model."""

    prompt: str
    mixture: Mixture = BASE
    gold: str | None = None
    """The answer to score; generation ignores it, ``plan`` predicts answers of its length."""
    key: tuple[str, ...] = ()
    """Identifies the request (user, candidate, item): decides its random numbers when sampling."""


class Written(NamedTuple):
    """An answer."""

    text: str
    ended: bool
    """Whether the model stopped by itself; False: it was cut at the most tokens that an answer may have."""


@dataclass(frozen=True)
class Continuation:
    """A text whose tokens are scored after a prompt."""

    text: str
    before: str = ""
    """Text between prompt and scored text: ReCaLL's prefix."""


@dataclass(frozen=True)
class Probe:
    """Several continuations of one prompt, scored by one personalised model, which reads the prompt once."""

    prompt: str
    mixture: Mixture
    golds: tuple[Continuation, ...]
    """At least one; moments, and which tokens are the most likely, are computed for the first."""

    def __post_init__(self) -> None:
        if not self.golds:
            raise ValueError(f"probe of {self.prompt[:60]!r} has no continuation to score")


@dataclass(frozen=True, eq=False)
class Observation:
    """Result for a probe. T is a continuation's number of tokens, end-of-text included."""

    logprobs: tuple[np.ndarray, ...]
    """Per continuation, log p of each token: float64 [T], nats."""
    mu: np.ndarray | None = None
    """At each token of the first, the mean of log p over the vocabulary, Σ p·log p: float64 [T]; None: not computed."""
    sigma: np.ndarray | None = None
    """At each token of the first, √(Σ p·(log p)² − μ²): float64 [T], ≥ 0; None: not computed."""
    top: np.ndarray | None = None
    """For each token of the first, whether no token is more likely: bool [T]; None: not computed."""

    @property
    def finite(self) -> bool:
        """Whether every number is."""
        rows = [*self.logprobs, *(row for row in (self.mu, self.sigma) if row is not None)]
        return bool(np.isfinite(np.concatenate(rows)).all())


@dataclass
class Spent:
    """What a model has done so far."""

    requests: int = 0
    """Sequences that it processed."""
    prompt_tokens: int = 0
    """Tokens read, without padding; in training, at each visit of an example."""
    new_tokens: int = 0
    """Tokens generated."""

    def add(self, other: Spent) -> None:
        """Add another account."""
        self.requests += other.requests
        self.prompt_tokens += other.prompt_tokens
        self.new_tokens += other.new_tokens

    def since(self, before: Spent) -> Spent:
        """Return the difference to an earlier reading."""
        return Spent(
            self.requests - before.requests,
            self.prompt_tokens - before.prompt_tokens,
            self.new_tokens - before.new_tokens,
        )


class Cuts:
    """Digests of the texts that were longer than the context."""

    def __init__(self) -> None:
        self.texts: set[str] = set()

    @contextmanager
    def noting(self) -> Iterator[set[str]]:
        """Yield the set of texts that are cut in the body, new or not."""
        before, self.texts = self.texts, set()
        try:
            yield self.texts
        finally:
            self.texts = before | self.texts
