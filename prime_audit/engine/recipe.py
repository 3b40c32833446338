"""What is asked of training, as plain data without torch: the adapters' form, the recipe, each owner's examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LoraShape:
    """The adapters' form (Table 7)."""

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.05
    modules: tuple[str, ...] = ()
    """Names of the projections that are trained; the others stay without effect. Empty: all."""


@dataclass(frozen=True)
class Recipe:
    """How to train: Table 7 of the paper."""

    batch: int
    lr: float
    epochs: int = 0
    """Passes over the owner's examples; 0 where ``steps`` decides."""
    steps: int = 0
    """Optimizer steps, cycling through the examples; 0 where ``epochs`` decides."""
    clip: float = 1.0
    """Largest gradient norm of one owner."""
    weight_decay: float = 0.01
    schedule: str = "cosine"
    """``cosine`` or ``linear``, to 0."""
    warmup: float = 0.0
    """Share of the steps spent warming up."""

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
    """Id of the item that each example was made from; only private training asks for them."""
    public: int = 0
    """Number of items that private training may tell (sampling rate, steps), where it is not the examples' own: items
    left out by coin count as examples with no gradient, so that their number tells nothing of the coins."""

    @property
    def count(self) -> int:
        """The number of items that decides rate and steps."""
        return self.public or len(self.examples)


def steps_of(count: int, recipe: Recipe) -> int:
    """Count the optimizer steps of an owner with ``count`` examples."""
    return recipe.steps or recipe.epochs * math.ceil(count / recipe.batch)


def count_steps(jobs: Sequence[Job], recipe: Recipe) -> int:
    """How often ``tick`` will count: the optimizer steps of all owners together."""
    return sum(steps_of(job.count, recipe) for job in jobs)
