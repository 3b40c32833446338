"""Training beside the frozen base: each row passes through its owner's adapter, or its owner's gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding

from prime_audit.engine.bank import AdapterBank, MixtureBranch
from prime_audit.engine.base import Branch
from prime_audit.engine.draws import Draws
from prime_audit.engine.mixture import Mixture


class TrainingBranch(Branch):
    """Each row uses its owner's slice of stacked parameters, [owners, ...] each."""

    def __init__(self, params: Sequence[Tensor], rows: Tensor) -> None:
        self._params, self._rows = params, rows

    def leaves(self) -> list[Tensor]:
        """Return what to differentiate the loss by after the forward pass: the trained stacks."""
        return [p for p in self._params if p.requires_grad]

    def collect(self, grads: Sequence[Tensor | None], into: Sequence[Tensor]) -> None:
        """Add the leaves' gradients to the owners', [owners, ...] each; None where no row used a stack."""
        for total, grad in zip(into, grads, strict=True):
            if grad is not None:
                total.add_(grad)

    def _factor(self, place: int) -> Tensor:
        """Return one parameter for each row, [rows, ...].

        As an embedding: the gradient of an index adds up in any order where threads share the work.
        """
        param = self._params[place]
        return embedding(self._rows, param.flatten(1)).view(-1, *param.shape[1:])


@dataclass(frozen=True)
class Frozen:
    """What owners' adapters are trained on top of."""

    bank: AdapterBank
    mixtures: Mapping[str, Mixture]
    """Owner → mixture over the bank, all of one rule."""

    def branch(self, owners: Sequence[str]) -> MixtureBranch:
        """Return the branch for rows of these owners."""
        return MixtureBranch(self.bank, [self.mixtures[owner] for owner in owners])


class LoraBranch(TrainingBranch):
    """Each row passes through its owner's A and B; ``params``: all A, then all B.

    ``below``: what runs beside the base already, and is not trained.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        rows: Tensor,
        scaling: float,
        draws: Draws | None,
        below: Branch | None = None,
    ) -> None:
        super().__init__(params, rows)
        self._below = below
        self._half = len(params) // 2
        self._draws = draws
        self._scaling = scaling / (draws.kept if draws else 1.0)

    def __call__(self, site: int, x: Tensor) -> Tensor:
        """Return the owners' additions at a site."""
        own = torch.bmm(*self._thin(site, x))
        return own if self._below is None else own + self._below(site, x)

    def onto(self, site: int, x: Tensor, output: Tensor) -> Tensor:
        """Return a site's output with the owners' additions."""
        narrow, up = self._thin(site, x)
        if self._below is not None:
            output = output + self._below(site, x)
        if output.dtype != up.dtype:
            return output + torch.bmm(narrow, up).to(output.dtype)
        return torch.baddbmm(output, narrow, up)

    def _thin(self, site: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows' inputs times A, [rows, tokens, r], and the factor for them, [rows, r, d_out]."""
        a, b = self._factor(site), self._factor(self._half + site)
        x = x.to(a.dtype)
        if self._draws is not None:
            # Not masked_fill, which copies first.
            x = torch.where(self._draws.dropped(x), x.new_zeros(()), x)
        return torch.bmm(x, a.transpose(1, 2)), b.transpose(1, 2) * self._scaling


class GateBranch(TrainingBranch):
    """Each row passes through its owner's frozen adapter with input x·sigmoid(x·g); ``params``: one g per site."""

    def __init__(
        self, bank: AdapterBank, names: Sequence[str], params: Sequence[Tensor], rows: Tensor
    ) -> None:
        super().__init__(params, rows)
        self._bank, self._names = bank, names

    def __call__(self, site: int, x: Tensor) -> Tensor:
        """Return the gated adapters' additions at a site."""
        gate = self._factor(site)
        a, b = self._bank.factors(site, self._names)
        opened = torch.sigmoid(torch.bmm(x.to(gate.dtype), gate[..., None]))
        # The gate scales a token's whole input, so scaling the r projected numbers instead is the same and cheaper.
        z = torch.bmm(x.to(a.dtype), a[self._rows].transpose(1, 2)) * opened.to(a.dtype)
        return torch.bmm(z, b[self._rows].transpose(1, 2) * self._bank.scaling)
