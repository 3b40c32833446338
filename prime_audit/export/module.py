"""A run's personalised module put together again from the adapters it was made of, as they are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prime_audit.errors import UserError
from prime_audit.folder import Run
from prime_audit.io.adapter_files import CONFIG, adapter_sha256
from prime_audit.lamp.given import folder_of, shown

if TYPE_CHECKING:
    from torch import Tensor

    from prime_audit.engine.lora import Adapter

_PLACE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}/[0-9]{4}")


@dataclass(frozen=True)
class Model:
    """One personalised model of a run, as its files describe it."""

    run: Run
    task: str
    label: str
    """The method, fronts included."""
    core: str
    """The method that made the module: ``prime`` of ``prime+rag``."""
    row: Mapping[str, Any]
    """Its line of ``models.jsonl``."""

    @property
    def names(self) -> tuple[str, ...]:
        """Adapters in the bank."""
        return tuple(self.row["adapters"])

    @property
    def community(self) -> Mapping[str, Any]:
        """Return what the record says of the task's community."""
        found: Mapping[str, Any] = self.run.record.community.get(self.task, {})
        return found

    @cached_property
    def weights(self) -> Tensor:
        """Merge weights, float64 [k], [layers, k] or [modules, k]."""
        import torch

        return torch.tensor(self.row["weights"], dtype=torch.float64)


@dataclass(frozen=True)
class Kept:
    """Where a run's adapters lie now."""

    model: Model
    cache: Path | None
    sharers: Path | None
    base_adapter: Path | None

    def adapters(self, names: Sequence[str]) -> list[Adapter]:
        """Read adapters of the bank."""
        known = self.model.community.get("adapters", {})
        if missing := [name for name in names if name not in known]:
            raise UserError(
                f"{self.model.run.path}: does not say where {self.model.core} put {shown(missing[0])}: its plugin "
                "keeps adapters of its own making nowhere, or the run is older than this command; run compare again"
            )
        return [self._read(known[name], self.sharers, name) for name in names]

    def adaptation(self) -> Adapter | None:
        """Read what was merged into the base; None where nothing was."""
        origin = self.model.community.get("adaptation")
        return self._read(origin, self.base_adapter, "the base's adaptation") if origin else None

    def _read(self, origin: Mapping[str, str], folder: Path | None, what: str) -> Adapter:
        if "place" in origin:
            return self._trained(origin, what)
        return self._given(origin, folder, what)

    def _trained(self, origin: Mapping[str, str], what: str) -> Adapter:
        from prime_audit.cache.entry import holds
        from prime_audit.engine.adapters import load_adapter

        again = f"run compare again with the same words: {self.model.run.record.command}"
        if not _PLACE.fullmatch(origin["place"]):
            raise UserError(f"{self.model.run.path}: its record names no place of {shown(what)}; {again}")
        place = (self.cache or Path()) / origin["place"]
        if self.cache is None or not place.is_dir():
            raise UserError(
                f"cache {self.cache or '(none)'}: no longer holds {shown(what)} of this run (give --cache DIR); {again}"
            )
        adapter = load_adapter(place)
        # The record's hash is of the factors, the entry's also of the configuration, which scales them.
        if adapter.content.partition(" ")[0] != origin["sha256"] or not holds(place.parent, place / CONFIG):
            raise UserError(f"{place}: is not what the run used (its hash differs); delete it, and {again}")
        return adapter

    def _given(self, origin: Mapping[str, str], folder: Path | None, what: str) -> Adapter:
        from prime_audit.engine.adapters import load_adapter

        base = "adaptation" in what and not what.startswith("sharer:")
        spec = self.model.run.record.spec
        option, key = ("--base-adapter", "base_adapter") if base else ("--sharers", "sharers")
        home = folder or Path(str(spec.get(key)))
        missing = UserError(
            f"{home}: {shown(what)} was given to the run, and is not here: say where with {option} DIR"
        )
        if not home.is_dir():
            raise missing
        place = home if base else folder_of(home, self.model.task) / Path(origin["folder"]).name
        if not (place / CONFIG).is_file():
            raise missing
        if adapter_sha256(place) != origin["sha256"]:
            raise UserError(
                f"{place}: is not what the run was given (its hash differs); restore it, or say where with {option} DIR"
            )
        return load_adapter(place)


def module_of(model: Model, kept: Kept) -> Adapter:
    """Merge a model's adapters by its own rule, and set the base's adaptation beside them."""
    import torch

    from prime_audit.community.given_adapters import fitting
    from prime_audit.engine.rules import merge_adapters

    parts = []
    weights = model.weights
    used = [n for n, _ in enumerate(model.names) if bool(weights[..., n].any())]
    if used:
        loaded = [_ordered(a, model) for a in kept.adapters([model.names[n] for n in used])]
        if len({(a.rank, a.scaling) for a in loaded}) > 1:  # as the bank has them
            rank = max(a.rank for a in loaded)
            loaded = [fitting(a, rank, loaded[0].scaling) for a in loaded]
        parts.append(
            merge_adapters(loaded, _per_site(weights[..., used], loaded[0].sites), model.row["rule"])
        )
    before = kept.adaptation()
    if before is not None:
        parts.append(_ordered(before, model))
    if not parts:
        raise UserError(
            f"{model.run.path}: {model.label} merges nothing for {shown(str(model.row['target']))}: "
            "her model is the base itself, and there is no module to export"
        )
    return merge_adapters(parts, torch.ones(len(parts)))


def _ordered(adapter: Adapter, model: Model) -> Adapter:
    """Put an adapter's modules in the order of the run's weights."""
    kinds = {kind: n for n, kind in enumerate(model.community.get("modules", ()))}

    def place(i: int) -> tuple[int, int]:
        site = adapter.sites[i]
        return _layer(site), kinds.get(site.rpartition(".")[2], len(kinds))

    order = sorted(range(len(adapter.sites)), key=place)
    return replace(
        adapter,
        sites=tuple(adapter.sites[i] for i in order),
        A=tuple(adapter.A[i] for i in order),
        B=tuple(adapter.B[i] for i in order),
    )


def _per_site(weights: Tensor, sites: Sequence[str]) -> Tensor:
    """Spread weights over modules: [k] stays, [layers, k] and [modules, k] become [modules, k]."""
    if weights.ndim == 1 or len(weights) == len(sites):
        return weights
    return weights[[_layer(site) for site in sites]]


def _layer(site: str) -> int:
    return int(next((part for part in site.split(".") if part.isdigit()), -1))
