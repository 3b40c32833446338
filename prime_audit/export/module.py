"""Reassemble a run's personalised module from its adapters in the cache."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prime_audit.community.sharers import sharer_of
from prime_audit.engine.keys import leaf_of
from prime_audit.engine.lora import Adapter, layer_of
from prime_audit.errors import UserError
from prime_audit.folder import Run
from prime_audit.io.adapter_files import CONFIG, adapter_sha256
from prime_audit.lamp.given import folder_of, shown

if TYPE_CHECKING:
    from torch import Tensor

    from prime_audit.runs.unlearn import Unlearnt

_PLACE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}/[0-9]{4}")


@dataclass(frozen=True)
class Model:
    """One personalised model of a run, as its files describe it."""

    run: Run
    task: str
    label: str
    """The method, fronts included."""
    core: str
    """The method that built the module: ``prime`` of ``prime+rag``."""
    row: Mapping[str, Any]
    """Its line of ``models.jsonl``."""
    unlearnt: Unlearnt | None = None
    """Where it was remade without a sharer: how, and what it still reveals of them."""

    @property
    def names(self) -> tuple[str, ...]:
        """Adapters in the bank."""
        return tuple(self.row["adapters"])

    @property
    def community(self) -> Mapping[str, Any]:
        """Return the record's entry on the task's community."""
        found: Mapping[str, Any] = self.run.record.community.get(self.task, {})
        return {**found, "adapters": self.unlearnt.adapters} if self.unlearnt else found

    @cached_property
    def weights(self) -> Tensor:
        """Merge weights, float64 [k], [layers, k] or [modules, k]."""
        import torch

        return torch.tensor(self.row["weights"], dtype=torch.float64)


@dataclass(frozen=True)
class Kept:
    """Current folders of a run's adapters."""

    model: Model
    cache: Path | None
    sharers: Path | None
    base_adapter: Path | None

    def adapters(self, names: Sequence[str]) -> list[Adapter]:
        """Read adapters of the bank."""
        known = self.model.community.get("adapters", {})
        if missing := [name for name in names if name not in known]:
            raise UserError(
                f"{self.model.run.path}: has no path for {shown(missing[0])} of "
                f"{self.model.core}: its plugin does not save its own adapters, or the run is too "
                "old for this command; rerun compare"
            )
        return [self._read(known[name], self.sharers, name) for name in names]

    def adaptation(self) -> Adapter | None:
        """Read what was merged into the base; None if nothing was."""
        origin = self.model.community.get("adaptation")
        return self._read(origin, self.base_adapter, "the base's adaptation") if origin else None

    def _read(self, origin: Mapping[str, str], folder: Path | None, what: str) -> Adapter:
        return self._trained(origin, what) if "place" in origin else self._given(origin, folder, what)

    def _trained(self, origin: Mapping[str, str], what: str) -> Adapter:
        from prime_audit.cache.entry import holds
        from prime_audit.engine.adapters import load_adapter

        again = f"rerun compare with the same options: {self.model.run.record.command}"
        if not _PLACE.fullmatch(origin["place"]):
            raise UserError(f"{self.model.run.path}: its record has no path for {shown(what)}; {again}")
        place = (self.cache or Path()) / origin["place"]
        if self.cache is None or not place.is_dir():
            raise UserError(
                f"cache {self.cache or '(none)'}: no longer has {shown(what)} of this run (pass "
                f"--cache DIR); {again}"
            )
        adapter = load_adapter(place)
        # The record's hash covers the factors; the entry's also covers the configuration, which scales them.
        if adapter.content.partition(" ")[0] != origin["sha256"] or not holds(place.parent, place / CONFIG):
            raise UserError(f"{place}: is not what the run used (its hash differs); delete it, and {again}")
        return adapter

    def _given(self, origin: Mapping[str, str], folder: Path | None, what: str) -> Adapter:
        from prime_audit.engine.adapters import load_adapter

        base = "adaptation" in what and sharer_of(what) is None
        spec = self.model.run.record.spec
        option, key = ("--base-adapter", "base_adapter") if base else ("--sharers", "sharers")
        home = folder or Path(str(spec.get(key)))
        missing = UserError(
            f"{home}: {shown(what)} was given to the run, but is not here: pass its folder with {option} DIR"
        )
        if not home.is_dir():
            raise missing
        place = home if base else folder_of(home, self.model.task) / Path(origin["folder"]).name
        if not (place / CONFIG).is_file():
            raise missing
        if adapter_sha256(place) != origin["sha256"]:
            raise UserError(
                f"{place}: is not what was given to the run (its hash differs); restore it, or "
                f"pass its folder with {option} DIR"
            )
        return load_adapter(place)


