"""The adapter bank: all adapters of a community stacked on the device, and mixtures over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from prime_audit.engine.adapters import Adapter, merge_adapters
from prime_audit.engine.base import Base, Site
from prime_audit.engine.mixture import Mixture as Mixture
from prime_audit.engine.mixture import alone as alone


class AdapterBank:
    """Adapters of one rank and scaling, stacked per site as A [S, r, d_in] and B [S, d_out, r]."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.names: list[str] = []
        self.scaling = 1.0
        self._A: list[Tensor] = []
        self._B: list[Tensor] = []

    def add(self, adapters: Mapping[str, Adapter]) -> None:
        """Append adapters; ValueError where a name is taken or an adapter does not fit the bank."""
        shape = (self.scaling, self._A[0].shape[1]) if self._A else None
        fitting = []
        for name, adapter in adapters.items():
            shape = shape or (adapter.scaling, adapter.rank)
            fitting.append(self._fit(name, adapter, shape))
        self.scaling = shape[0] if shape else 1.0
        self.names += adapters
        device, dtype = self.base.device, self.base.dtype
        for i in range(len(self.base.sites) if fitting else 0):
            a = torch.stack([o.A[i].to(device, dtype) for o in fitting])
            b = torch.stack([o.B[i].to(device, dtype) for o in fitting])
            if len(self._A) <= i:
                self._A.append(a)
                self._B.append(b)
            else:
                self._A[i], self._B[i] = torch.cat([self._A[i], a]), torch.cat([self._B[i], b])

    def _fit(self, name: str, adapter: Adapter, shape: tuple[float, int]) -> Adapter:
        if name in self.names:
            raise ValueError(f"adapter {name!r} is in the bank already")
        if (adapter.scaling, adapter.rank) != shape:
            raise ValueError(f"adapter {name!r} has another rank or scaling than the bank's")
        return self.base.aligned(adapter)

    def factors(self, site: int, names: Sequence[str] | None = None) -> tuple[Tensor, Tensor]:
        """Return A [S, r, d_in] and B [S, d_out, r] of a site, for these adapters (all, if None)."""
        if names is None or list(names) == self.names:
            return self._A[site], self._B[site]
        rows = torch.tensor([self.names.index(n) for n in names], device=self.base.device)
        return self._A[site][rows], self._B[site][rows]

    def adapter(self, mixture: Mixture) -> Adapter:
        """Write a mixture (not the empty one) out as one adapter: see :func:`merge_adapters`."""
        sites = tuple(site.name for site in self.base.sites)
        parts = []
        for name in mixture.names:
            ab = [self.factors(i, [name]) for i in range(len(sites))]
            parts.append(
                Adapter(
                    sites, tuple(a[0].cpu() for a, _ in ab), tuple(b[0].cpu() for _, b in ab), self.scaling
                )
            )
        return merge_adapters(parts, torch.tensor(per_site(mixture, self.base.sites)), mixture.rule)


def per_site(mixture: Mixture, sites: Sequence[Site]) -> np.ndarray:
    """Spread a mixture's weights to [sites, k]."""
    weights = np.asarray(mixture.weights, dtype=np.float64)
    if weights.ndim == 1:
        return np.broadcast_to(weights, (len(sites), len(weights)))
    if len(weights) == len(sites):
        return weights
    if len(weights) != 1 + max(site.layer for site in sites):
        raise ValueError(f"weights {weights.shape} match neither {len(sites)} sites nor the decoder layers")
    return weights[[site.layer for site in sites]]


class MixtureBranch:
    """A batch whose rows carry different mixtures of one rule: two thin products and a row-wise scaling.

    z = x·A_stackᵀ; ``delta`` scales z by the row's weights; ``factor`` sums z over adapters with the weights
    and spreads the sum again by the weights.
    """

    def __init__(self, bank: AdapterBank, mixtures: Sequence[Mixture]) -> None:
        (self._rule,) = {m.rule for m in mixtures if m.names} or {"delta"}
        # Sorted: the sums' order, and so their last bit, is the same whoever shares the batch.
        names = sorted({n for m in mixtures for n in m.names})
        self._flat = [flatten_factors(*bank.factors(i, names)) for i in range(len(bank.base.sites))]
        self._rank = bank.factors(0)[0].shape[1]
        self._scaling = bank.scaling
        table = np.zeros((len(bank.base.sites), len(mixtures), len(names)))
        column = {name: j for j, name in enumerate(names)}
        for row, mixture in enumerate(mixtures):
            table[:, row, [column[n] for n in mixture.names]] = per_site(mixture, bank.base.sites)
        self._weights = torch.tensor(table, device=bank.base.device, dtype=torch.float32)

    def select(self, rows: Tensor) -> None:
        """Keep only these rows of the batch."""
        self._weights = self._weights[:, rows]

    def __call__(self, site: int, x: Tensor) -> Tensor:
        """Return the mixtures' addition at a site."""
        a, b = self._flat[site]
        w = self._weights[site]
        return mix_rows(x @ a.T, w, self._rank, self._rule) @ b.T * self._scaling


def mix_rows(z: Tensor, w: Tensor, rank: int, rule: str) -> Tensor:
    """Apply row weights w [n, S] to stacked projections z [n, t, S·r].

    w is float32 whatever z is: rounded to bfloat16, the near-equal candidates of a search would be the same.
    """
    if rule == "delta":
        return (z * w.repeat_interleave(rank, dim=-1)[:, None]).to(z.dtype)
    n, t, _ = z.shape
    h = torch.einsum("ntsr,ns->ntr", z.view(n, t, -1, rank).to(w.dtype), w)
    return (w[:, None, :, None] * h[:, :, None, :]).reshape(n, t, -1).to(z.dtype)


def flatten_factors(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Stack factors A [S, r, d_in] and B [S, d_out, r] into [S·r, d_in] and [d_out, S·r]."""
    return a.flatten(0, 1), b.permute(1, 0, 2).flatten(1)
