"""One owner in training: examples, learning rates, and the examples of each step."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import nn

from prime_audit.engine.base import Base
from prime_audit.engine.keys import leaf_of
from prime_audit.engine.recipe import Job, LoraShape, Recipe, steps_of
from prime_audit.seeds import rng_of, seed_of

Planner = Callable[[int, Recipe, np.random.Generator], list[list[int]]]
"""(examples, recipe, the owner's generator) → the indices of each step's examples."""


def shuffled_epochs(count: int, recipe: Recipe, order: np.random.Generator) -> list[list[int]]:
    """List each step's example indices: shuffled epochs, split into batches."""
    steps = steps_of(count, recipe)
    plan: list[list[int]] = []
    while len(plan) < steps:
        shuffled = order.permutation(count).tolist()
        plan += [shuffled[i : i + recipe.batch] for i in range(0, count, recipe.batch)]
    return plan[:steps]


class Trainee:
    """One owner, as the training loop sees them; the result does not depend on the others in the group."""

    def __init__(
        self, base: Base, job: Job, recipe: Recipe, seed: int, planner: Planner = shuffled_epochs
    ) -> None:
        if not job.examples:
            raise ValueError(f"{job.owner} has no examples to train on")
        self.owner, self.items = job.owner, job.items
        self.examples = [base.codec.example(prompt, gold) for prompt, gold in job.examples]
        self.clip = recipe.clip
        self.dropout = seed_of(seed, job.owner, "dropout") % 2**64
        self.plan = planner(len(self.examples), recipe, rng_of(seed, job.owner, "order"))
        self.rates = rates(recipe, len(self.plan))
        """Learning rate of each step."""
        self.noise: torch.Generator | None = None
        """Random numbers that the owner draws step by step, where there are such."""

    def rate(self, step: int) -> float:
        """Return the rate at a step: 0 after the last."""
        return self.rates[step] if step < len(self.rates) else 0.0


@cache
def rates(recipe: Recipe, steps: int) -> tuple[float, ...]:
    """List the learning rate of each step, by transformers' scheduler."""
    from transformers import get_scheduler

    clock = torch.optim.SGD([torch.zeros(1)], recipe.lr)
    schedule = get_scheduler(recipe.schedule, clock, math.ceil(recipe.warmup * steps), steps)
    found = []
    for _ in range(steps):
        found.append(float(clock.param_groups[0]["lr"]))
        clock.step()
        schedule.step()
    return tuple(found)


def fresh_lora(base: Base, shape: LoraShape, seed: int) -> list[nn.Parameter]:
    """PEFT's initialisation: A Kaiming-uniform with a = √5, B zero. All A first, then all B."""
    noise = torch.Generator().manual_seed(seed)
    down, up = [], []
    for site in base.sites:
        trained = not shape.modules or leaf_of(site.name) in shape.modules
        a = (torch.rand(shape.rank, site.d_in, generator=noise) * 2 - 1) / math.sqrt(site.d_in)
        down.append(nn.Parameter(a.to(base.device), requires_grad=trained))
        up.append(
            nn.Parameter(torch.zeros(site.d_out, shape.rank, device=base.device), requires_grad=trained)
        )
    return down + up
