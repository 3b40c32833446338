"""``prime-audit export``: a target's model as one LoRA that plain PEFT loads on the base as it was loaded.

What the run merged into the base's weights (base adaptation) stands beside the merge in the same adapter, by
concatenation: rank r + Σ r, scaling 1. The adapters come from the cache (or, given ones, from their folder), each
checked by the hash in the run's record; nothing is trained, and neither base nor data are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prime_audit.adapter_files import CONFIG, adapter_sha256
from prime_audit.errors import UserError, unknown
from prime_audit.folder import Run, load_run
from prime_audit.lamp.given import folder_of, shown
from prime_audit.lamp.tasks import find_task
from prime_audit.lamp.world import staged
from prime_audit.model_card import model_card

if TYPE_CHECKING:
    from torch import Tensor

    from prime_audit.engine.adapters import Adapter

CARD = "README.md"
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
class Exported:
    """What was written."""

    path: Path
    model: Model
    rank: int

    @property
    def task(self) -> str:
        """The task's name."""
        return self.model.task

    @property
    def label(self) -> str:
        """The method's label."""
        return self.model.label

    @property
    def shown(self) -> str:
        """The target's id, for a message."""
        return shown(str(self.model.row["target"]))


def export(
    run: str | Path,
    target: str,
    method: str | None,
    out: str | Path,
    *,
    task: str | None = None,
    cache: Path | None = None,
    sharers: Path | None = None,
    base_adapter: Path | None = None,
) -> Exported:
    """Write a target's module and its model card into a new folder, whole or not at all.

    Parameters
    ----------
    run
        The folder of a finished run.
    target
        Id of the target.
    method
        A method's label in the run, fronts and parameters included; None: its only one beside ``np``.
    out
        The folder to make.
    task
        Needed where the run has several.
    cache
        The cache of the run.
    sharers, base_adapter
        Where the run's given adapters lie, if it had any.

    Raises
    ------
    UserError
        For unknown names, for adapters that are no longer kept or no longer the run's, and a folder that exists.
    """
    from safetensors import SafetensorError

    from prime_audit.engine.adapters import save_adapter

    model = _model(load_run(run), target, method, task)
    made = _module(model, _Kept(model, cache, sharers, base_adapter))
    base, _, revision = _base_name(model.run.record.model.name).partition("@")
    folder = Path(out)
    try:
        with staged(folder) as draft:
            save_adapter(made, draft, base_model=base, revision=revision)
            (draft / CARD).write_text(
                model_card(model.run.record, model.task, model.label, model.core, model.row, made.rank),
                encoding="utf-8",
            )
    except SafetensorError as fault:  # a full disk, where its writer meets it
        raise UserError(
            f"{folder}: cannot be written ({' '.join(str(fault).split())}): free space"
        ) from fault
    return Exported(folder, model, made.rank)


# -- which model ---------------------------------------------------------------------------------------------


def _model(run: Run, target: str, method: str | None, task: str | None) -> Model:
    record = run.record
    if "attacked" in record.spec:
        raise UserError(f"{run.path} holds attacks on {record.spec['attacked']}: name the folder of that run")
    chosen = _task(run, task)
    label = _method(run, method)
    rows = [row for row in _rows(run.path / "models.jsonl") if row["task"] == chosen and "game" not in row]
    cores = {row["method"] for row in rows}
    # "prime:alpha=0.6+rag" is rag's front on "prime:alpha=0.6"; a front alone stands before np.
    core = max((c for c in cores if label == c or label.startswith(f"{c}+")), key=len, default="np")
    own = {row["target"]: row for row in rows if row["method"] == core}
    if target not in own:
        raise unknown(f"target of {label} on {chosen}", target, map(str, own))
    return Model(run, chosen, label, core, own[target])


def _task(run: Run, asked: str | None) -> str:
    known = [d.task for d in run.record.data]
    if asked is None:
        if len(known) != 1:
            raise UserError(f"{run.path} has {len(known)} tasks: give --task, one of {', '.join(known)}")
        return known[0]
    if (name := find_task(asked).name) not in known:
        raise unknown(f"task of {run.path}", name, known)
    return name


def _method(run: Run, asked: str | None) -> str:
    known = list(run.record.methods)
    if asked is None:
        others = [label for label in known if label != "np"] or known
        if len(others) != 1:
            raise UserError(f"{run.path} has several methods: give --method, one of {'  '.join(others)}")
        return others[0]
    if asked not in known:
        raise unknown(f"method of {run.path}", asked, known)
    return asked


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if not {"task", "method", "target", "adapters", "weights", "rule", "sharers"} <= row.keys():
                raise ValueError("a line lacks a field")
            yield row
    except (OSError, ValueError, AttributeError) as fault:
        raise UserError(f"{path}: cannot be read ({fault}); restore it, or run compare again") from None


# -- its adapters --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kept:
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
        if adapter.content.partition(" ")[0] != origin["sha256"]:
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


def _module(model: Model, kept: _Kept) -> Adapter:
    """Merge a model's adapters by its own rule, and set the base's adaptation beside them."""
    import torch

    from prime_audit.community.given import fitting
    from prime_audit.engine.adapters import merge_adapters

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


def _base_name(model: str) -> str:
    """Name the base for PEFT; the packaged model has no name that anybody else could load."""
    return "" if model == "mini" else model
