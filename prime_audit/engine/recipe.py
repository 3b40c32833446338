"""The plan of a training, as plain data without torch: adapters' shape, recipe, each owner's examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LoraShape:
    """The adapters' shape (Table 7)."""

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.05
    modules: tuple[str, ...] = ()
    """Names of the projections to train; the others have no effect. Empty: all."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: Table 7 of the paper."""

    batch: int
    lr: float
    epochs: int = 0
    """Passes over the owner's examples; 0 where ``steps`` is given."""
    steps: int = 0
    """Optimizer steps, cycling through the examples; 0 where ``epochs`` is given."""
    clip: float = 1.0
    """Largest gradient norm of one owner."""
    weight_decay: float = 0.01
    schedule: str = "cosine"
    """``cosine`` or ``linear``, to 0."""
    warmup: float = 0.0
    """Share of the steps for warm-up."""

    def __post_init__(self) -> None:
        if self.batch < 1 or (self.epochs > 0) == (self.steps > 0):
            raise ValueError(f"{self}: needs a batch, and either epochs or steps")


@dataclass(frozen=True)
class Job:
    """One owner's training set."""

    owner: str
    examples: tuple[tuple[str, str], ...]
    """(prompt, gold) pairs."""
    items: tuple[str, ...] = ()
    """Id of the item that each example was made from; needed for private training only."""
    public: int = 0
    """Number of items that private training may reveal (by sampling rate and steps), if not the number of examples.
    Items left out by coin count as examples without gradient, so that the number reveals no coin."""

    @property
    def count(self) -> int:
        """The number of items that decides rate and steps."""
        return self.public or len(self.examples)


def steps_of(count: int, recipe: Recipe) -> int:
    """Count the optimizer steps of an owner with ``count`` examples."""
    return recipe.steps or recipe.epochs * math.ceil(count / recipe.batch)


def count_steps(jobs: Sequence[Job], recipe: Recipe) -> int:
    """Count the optimizer steps of all owners: what ``tick`` will count."""
    return sum(steps_of(job.count, recipe) for job in jobs)
