"""Sharers' adapters that were trained elsewhere: read, checked against the base, and fitted to the bank.

The run adapts the union of their modules, in all layers. What an adapter does not change is a zero update of it. A bank
holds adapters of one rank and scaling: smaller ranks are padded with zeros, and another scaling is folded into B. None
of this changes an adapter or a sum of updates, except for rounding where the base is in half precision. Sums of
*factors* (``merge=factor``, Per-Pcs) then mix factors of different scale; the record has a warning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prime_audit.community.sharers import Sharer, bank_name, named
from prime_audit.community.training import Origin
from prime_audit.engine.base import Base
from prime_audit.engine.keys import PREFIX, leaf_of, matched, reads_text
from prime_audit.engine.lora import Adapter, layer_of
from prime_audit.engine.unify import completed, fitting
from prime_audit.errors import UserError
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


def modules_of(givens: Iterable[Given], usual: Sequence[str], asked: Sequence[str] | None) -> tuple[str, ...]:
    """List the projections that a run adapts: those of the given adapters, or ``usual`` without any.

    ``asked``: what the user set (``lora.modules``); it may have more. Read before the base is loaded. Raises UserError
    where an adapter cannot be read, changes a module outside the layers, or one that is not asked for.
    """
    from prime_audit.engine.adapters import tensors_of

    found = dict[str, None]()
    for folder in (f for given in givens for f in _folders(given)):
        for site in filter(reads_text, tensors_of(folder)):
            leaf = leaf_of(site)
            if layer_of(site) < 0:
                raise UserError(
                    f"{folder / WEIGHTS}: adapts {site}, which is outside the decoder layers; leave {leaf} out of "
                    "target_modules and train it again"
                )
            if asked is not None and leaf not in asked:
                raise UserError(
                    f"{folder / WEIGHTS}: adapts {leaf}, but --set lora.modules={'+'.join(asked)} leaves it out; "
                    "remove the setting (the run then adapts the modules of all given adapters), or add it there"
                )
            found[leaf] = None
    return tuple(asked or found or usual)


def load_given(given: Given, base: Base, lora: Mapping[str, Any], usual: Sequence[str] = ()) -> GivenAdapters:
    """Read every given adapter; ``lora``: the rank and alpha of adapters that a run trains itself.

    ``usual``: the projections that a run adapts without given adapters. Raises UserError for an adapter that cannot be
    read, is no LoRA, is not finite, or is for other modules or another base.
    """
    raw = {bank_name(s.user.id): _checked(s.folder, base) for s in given.sharers}
    before = _checked(given.base, base) if given.base else None
    scaling = lora["alpha"] / lora["rank"]
    rank = max(lora["rank"], *(c.adapter.rank for c in raw.values()))
    fitted = {name: fitting(c.adapter, rank, scaling) for name, c in raw.items()}
    origins = {
        fitted[bank_name(s.user.id)].content: Origin(s.sha256, folder=s.folder.name) for s in given.sharers
    }
    return GivenAdapters(
        adapters=fitted,
        origins=origins,
        base=before.adapter if before else None,
        rank=rank,
        scaling=scaling,
        notes=(
            *_copies({s.user.id: fitted[bank_name(s.user.id)].content for s in given.sharers}),
            *_other_bases(_folders(given), base),
            *_unknown(_folders(given)),
            *_unlike([c.adapter for c in raw.values()]),
            *_beside_text(raw.values()),
            *_elsewhere([*raw.values(), *([before] if before else [])], base, usual),
        ),
    )


def _folders(given: Given) -> list[Path]:
    return [*(s.folder for s in given.sharers), *([given.base] if given.base else [])]


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


@dataclass(frozen=True)
class _Checked:
    """An adapter in the base's modules."""

    adapter: Adapter
    count: int
    """How many modules its file has."""
    odd: str
    """The first tensor that PEFT itself would not read into this base; empty where there is none."""
    beside: int = 0
    """How many modules of encoders of images or sound were left out."""


