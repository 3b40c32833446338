"""The adapter bank: all adapters of a community stacked on the device, and mixtures over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prime_audit.engine.base import Base, Branch
from prime_audit.engine.lora import Adapter
from prime_audit.engine.mixture import Mixture
from prime_audit.engine.rules import DEFAULT, RULES, merge_adapters
from prime_audit.engine.sites import Site


class AdapterBank:
    """Adapters of one rank and scaling, stacked per site as A [S, r, d_in] and B [S, d_out, r]."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.names: list[str] = []
        self.hashes: dict[str, str] = {}
        """Adapter → hash of its factors before conversion to the bank's number format, and its scaling."""
        self.made_of: dict[str, tuple[str, ...]] = {}
        """Adapter that was made from others, not trained → those others."""
        self.scaling = 1.0
        self._A: list[Tensor] = []
        self._B: list[Tensor] = []
        self._last: tuple[tuple[str, ...], Stacked] | None = None

    @property
    def rank(self) -> int:
        """Rank r of every adapter; IndexError while there is none."""
        return int(self._A[0].shape[1])

    def add(
        self, adapters: Mapping[str, Adapter], made_of: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Append adapters; ValueError where a name is taken or an adapter does not fit the bank.

        ``made_of``: adapter → the adapters that it was made from.
        """
        shape = (self.scaling, self.rank) if self._A else None
        fitting = []
        for name, adapter in adapters.items():
            shape = shape or (adapter.scaling, adapter.rank)
            fitting.append(self._fit(name, adapter, shape))
        self.scaling = shape[0] if shape else 1.0
        self.names += adapters
        self.made_of |= {name: tuple(others) for name, others in (made_of or {}).items()}
        for name, adapter in zip(adapters, fitting, strict=True):
            self.hashes[name] = adapter.content
        self._last = None
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

    def stacked(self, names: tuple[str, ...]) -> Stacked:
        """Return these adapters' factors stacked for a mixture's products; the last result is remembered."""
        if self._last is None or self._last[0] != names:
            self._last = (
                names,
                Stacked.of([self.factors(i, names) for i in range(len(self.base.sites))], self.base),
            )
        return self._last[1]

    def adapter(self, mixture: Mixture) -> Adapter:
        """Write a mixture (not the empty one) as one adapter: see :func:`merge_adapters`."""
        weights = torch.tensor(per_site(mixture, self.base.sites))
        return merge_adapters([self.one(name) for name in mixture.names], weights, mixture.rule)

    def one(self, name: str) -> Adapter:
        """Return an adapter of the bank, in the bank's number format."""
        sites = tuple(site.name for site in self.base.sites)
        ab = [self.factors(i, [name]) for i in range(len(sites))]
        return Adapter(
            sites, tuple(a[0].cpu() for a, _ in ab), tuple(b[0].cpu() for _, b in ab), self.scaling
        )

    def renamed(self, names: Mapping[str, str]) -> AdapterBank:
        """Return a bank of its own that holds, under each of these names, the adapter of the name behind it."""
        bank = AdapterBank(self.base)
        bank.add({name: self.one(own) for name, own in names.items()})
        return bank


@dataclass(frozen=True, eq=False)
class Stacked:
    """Some adapters' factors, side by side."""

    down: Mapping[int, Tensor]
    """First of the sites that read the same input → their A, stacked: [sites · S · r, d_in]."""
    place: Sequence[tuple[int, int]]
    """Per site, the first site that reads the same input, and where its own rows start."""
    up: Sequence[Tensor]
    """Per site, B: [d_out, S · r]."""

    @classmethod
    def of(cls, factors: Sequence[tuple[Tensor, Tensor]], base: Base) -> Stacked:
        """Stack factors A [S, r, d_in] and B [S, d_out, r] of every site."""
        flat = [flatten_factors(a, b) for a, b in factors]
        groups: dict[tuple[object, ...], list[int]] = {}
        for i, site in enumerate(base.sites):
            parent, _, kind = site.name.rpartition(".")
            groups.setdefault((parent, kind in _TOGETHER or kind), []).append(i)
        down, place = {}, {}
        for sites in groups.values():
            down[sites[0]] = torch.cat([flat[i][0] for i in sites])
            start = 0
            for i in sites:
                place[i] = (sites[0], start)
                start += len(flat[i][0])
        return cls(down, [place[i] for i in range(len(flat))], [b for _, b in flat])


_TOGETHER = ("q_proj", "k_proj", "v_proj")
"""Projections of one attention that read the same input."""


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


class MixtureBranch(Branch):
    """A batch whose rows carry different mixtures of one rule: two thin products and a row-wise scaling.

    The rule turns z = x·A_stackᵀ and the row's weights into what B_stack takes. Projections that read the same x
    (q, k, v) share the first product.
    """

    def __init__(self, bank: AdapterBank, mixtures: Sequence[Mixture]) -> None:
        (rule,) = {m.rule for m in mixtures if m.names} or {DEFAULT}
        self._rule = RULES[rule]
        # Sorted: the order of the sums, and so the last bit, does not depend on the rest of the batch.
        names = tuple(sorted({n for m in mixtures for n in m.names}))
        self._stacked = bank.stacked(names)
        self._rank = bank.rank
        sites = bank.base.sites
        table = np.zeros((len(sites), len(mixtures), len(names)))
        column = {name: j for j, name in enumerate(names)}
        for row, mixture in enumerate(mixtures):
            table[:, row, [column[n] for n in mixture.names]] = per_site(mixture, sites)
        weights = torch.tensor(table, device=bank.base.device)
        self._weights = self._rule.weights(weights, bank.scaling, self._rank)
        self._read: tuple[int, Tensor, Tensor] | None = None

    def select(self, rows: Tensor) -> None:
        """Keep only these rows of the batch."""
        self._weights = self._weights[:, rows]
        self._read = None

    def __call__(self, site: int, x: Tensor) -> Tensor:
        """Return the mixtures' addition at a site."""
        return self._mixed(site, x) @ self._stacked.up[site].T

    def onto(self, site: int, x: Tensor, output: Tensor) -> Tensor:
        """Add the mixtures' addition to a site's own output, in place."""
        flat = output.view(-1, output.shape[-1])
        flat.addmm_(self._mixed(site, x).flatten(0, 1), self._stacked.up[site].T)
        return output

    def _mixed(self, site: int, x: Tensor) -> Tensor:
        return self._rule.mix(self._down(site, x), self._weights[site], self._rank)

    def _down(self, site: int, x: Tensor) -> Tensor:
        first, start = self._stacked.place[site]
        if self._read is None or self._read[0] != first or self._read[1] is not x:
            self._read = (first, x, x @ self._stacked.down[first].T)
        width = self._stacked.up[site].shape[1]
        return self._read[2][..., start : start + width]


def flatten_factors(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Stack factors A [S, r, d_in] and B [S, d_out, r] into [S·r, d_in] and [d_out, S·r]."""
    return a.flatten(0, 1), b.permute(1, 0, 2).flatten(1)
