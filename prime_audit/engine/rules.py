"""Merge rules: how adapters and weights become one update, in a batch and as one adapter.

A rule is one object. To add one, subclass :class:`Rule` and list it in ``RULES``: the command line, the methods'
parameters and model cards read that table. Importing this module does not import torch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prime_audit.engine.lora import Adapter
from prime_audit.errors import UserError, unknown

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def low_rank(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return A [rank, d_in] and B [d_out, rank] (zeros beyond the full rank) with the product nearest to a matrix."""
    import torch

    if matrix.shape[0] > matrix.shape[1]:
        b, a = low_rank(matrix.T, rank)
        return a.T, b.T
    # The leading left singular vectors, from the smaller Gram matrix; squared singular values want float64.
    vectors = torch.linalg.eigh(matrix.double() @ matrix.double().T).eigenvectors[:, -rank:]
    vectors = torch.nn.functional.pad(vectors.to(matrix.dtype), (0, rank - vectors.shape[1]))
    return vectors.T @ matrix, vectors


@dataclass(frozen=True)
class Space:
    """Which matrices of an adapter are vectors of their own, to be trimmed and united."""

    name: str
    split: Callable[[Tensor, Tensor], dict[str, Tensor]]
    """A [k, r, d_in] and B [k, d_out, r] of a site → its matrices [k, …], by what their names add to the site's."""
    join: Callable[[dict[str, Tensor], int], tuple[Tensor, Tensor]]
    """The united matrices, and the rank to leave → A and B."""
    widens: bool = False
    """Whether a united update has more than the adapters' own rank."""


DELTA = Space("delta", lambda a, b: {"": b @ a}, lambda made, rank: low_rank(made[""], rank), widens=True)
"""The update ΔW, put back to low rank."""
FACTOR = Space("factor", lambda a, b: {" A": a, " B": b}, lambda made, _: (made[" A"], made[" B"]))
"""A and B each."""


class Rule(ABC):
    """One way to merge k adapters with weights w."""

    name: str
    """As in ``Mixture.rule``, ``merge=NAME`` and ``--rule NAME``."""
    summary: str
    """The rule in words and as a formula."""
    source: str
    space: Space
    """Which vectors of an adapter it sums: trimming keeps entries of those."""

    @abstractmethod
    def weights(self, table: Tensor, scaling: float, rank: int) -> Tensor:
        """Turn a table [..., S] (float64) and the bank's scaling into the weights that :meth:`mix` takes, float32."""

    @abstractmethod
    def mix(self, z: Tensor, w: Tensor, rank: int) -> Tensor:
        """Apply row weights w to stacked projections z = x·Aᵀ [n, t, S·r]; the result meets the stacked B.

        w is float32 whatever z is: rounded to bfloat16, the near-equal candidates of a search would be the same.
        """

    @abstractmethod
    def merge(self, adapters: Sequence[Adapter], table: Tensor) -> Adapter:
        """Write the mixture out as one adapter; ``table``: float64 [sites, k]."""


class Delta(Rule):
    """Eq. 2: exact and linear in w. Written out by concatenation, so the rank is Σ r."""

    name = "delta"
    summary = "sum of updates, ΔW = Σ w B A"
    source = "Eq. 2"
    space = DELTA

    def weights(self, table: Tensor, scaling: float, rank: int) -> Tensor:
        """Return one weight per column of z, [..., S·r]."""
        return (table * scaling).float().repeat_interleave(rank, -1)

    def mix(self, z: Tensor, w: Tensor, rank: int) -> Tensor:
        """Scale the columns of z; w is [n, S·r]."""
        return (z * w[:, None]).to(z.dtype)

    def merge(self, adapters: Sequence[Adapter], table: Tensor) -> Adapter:
        """Concatenate the factors, with weight and scaling in B."""
        import torch

        a = tuple(torch.cat([_weigh(o.A[i]) for o in adapters]) for i in range(len(table)))
        b = tuple(
            torch.cat([_weigh(o.B[i], w * o.scaling) for w, o in zip(row, adapters, strict=True)], dim=1)
            for i, row in enumerate(table)
        )
        return Adapter(adapters[0].sites, a, b, 1.0)