def _checked(folder: Path, base: Base) -> _Checked:
    """Read one adapter; UserError where it is not for this base's modules, or not finite."""
    from prime_audit.engine.adapters import load_adapter, require_finite, tensors_of

    adapter = load_adapter(folder)
    require_finite(adapter, folder)
    whole, adapter = len(adapter.sites), base.of_text(adapter)
    if not adapter.sites:
        raise UserError(
            f"{folder / WEIGHTS}: changes nothing that reads text; pass an adapter trained on text"
        )
    widths = {site.name: (site.d_in, site.d_out) for site in base.sites}
    try:
        names = matched(adapter.sites, [*widths])
        if odd := next((site for site in adapter.sites if site not in names), None):
            raise ValueError(
                f"adapts {odd}, which the model {base.name} does not have (it has {next(iter(widths))}); pass adapters "
                "that were trained on this model"
            )
        own = replace(adapter, sites=tuple(names[site] for site in adapter.sites))
        for name, a, b in zip(own.sites, own.A, own.B, strict=True):
            if (a.shape[1], b.shape[0]) != widths[name]:
                raise ValueError(
                    f"{name} is {a.shape[1]} wide and {b.shape[0]} high, but {widths[name][0]} and {widths[name][1]} "
                    f"in the model {base.name}; pass adapters that were trained on this model"
                )
    except ValueError as wrong:
        raise UserError(f"{folder / WEIGHTS}: {wrong}") from None
    tensors = {names[site]: key for site, key in tensors_of(folder).items() if site in names}
    odd = next((key for name, key in tensors.items() if not key.startswith(f"{PREFIX}{name}.lora_A.")), "")
    return _Checked(completed(own, widths), len(names), odd, whole - len(names))


def _copies(contents: Mapping[str, str]) -> list[str]:
    """Warn of sharers with one and the same adapter; ``contents``: by sharer."""
    counts = Counter(contents.values())
    if not (twins := [who for who, content in contents.items() if counts[content] > 1]):
        return []
    return [
        f"the adapters of {len(twins)} given sharers are exact copies of one another: merging one is merging the "
        f"other, so games that call only one of them a member are wrong{named(twins)}"
    ]


def _unknown(folders: Sequence[Path]) -> list[str]:
    """Warn of entries in configurations that a later PEFT may give a meaning."""
    from importlib.metadata import version

    from prime_audit.engine.adapters import unknown_entries

    found = sorted({entry for folder in folders for entry in unknown_entries(folder)})
    if not found:
        return []
    return [
        f"the given adapters' configurations have entries that PEFT {version('peft')} does not know: "
        f"{', '.join(map(ascii, found[:5]))}; they are ignored, as PEFT ignores them"
    ]


def _beside_text(checked: Iterable[_Checked]) -> list[str]:
    """Note that encoders of images or sound are adapted, too."""
    found = sum(own.beside > 0 for own in checked)
    if not found:
        return []
    return [
        f"{found} given adapters also change encoders of images or sound; that is ignored: only text is read here"
    ]


def _other_bases(folders: Sequence[Path], base: Base) -> list[str]:
    """Warn of other bases by name, without naming sharers: model cards repeat warnings."""
    from prime_audit.engine.adapters import base_model_of, last_part

    other = [last_part(n) for n in map(base_model_of, folders) if n and last_part(n) != last_part(base.name)]
    if not other:
        return []
    return [
        f"{len(other)} given adapters name another base model than {last_part(base.name)} ({min(other)!a}): their "
        "shapes fit, but results are meaningful only if it is the same model"
    ]


def _unlike(adapters: Sequence[Adapter]) -> list[str]:
    ranks, scalings = ({a.rank for a in adapters}, {a.scaling for a in adapters})
    if len(ranks) == len(scalings) == 1:
        return []
    return [
        f"given adapters have ranks {_listed(ranks)} and scalings {_listed(scalings)}: padded with zeros, scalings "
        "folded into B; sums of updates are exact, sums of factors (merge=factor, Per-Pcs) mix different scales"
    ]


def _elsewhere(checked: Sequence[_Checked], base: Base, usual: Sequence[str]) -> list[str]:
    """Say which modules are adapted, if not the usual ones, and how many adapters lack some or name them otherwise."""
    lines = []
    leaves = dict.fromkeys(leaf_of(site.name) for site in base.sites)
    if usual and set(usual) != leaves.keys():
        lines.append(
            f"this run adapts {', '.join(leaves)}, as the given adapters do, and so do adapters that it trains itself"
        )
    if fewer := sum(c.count < len(base.sites) for c in checked):
        lines.append(
            f"{fewer} of {len(checked)} given adapters change only some of the {len(base.sites)} adapted modules; the "
            "others count as zero updates"
        )
    if other := [c.odd for c in checked if c.odd]:
        lines.append(
            f"{len(other)} of {len(checked)} given adapters name tensors in another way than PEFT does for this model "
            f"({min(other)[:100]!a}): they were matched by layer and projection; PEFT itself leaves such tensors out"
        )
    return lines


def _listed(numbers: set[Any]) -> str:
    return ", ".join(f"{n:g}" for n in sorted(numbers))
