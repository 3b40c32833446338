"""Adapters of unlike rank, scaling and modules put into one form: padded, folded, completed with zeros. All exact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from prime_audit.engine.keys import forward_order, renamed
from prime_audit.engine.lora import Adapter
from prime_audit.errors import PartError

if TYPE_CHECKING:
    from torch import Tensor

_CHANGES_NOTHING = 1e-9
"""Root mean square of an update's entries below which float32 weights of common size do not change."""


def fitting(adapter: Adapter, rank: int, scaling: float) -> Adapter:
    """Return the same adapter with another rank, not smaller, and another scaling; PartError where it is smaller."""
    if rank < adapter.rank:
        raise PartError(
            f"an adapter of rank {adapter.rank} does not fit the given ones: the bank's rank is {rank}"
        )
    by = adapter.scaling / scaling
    pairs = [refactored(a, b, rank, by) for a, b in zip(adapter.A, adapter.B, strict=True)]
    return Adapter(adapter.sites, tuple(a for a, _ in pairs), tuple(b for _, b in pairs), scaling)


def refactored(a: Tensor, b: Tensor, rank: int, by: float) -> tuple[Tensor, Tensor]:
    """Pad factors A [r, d_in] and B [d_out, r] with zeros to a rank, and multiply B by a number."""
    from torch import float32, promote_types
    from torch.nn.functional import pad

    if more := rank - a.shape[0]:
        a, b = pad(a, (0, 0, 0, more)), pad(b, (0, more))
    if by != 1:
        b = (b.double() * by).to(promote_types(b.dtype, float32))
    return a, b


def completed(adapter: Adapter, widths: Mapping[str, tuple[int, int]]) -> Adapter:
    """Give an adapter exactly these modules, in this order: what it lacks is a zero update.

    ``widths``: module → (d_in, d_out). Raises ValueError where the adapter has another module or other widths.
    """
    place = {site: i for i, site in enumerate(adapter.sites)}
    if odd := place.keys() - widths.keys():
        raise ValueError(f"{min(odd)} is none of the modules")
    a: list[Tensor] = []
    b: list[Tensor] = []
    for site, (d_in, d_out) in widths.items():
        if site in place:
            a.append(adapter.A[place[site]])
            b.append(adapter.B[place[site]])
        else:
            a.append(adapter.A[0].new_zeros(adapter.rank, d_in))
            b.append(adapter.B[0].new_zeros(d_out, adapter.rank))
        if (a[-1].shape[1], b[-1].shape[0]) != (d_in, d_out):
            raise ValueError(
                f"{site} is {a[-1].shape[1]} wide and {b[-1].shape[0]} high in one adapter, but "
                f"{d_in} and {d_out} in another"
            )
    return replace(adapter, sites=tuple(widths), A=tuple(a), B=tuple(b))


def united(adapters: Sequence[Adapter], order: Sequence[str] = ()) -> list[Adapter]:
    """Give adapters the union of their modules, named as the first one names them; zeros where one lacks a module.

    ``order``: the names of all modules of their model, in the order to use; empty: the forward order. Raises ValueError
    where widths differ.
    """
    named = list(adapters[:1])
    for other in adapters[1:]:
        names = {s: s for s in other.sites} if order else renamed(other.sites, adapters[0].sites)
        if len(set(names.values())) < len(names):
            raise ValueError("two modules of one adapter are the same one of another")
        named.append(replace(other, sites=tuple(names[s] for s in other.sites)))
    widths = dict[str, tuple[int, int]]()
    for one in named:
        for site, a, b in zip(one.sites, one.A, one.B, strict=True):
            widths.setdefault(site, (int(a.shape[1]), int(b.shape[0])))
    ranked = sorted(widths, key=list(order).index if order else forward_order)
    return [completed(one, {site: widths[site] for site in ranked}) for one in named]


def changes_nothing(adapter: Adapter) -> bool:
    """Whether an adapter changes nothing: B or A is zero, or the scaling is."""
    pairs = zip(adapter.A, adapter.B, strict=True)
    return each_changes_nothing(((a[None], b[None]) for a, b in pairs), adapter.scaling)[0]


def each_changes_nothing(factors: Iterable[tuple[Tensor, Tensor]], scaling: float) -> list[bool]:
    """Tell of each of S adapters whether it changes nothing; per site A [S, r, d_in] and B [S, d_out, r]."""
    import torch

    moves: Tensor | None = None
    for a, b in factors:
        a, b = a.float(), b.float()
        # ‖B A‖² = Σ (BᵀB · AAᵀ): small products instead of the update.
        square = ((b.mT @ b) * (a @ a.mT)).sum((1, 2)) * scaling**2
        large = square > _CHANGES_NOTHING**2 * a.shape[2] * b.shape[1]
        moves = large if moves is None else torch.logical_or(moves, large)
    return [] if moves is None else (~moves).tolist()
