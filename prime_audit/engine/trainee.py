"""One owner in training: her parameters, optimizer, schedule, and which examples each of her steps takes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from prime_audit.engine.base import Base
from prime_audit.engine.recipe import Job, LoraShape, Recipe, steps_of
from prime_audit.errors import UserError
from prime_audit.seeds import rng_of, seed_of

Planner = Callable[[int, Recipe, np.random.Generator], list[list[int]]]
"""(examples, recipe, the owner's generator) → the indices of each step's examples."""


def shuffled_epochs(count: int, recipe: Recipe, order: np.random.Generator) -> list[list[int]]:
    """List each step's example indices: shuffled epochs, cut into batches."""
    steps = steps_of(count, recipe)
    plan: list[list[int]] = []
    while len(plan) < steps:
        shuffled = order.permutation(count).tolist()
        plan += [shuffled[i : i + recipe.batch] for i in range(0, count, recipe.batch)]
    return plan[:steps]


class Trainee:
    """One owner: what the training loop knows of her; her result does not depend on who trains beside her."""

    def __init__(
        self,
        base: Base,
        job: Job,
        recipe: Recipe,
        params: list[nn.Parameter],
        seed: int,
        planner: Planner = shuffled_epochs,
    ) -> None:
        from transformers import get_scheduler

        if not job.examples:
            raise ValueError(f"{job.owner} has no examples to train on")
        self.owner = job.owner
        self.examples = [base.codec.example(prompt, gold) for prompt, gold in job.examples]
        self.params = params
        self.clip = recipe.clip
        self.dropout = torch.Generator(base.device).manual_seed(seed_of(seed, job.owner, "dropout"))
        self.plan = planner(len(self.examples), recipe, rng_of(seed, job.owner, "order"))
        self.optimizer = torch.optim.AdamW(
            params, recipe.lr, betas=(0.9, 0.95), weight_decay=recipe.weight_decay
        )
        warm = math.ceil(recipe.warmup * len(self.plan))
        self.schedule = get_scheduler(recipe.schedule, self.optimizer, warm, len(self.plan))

    def step(self) -> None:
        """Settle this owner's gradient, step, and move her schedule on."""
        self.settle()
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()

    def settle(self) -> None:
        """Cut the gradient of the whole batch."""
        nn.utils.clip_grad_norm_(self.params, self.clip)

    def check(self) -> None:
        """Raise UserError where training diverged: such an adapter would poison every mixture it enters."""
        if not all(bool(p.isfinite().all()) for p in self.params):
            raise UserError(
                f"training of {self.owner} diverged; give a lower rate, or --dtype float32 or bfloat16"
            )


def fresh_lora(base: Base, shape: LoraShape, seed: int) -> list[nn.Parameter]:
    """PEFT's initialisation: A Kaiming-uniform with a = √5, B zero. All A first, then all B."""
    noise = torch.Generator().manual_seed(seed)
    down, up = [], []
    for site in base.sites:
        trained = not shape.modules or site.name.rpartition(".")[2] in shape.modules
        a = (torch.rand(shape.rank, site.d_in, generator=noise) * 2 - 1) / math.sqrt(site.d_in)
        down.append(nn.Parameter(a.to(base.device), requires_grad=trained))
        up.append(
            nn.Parameter(torch.zeros(site.d_out, shape.rank, device=base.device), requires_grad=trained)
        )
    return down + up
