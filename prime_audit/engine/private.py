"""DP-SGD for many owners at once (Abadi et al. 2016): the stacked rows give each example's own gradient for nothing.

In :class:`~prime_audit.engine.branches.LoraBranch` every row has a copy of its owner's factors. Here those copies are
leaves of the graph, so that one backward pass leaves in each the gradient of that row alone: no loop over examples,
no hooks per layer type, and no limit to what stands between the factors and the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from prime_audit.engine.base import Base
from prime_audit.engine.branches import LoraBranch
from prime_audit.engine.privacy import Guarantee, Privacy, account, require_one_example_an_item
from prime_audit.engine.recipe import Job, Recipe, steps_of
from prime_audit.engine.trainee import Trainee
from prime_audit.seeds import seed_of

_SLACK = 1e-6
"""Cutting to this much below the bound keeps the float32 product at or under it."""


def poisson_steps(public: int, count: int, recipe: Recipe, order: np.random.Generator) -> list[list[int]]:
    """Draw each step's examples: every one with probability batch / public, apart from all others; none is possible.

    ``public`` of them there might be, ``count`` there are (``Job.public``).
    """
    rate = min(1.0, recipe.batch / public)
    return [np.flatnonzero(order.random(count) < rate).tolist() for _ in range(steps_of(public, recipe))]


class PrivateTrainee(Trainee):
    """An owner whose gradient is a noisy sum of clipped per-example gradients."""

    def __init__(
        self,
        base: Base,
        job: Job,
        recipe: Recipe,
        params: list[nn.Parameter],
        seed: int,
        privacy: Privacy,
    ) -> None:
        require_one_example_an_item(job)
        super().__init__(base, job, recipe, params, seed, partial(poisson_steps, job.count))
        self.guarantee: Guarantee = account(job.count, recipe, privacy)
        self._noise = torch.Generator(base.device).manual_seed(seed_of(seed, job.owner, "privacy"))

    def settle(self) -> None:
        """Add the owner's own noise to the sum and divide by the *expected* batch: the true one is private."""
        g = self.guarantee
        for p in self.params:
            if not p.requires_grad:
                continue
            total = torch.zeros_like(p) if p.grad is None else p.grad  # a step may have drawn nobody
            noise = torch.randn(p.shape, generator=self._noise, device=p.device, dtype=p.dtype)
            p.grad = (total + g.noise * g.clip * noise) / g.batch


class PrivateBranch(LoraBranch):
    """LoraBranch whose per-row copies keep their gradients, clipped and added up when the pass is over."""

    def __init__(
        self,
        base: Base,
        owners: Sequence[int],
        trainees: Sequence[PrivateTrainee],
        lengths: Sequence[int],
        scaling: float,
        dropout: float,
    ) -> None:
        super().__init__(base, owners, trainees, lengths, scaling, dropout)
        self._private = trainees
        self._leaves: dict[int, Tensor] = {}

    def _factor(self, place: int) -> Tensor:
        trained = self._private[0].params[place].requires_grad
        leaf = super()._factor(place).detach().requires_grad_(trained)
        if trained:
            self._leaves[place] = leaf
        return leaf

    def gradients(self) -> dict[int, Tensor]:
        """Per factor (its place in ``params``), the gradient of each row alone: [rows, ...]."""
        return {place: leaf.grad for place, leaf in self._leaves.items() if leaf.grad is not None}

    def finish(self) -> None:
        """Add each row's clipped gradient to its owner's; several passes of one step add up."""
        grads = self.gradients()
        bounds = torch.tensor(
            [self._private[o].guarantee.clip for o in self._owners], device=self._rows.device
        )
        shares = clip_shares(list(grads.values()), bounds)
        for number in dict.fromkeys(self._owners):  # one at a time: an owner's NaN stays her own
            rows = (self._rows == number).nonzero()[:, 0]
            for place, grad in grads.items():
                param = self._private[number].params[place]
                own = torch.tensordot(shares[rows].to(grad.dtype), grad[rows], 1)
                param.grad = own if param.grad is None else param.grad + own


def clip_shares(grads: Sequence[Tensor], bounds: Tensor) -> Tensor:
    """By how much to scale each row so that its norm over all tensors is at most its bound: float64 [rows], ≤ 1.

    ``grads`` holds tensors [rows, ...]; ``bounds`` is [rows].
    """
    norms = torch.stack(
        [torch.linalg.vector_norm(g.flatten(1), dim=1, dtype=torch.float64) for g in grads]
    ).norm(dim=0)
    shares: Tensor = (bounds.double() * (1 - _SLACK) / norms).clamp(max=1.0)
    return shares
