"""Sharers' adapters that were trained elsewhere: read, checked against the base, and fitted to the bank.

A bank holds adapters of one rank and scaling. Smaller ranks are padded with zeros, and another scaling is folded into
B. Neither changes an adapter or a sum of updates, except for rounding where the base is in half precision. Sums of
*factors* (``merge=factor``, Per-Pcs) then mix factors of different scale; the record has a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prime_audit.community.sharers import Sharer, bank_name
from prime_audit.community.training import Origin
from prime_audit.engine.base import Base
from prime_audit.engine.lora import Adapter
from prime_audit.errors import PartError, UserError
from prime_audit.io.adapter_files import WEIGHTS
from prime_audit.lamp.data import Given


@dataclass(frozen=True, kw_only=True)
class GivenAdapters:
    """The adapters of a community whose sharers trained them elsewhere."""

    adapters: dict[str, Adapter]
    """By name in the bank, of one rank and scaling; cleared once the bank has them."""
    origins: Mapping[str, Origin]
    """Content as the bank holds it (``Adapter.content``) → where it came from."""
    base: Adapter | None
    """The adapter that was merged into the base before they were trained."""
    rank: int
    scaling: float
    notes: tuple[str, ...]


def load_given(given: Given, base: Base, lora: Mapping[str, Any]) -> GivenAdapters:
    """Read every given adapter; ``lora``: the rank and alpha of adapters that a run trains itself.

    Raises UserError for an adapter that cannot be read, is no plain LoRA, is not finite, or is for other modules or
    another base.
    """
    raw = {bank_name(s.user.id): _checked(s.folder, base) for s in given.sharers}
    before = _checked(given.base, base) if given.base else None
    scaling, rank = lora["alpha"] / lora["rank"], max(lora["rank"], *(a.rank for a in raw.values()))
    fitted = {name: fitting(adapter, rank, scaling) for name, adapter in raw.items()}
    origins = {
        fitted[bank_name(s.user.id)].content: Origin(s.sha256, folder=s.folder.name) for s in given.sharers
    }
    folders = [s.folder for s in given.sharers] + ([given.base] if given.base else [])
    return GivenAdapters(
        adapters=fitted,
        origins=origins,
        base=before,
        rank=rank,
        scaling=scaling,
        notes=(*_other_bases(folders, base), *_unlike([*raw.values()]), *_beside_text(folders, base)),
    )


def fitting(adapter: Adapter, rank: int, scaling: float) -> Adapter:
    """Return the same adapter with another rank, not smaller, and another scaling."""
    from torch import float32, promote_types
    from torch.nn.functional import pad

    from prime_audit.engine.lora import Adapter

    more, by = rank - adapter.rank, adapter.scaling / scaling
    if more < 0:
        raise PartError(
            f"an adapter of rank {adapter.rank} does not fit the given ones: the bank's rank is {rank}"
        )
    a = tuple(pad(x, (0, 0, 0, more)) for x in adapter.A) if more else adapter.A
    b = tuple(pad(x, (0, more)) for x in adapter.B) if more else adapter.B
    if by != 1:
        b = tuple((x.double() * by).to(promote_types(x.dtype, float32)) for x in b)
    return Adapter(adapter.sites, a, b, scaling)


def chosen(
    given: Given, settings: Callable[[str], Any], clusters: Callable[[], np.ndarray]
) -> tuple[Sharer, ...]:
    """List who shares: all, or the longest history of each cluster where the settings ask for clusters or lengths.

    ``settings``: key → its value by ``--set`` for the task, or None; ``clusters``: cluster of each given sharer.
    """
    own = clusters().tolist()
    everybody = [Sharer(s.user, c, s.trained, s.heldout) for s, c in zip(given.sharers, own, strict=True)]
    if settings("clusters") is not None:
        longest = {c: max((s for s in everybody if s.cluster == c), key=_items) for c in sorted(set(own))}
        everybody = list(longest.values())
    return tuple(s for s in everybody if _items(s) > (settings("min_history") or 0))


def _items(sharer: Sharer) -> int:
    return len(sharer.user.history)


def _checked(folder: Path, base: Base) -> Adapter:
    """Read one adapter; UserError where it is not for this base's modules, or not finite."""
    from prime_audit.engine.adapters import load_adapter, require_finite

    adapter = load_adapter(folder)
    require_finite(adapter, folder)
    adapter = base.of_text(adapter)
    if not adapter.sites:
        raise UserError(
            f"{folder / WEIGHTS}: changes nothing that reads text; pass an adapter trained on text"
        )
    if wrong := _misfit(adapter, base):
        raise UserError(f"{folder / WEIGHTS}: {wrong}")
    return base.aligned(adapter)


def _misfit(adapter: Adapter, base: Base) -> str:
    """Explain why an adapter does not fit the base; empty where it does."""
    sites = {site.name: site for site in base.sites}
    if adapter.sites and sites.keys() != set(adapter.sites):
        theirs = {name.rpartition(".")[2] for name in adapter.sites}
        ours = {name.rpartition(".")[2] for name in sites}
        if theirs != ours:
            return (
                f"adapts {', '.join(sorted(theirs))}, but this run adapts {', '.join(sorted(ours))}; pass --set "
                f"lora.modules={'+'.join(sorted(theirs))}, or adapters of the same modules"
            )
        odd = min(set(adapter.sites) ^ sites.keys())
        side = "lacks" if odd in sites else "has"
        return f"{side} {odd}, unlike the model {base.name}; pass adapters of exactly its layers"
    for name, a, b in zip(adapter.sites, adapter.A, adapter.B, strict=True):
        site = sites[name]
        if (a.shape[1], b.shape[0]) != (site.d_in, site.d_out):
            return (
                f"{name} is {a.shape[1]} wide and {b.shape[0]} high, but {site.d_in} and {site.d_out} in the model "
                f"{base.name}; pass adapters that were trained on this model"
            )
    return ""


def _beside_text(folders: Sequence[Path], base: Base) -> list[str]:
    """Note that encoders of images or sound are adapted, too."""
    from prime_audit.engine.adapters import load_adapter

    found = sum(len(base.of_text(own).sites) < len(own.sites) for own in map(load_adapter, folders))
    if not found:
        return []
    return [
        f"{found} given adapters also change encoders of images or sound; that is ignored: only text is read here"
    ]


def _other_bases(folders: Sequence[Path], base: Base) -> list[str]:
    """Warn of other bases by name, without naming sharers: model cards repeat warnings."""
    from prime_audit.engine.adapters import base_model_of

    other = [_last(n) for n in map(base_model_of, folders) if n and _last(n) != _last(base.name)]
    if not other:
        return []
    return [
        f"{len(other)} given adapters name another base model than {_last(base.name)} ({min(other)!a}): their shapes "
        "fit, but results are meaningful only if it is the same model"
    ]


def _last(name: str) -> str:
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2].partition("@")[0]


def _unlike(adapters: Sequence[Adapter]) -> list[str]:
    ranks, scalings = ({a.rank for a in adapters}, {a.scaling for a in adapters})
    if len(ranks) == len(scalings) == 1:
        return []
    return [
        f"given adapters have ranks {_listed(ranks)} and scalings {_listed(scalings)}: padded with zeros, scalings "
        "folded into B; sums of updates are exact, sums of factors (merge=factor, Per-Pcs) mix different scales"
    ]


def _listed(numbers: set[Any]) -> str:
    return ", ".join(f"{n:g}" for n in sorted(numbers))
