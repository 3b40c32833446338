"""DP-SGD for many owners at once (Abadi et al. 2016), with each example's own gradient at no extra cost.

In :class:`~prime_audit.engine.branches.LoraBranch` every row has a copy of its owner's factors. Here these copies are
leaves of the graph, so one backward pass gives the gradient of each row alone: no loop over examples, no hooks per
layer type, and any computation may come between the factors and the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from prime_audit.engine.base import Base
from prime_audit.engine.branches import LoraBranch
from prime_audit.engine.draws import Draws
from prime_audit.engine.privacy import Guarantee, Privacy, account, require_one_example_an_item
from prime_audit.engine.recipe import Job, Recipe, steps_of
from prime_audit.engine.trainee import Trainee
from prime_audit.seeds import seed_of

_SLACK = 1e-6
"""Clipping to this much below the bound keeps the float32 product at or below it."""


def poisson_steps(public: int, count: int, recipe: Recipe, order: np.random.Generator) -> list[list[int]]:
    """Draw each step's examples: each independently with probability batch / public; a step may be empty.

    ``count`` examples exist; ``public`` is their public number (``Job.public``).
    """
    rate = min(1.0, recipe.batch / public)
    return [np.flatnonzero(order.random(count) < rate).tolist() for _ in range(steps_of(public, recipe))]


class PrivateTrainee(Trainee):
    """An owner whose gradient is a noisy sum of clipped per-example gradients."""

    def __init__(self, base: Base, job: Job, recipe: Recipe, seed: int, privacy: Privacy) -> None:
        require_one_example_an_item(job)
        super().__init__(base, job, recipe, seed, partial(poisson_steps, job.count))
        self.guarantee: Guarantee = account(job.count, recipe, privacy)
        self.noise = torch.Generator(base.device).manual_seed(seed_of(seed, job.owner, "privacy"))

    @staticmethod
    def settle(group: Sequence[PrivateTrainee], grads: Sequence[Tensor], step: int) -> None:
        """Make each owner's sum of a step private."""
        for owner, trainee in enumerate(group):
            if step < len(trainee.plan):
                trainee.blur([g[owner] for g in grads])

    def blur(self, sums: Sequence[Tensor]) -> None:
        """Add the owner's own noise to the sums and divide by the *expected* batch: the true one is private."""
        g = self.guarantee
        for total in sums:
            noise = torch.randn(total.shape, generator=self.noise, device=total.device, dtype=total.dtype)
            total.add_(noise, alpha=g.noise * g.clip).div_(g.batch)


class PrivateBranch(LoraBranch):
    """LoraBranch with per-row copies as leaves: each row's gradient is clipped, then added up."""

    def __init__(
        self, params: Sequence[Tensor], rows: Tensor, scaling: float, draws: Draws | None, clip: float
    ) -> None:
        super().__init__(params, rows, scaling, draws)
        self._clip = clip
        self._copies: dict[int, Tensor] = {}

    def _factor(self, place: int) -> Tensor:
        if place in self._copies:  # a layer that the model runs twice
            return self._copies[place]
        trained = self._params[place].requires_grad
        leaf = super()._factor(place).detach().requires_grad_(trained)
        if trained:
            self._copies[place] = leaf
        return leaf

    def leaves(self) -> list[Tensor]:
        """Return the rows' copies, by place; also of layers that the model never runs."""
        return [self._factor(place) for place, p in enumerate(self._params) if p.requires_grad]

    def collect(self, grads: Sequence[Tensor | None], into: Sequence[Tensor]) -> None:
        """Add each row's clipped gradient to its owner's; several passes of one step add up."""
        found = [g for g in grads if g is not None]
        bounds = torch.full((len(self._rows),), self._clip, device=self._rows.device)
        shares = clip_shares(found, bounds)
        sums = []
        for owner in sorted(set(self._rows.tolist())):  # one at a time: an owner's NaN changes no other
            rows = (self._rows == owner).nonzero()[:, 0]
            sums += [
                (total[owner], torch.tensordot(shares[rows].to(grad.dtype), grad[rows], 1))
                for total, grad in zip(into, grads, strict=True)
                if grad is not None
            ]
        for total, own in sums:  # all or none: if memory runs out above, nothing is added twice
            total.add_(own)


def clip_shares(grads: Sequence[Tensor], bounds: Tensor) -> Tensor:
    """Factor for each row that brings its norm over all tensors to its bound or below: float64 [rows], ≤ 1.

    ``grads`` holds tensors [rows, ...]; ``bounds`` is [rows].
    """
    norms = torch.stack(
        [torch.linalg.vector_norm(g.flatten(1), dim=1, dtype=torch.float64) for g in grads]
    ).norm(dim=0)
    shares: Tensor = (bounds.double() * (1 - _SLACK) / norms).clamp(max=1.0)
    return shares