def module_of(model: Model, kept: Kept) -> Adapter:
    """Merge a model's adapters by its own rule, and append the base's adaptation."""
    import torch

    from prime_audit.engine.rules import merge_adapters
    from prime_audit.engine.unify import fitting

    parts = []
    weights = model.weights
    used = [n for n, _ in enumerate(model.names) if bool(weights[..., n].any())]
    if used:
        loaded = _alike(kept.adapters([model.names[n] for n in used]), model)
        if len({(a.rank, a.scaling) for a in loaded}) > 1:  # as in the bank
            rank = max(a.rank for a in loaded)
            scaling = next((a.scaling for a in loaded if a.scaling), 1.0)
            loaded = [fitting(a, rank, scaling) for a in loaded]
        own = _per_site(weights[..., used], loaded[0].sites, _sites(model))
        parts.append(merge_adapters(loaded, own, model.row["rule"]))
    before = kept.adaptation()
    if before is not None:
        parts.append(before)
    if not parts:
        raise UserError(
            f"{model.run.path}: {model.label} merges no adapter for "
            f"{shown(str(model.row['target']))}: this model is the base itself, so there is no "
            "module to export"
        )
    return merge_adapters(_alike(parts, model), torch.ones(len(parts)))


def _sites(model: Model) -> tuple[str, ...]:
    """List the base's adapted modules, in the order of the run's weights; empty where all adapters have all of them."""
    return tuple(map(str, model.community.get("sites", ())))


def _alike(adapters: Sequence[Adapter], model: Model) -> list[Adapter]:
    """Name and order adapters' modules as the base's.

    Given ones may lack some, name them otherwise, and also adapt encoders of images, which the run left out.
    """
    from prime_audit.engine.keys import matched
    from prime_audit.engine.unify import united

    sites = _sites(model)
    if not sites:
        return [_ordered(a, model) for a in adapters]
    return united([_kept(a, matched(a.sites, sites)) for a in adapters], sites)


def _kept(adapter: Adapter, names: Mapping[str, str]) -> Adapter:
    """Keep the modules that have a name in the base."""
    own = [i for i, site in enumerate(adapter.sites) if site in names]
    a, b = (tuple(side[i] for i in own) for side in (adapter.A, adapter.B))
    return Adapter(tuple(names[adapter.sites[i]] for i in own), a, b, adapter.scaling)


def _ordered(adapter: Adapter, model: Model) -> Adapter:
    """Order an adapter's modules as the run's weights."""
    kinds = {kind: n for n, kind in enumerate(model.community.get("modules", ()))}

    def place(i: int) -> tuple[int, int]:
        site = adapter.sites[i]
        return layer_of(site), kinds.get(leaf_of(site), len(kinds))

    order = sorted(range(len(adapter.sites)), key=place)
    return replace(
        adapter,
        sites=tuple(adapter.sites[i] for i in order),
        A=tuple(adapter.A[i] for i in order),
        B=tuple(adapter.B[i] for i in order),
    )


def _per_site(weights: Tensor, sites: Sequence[str], every: Sequence[str]) -> Tensor:
    """Expand weights to the modules ``sites``: [k] stays, [layers, k] and [``every`` module, k] become [modules, k]."""
    if weights.ndim == 1:
        return weights
    if len(weights) == len(every or sites):
        return weights[[list(every).index(site) for site in sites]] if every else weights
    return weights[[layer_of(site) for site in sites]]
