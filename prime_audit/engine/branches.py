"""What runs beside the frozen base in training: each row through its owner's adapter, or through her gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.base import Base, Branch


class Trained(Protocol):
    """An owner in training, as the branches see her."""

    owner: str
    params: list[nn.Parameter]
    """Gates, one a site; or LoRA factors, all A and then all B."""
    dropout: torch.Generator


class TrainingBranch(Branch, Protocol):
    """A branch that may have work left when gradients are there."""

    def finish(self) -> None:
        """Do what is left when the backward pass is over."""
        ...


class LoraBranch:
    """Each row through its owner's A and B, with dropout drawn from the owner's own generator."""

    def __init__(
        self,
        base: Base,
        owners: Sequence[int],
        trainees: Sequence[Trained],
        lengths: Sequence[int],
        scaling: float,
        dropout: float,
    ) -> None:
        self._rows = torch.tensor(list(owners), device=base.device)
        self._half = len(base.sites)
        self._trainees, self._scaling, self._dropout = trainees, scaling, dropout
        self._owners, self._lengths = owners, lengths

    def select(self, rows: Tensor) -> None:
        """Refuse: rows leave in generation only."""
        raise NotImplementedError("training keeps its rows")

    def finish(self) -> None:
        """Nothing is left to do: the gradients are in the owners' parameters."""

    def __call__(self, site: int, x: Tensor) -> Tensor:
        """Return the owners' additions at a site."""
        a, b = self._factor(site), self._factor(self._half + site)
        x = x.to(a.dtype)
        if self._dropout:
            x = x * self._keep(x)
        return torch.bmm(torch.bmm(x, a.transpose(1, 2)), b.transpose(1, 2)) * self._scaling

    def _factor(self, place: int) -> Tensor:
        """One factor as each row sees it, [rows, ...]."""
        return torch.stack([t.params[place] for t in self._trainees])[self._rows]

    def _keep(self, x: Tensor) -> Tensor:
        """Inverted dropout; an owner's draws depend on her own rows only, whoever shares the batch."""
        keep = torch.ones_like(x)
        for owner in dict.fromkeys(self._owners):
            rows = [i for i, o in enumerate(self._owners) if o == owner]
            long = max(self._lengths[i] for i in rows)
            drawn = torch.empty(len(rows), long, x.shape[-1], device=x.device, dtype=x.dtype)
            drawn.bernoulli_(1 - self._dropout, generator=self._trainees[owner].dropout)
            if rows[-1] - rows[0] == len(rows) - 1:  # a slice is copied into far faster than an index
                keep[rows[0] : rows[-1] + 1, x.shape[1] - long :] = drawn
            else:
                keep[rows, x.shape[1] - long :] = drawn
        return keep.mul_(1 / (1 - self._dropout))


class GateBranch:
    """Each row through its owner's frozen adapter, whose input is x·sigmoid(x·g)."""

    def __init__(self, bank: AdapterBank, owners: Sequence[int], trainees: Sequence[Trained]) -> None:
        self._bank = bank
        self._names = [t.owner for t in trainees]
        self._rows = torch.tensor(list(owners), device=bank.base.device)
        self._trainees = trainees

    def select(self, rows: Tensor) -> None:
        """Refuse: rows leave in generation only."""
        raise NotImplementedError("training keeps its rows")

    def finish(self) -> None:
        """Nothing is left to do: the gradients are in the owners' gates."""

    def __call__(self, site: int, x: Tensor) -> Tensor:
        """Return the gated adapters' additions at a site."""
        gate = torch.stack([t.params[site] for t in self._trainees])[self._rows]
        a, b = self._bank.factors(site, self._names)
        opened = x * torch.sigmoid(torch.einsum("ntd,nd->nt", x.to(gate.dtype), gate))[..., None].to(x.dtype)
        z = torch.bmm(opened.to(a.dtype), a[self._rows].transpose(1, 2))
        return torch.bmm(z, b[self._rows].transpose(1, 2)) * self._bank.scaling