class Factor(Rule):
    """The released code's rule: not linear in w. The rank stays r."""

    name = "factor"
    summary = "sum of factors, ΔW = (Σ w B)(Σ w A)"
    source = "the paper's released code"
    space = FACTOR

    def weights(self, table: Tensor, scaling: float, rank: int) -> Tensor:
        """Return one weight per adapter, [..., S]; it applies twice, so the scaling enters by its root."""
        return (table * math.sqrt(scaling)).float()

    def mix(self, z: Tensor, w: Tensor, rank: int) -> Tensor:
        """Sum z over adapters with the weights, and spread the sum by the weights; w is [n, S]."""
        import torch

        n, t, _ = z.shape
        h = torch.einsum("ntsr,ns->ntr", z.reshape(n, t, -1, rank).to(w.dtype), w)
        return (w[:, None, :, None] * h[:, :, None, :]).reshape(n, t, -1).to(z.dtype)

    def merge(self, adapters: Sequence[Adapter], table: Tensor) -> Adapter:
        """Sum A and B each; UserError where ranks or scalings differ."""
        first = adapters[0]
        if len({(o.rank, o.scaling) for o in adapters}) > 1:
            raise UserError(
                "merge: --rule factor sums factors and needs adapters of equal rank and alpha; use --rule delta"
            )
        a = tuple(_sum([o.A[i] for o in adapters], row) for i, row in enumerate(table))
        b = tuple(_sum([o.B[i] for o in adapters], row) for i, row in enumerate(table))
        return Adapter(first.sites, a, b, first.scaling)


RULES: Mapping[str, Rule] = {rule.name: rule for rule in (Delta(), Factor())}
DEFAULT = "delta"
ASSEMBLED = "factor"
"""The rule that Per-Pcs assembles by (Tan et al. 2024a)."""


def explained() -> str:
    """List the rules with what each computes, for the help of options and parameters."""
    return "; ".join(f"{rule.name}: {rule.summary} ({rule.source})" for rule in RULES.values())


def merge_adapters(adapters: Sequence[Adapter], weights: Tensor, rule: str = DEFAULT) -> Adapter:
    """Merge adapters into one that PEFT can load.

    ``weights`` is [k], or [sites, k] for a weight per site. Raises UserError where the adapters do not fit each other
    or the weights, or the rule is unknown.
    """
    if rule not in RULES:
        raise unknown("merge rule", rule, RULES)
    if not adapters or weights.shape not in ((len(adapters),), (len(adapters[0].sites), len(adapters))):
        raise UserError(
            f"merge: {len(adapters)} adapters and weights {tuple(weights.shape)}; pass one weight per adapter"
        )
    first = adapters[0]
    for other in adapters[1:]:
        if other.sites != first.sites or _widths(other) != _widths(first):
            raise UserError(
                "merge: the adapters are for different layers or models; pass adapters of one base model"
            )
    return RULES[rule].merge(adapters, weights.double().expand(len(first.sites), len(adapters)))


def _widths(adapter: Adapter) -> list[tuple[int, int]]:
    return [(b.shape[0], a.shape[1]) for a, b in zip(adapter.A, adapter.B, strict=True)]


def _sum(factors: Sequence[Tensor], weights: Tensor) -> Tensor:
    terms = [w * f.double() for w, f in zip(weights, factors, strict=True)]
    total: Tensor = sum(terms, terms[0].new_zeros(()))
    return total.to(_single(factors[0]))


def _weigh(factor: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    return (weight * factor.double()).to(_single(factor))


def _single(factor: Tensor) -> torch.dtype:
    """Return the type to write: half precision becomes single, for a product of halves has no exact half."""
    import torch

    return torch.promote_types(factor.dtype, torch.float32)
