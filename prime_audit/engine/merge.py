"""Merging adapter folders: the command ``prime-audit merge``."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from prime_audit.engine.adapters import (
    base_model_of,
    last_part,
    load_adapter,
    require_finite,
    save_adapter,
)
from prime_audit.engine.lora import Adapter, layer_of
from prime_audit.engine.rules import merge_adapters
from prime_audit.engine.unify import changes_nothing, united
from prime_audit.errors import UserError
from prime_audit.io import intake


@dataclass(frozen=True)
class Merged:
    """A merged adapter, and what its user should know."""

    adapter: Adapter
    notes: tuple[str, ...]


def merge_folders(folders: Sequence[Path], weights: str, rule: str, out: Path) -> Merged:
    """Merge PEFT folders with ``weights`` (``0.5,0.3`` or a JSON file) into a PEFT folder, completely or not at all.

    A module that an adapter lacks is a zero update of it.
    """
    if out.exists():
        raise UserError(f"--out {out}: exists already; choose another folder or delete it")
    adapters = [load_adapter(folder) for folder in folders]
    for adapter, folder in zip(adapters, folders, strict=True):
        require_finite(adapter, folder)
    table = _read_weights(weights, len(adapters))
    try:
        alike = united(adapters)
    except ValueError as fault:
        raise UserError(
            f"merge: the adapters are for different layers or models ({fault}); pass adapters of one base model"
        ) from None
    made = merge_adapters(alike, _spread(table, alike[0]), rule)
    bases = [base_model_of(folder) for folder in folders]
    base = next(filter(None, bases), "")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as aside:
            draft = Path(aside, out.name)
            draft.mkdir()
            save_adapter(made, draft, base_model=base)
            draft.rename(out)
    except (OSError, SafetensorError) as fault:  # a full disk raises either, depending on who writes
        why = getattr(fault, "strerror", None) or " ".join(str(fault).split())
        raise UserError(
            f"--out {out}: cannot be written ({why}); free space or choose another folder"
        ) from fault
    return Merged(made, (*_notes(folders, adapters, alike, bases), *_idle_rows(table, made)))


def _idle_rows(weights: Tensor, made: Adapter) -> Iterator[str]:
    reached = 1 + max(map(layer_of, made.sites))
    if weights.ndim == 2 and len(weights) > reached:
        yield f"the adapters reach no further layer, so rows of --weights after the first {reached} have no effect"


def _notes(
    folders: Sequence[Path], adapters: Sequence[Adapter], alike: Sequence[Adapter], bases: Sequence[str]
) -> Iterator[str]:
    named = {base: folder for base, folder in zip(bases, folders, strict=True) if base}
    if len({last_part(base) for base in named}) > 1:
        first, *others = (f"{base} ({folder.name})" for base, folder in named.items())
        yield (
            f"the adapters name different base models: {first}, but {', '.join(others)}; a merge is meaningful only "
            "for one base, and the first is named in the result"
        )
    sites = len(alike[0].sites)
    pairs = [*zip(adapters, folders, strict=True)]
    if fewer := [folder.name for adapter, folder in pairs if len(adapter.sites) < sites]:
        yield f"adapters that lack some of the {sites} modules, which count as zero updates: {', '.join(fewer)}"
    if unchanging := [folder.name for adapter, folder in pairs if changes_nothing(adapter)]:
        yield f"adapters that change nothing (a factor or lora_alpha is zero): {', '.join(unchanging)}"


def _read_weights(text: str, count: int) -> Tensor:
    """Read ``[k]`` or ``[layers, k]`` weights from the option or a JSON file."""
    file = Path(text)
    try:
        values: Any = json.loads(intake.read_text(file) if file.suffix == ".json" else f"[{text}]")
        table = torch.tensor(values, dtype=torch.float64)
    except OSError as fault:
        raise UserError(
            f"--weights {text}: cannot be read ({fault.strerror}); pass numbers or a file"
        ) from None
    except (ValueError, TypeError, OverflowError, RecursionError, RuntimeError):  # torch raises several types
        raise UserError(
            f"--weights {text}: pass numbers such as 0.5,0.3, or a JSON file with a list or a list of lists"
        ) from None
    if (
        table.ndim not in (1, 2)
        or table.shape[-1] != count
        or not all(map(math.isfinite, table.flatten().tolist()))
    ):
        raise UserError(f"--weights {text}: {count} adapters need {count} finite numbers (in each layer)")
    return table


def _spread(weights: Tensor, adapter: Adapter) -> Tensor:
    """Spread per-layer weights over the adapter's modules."""
    if weights.ndim == 1:
        return weights
    layers = [layer_of(site) for site in adapter.sites]  # a model's, although one adapter may lack some
    if min(layers) < 0:
        raise UserError(
            "--weights: the adapters also change modules outside the layers; pass one weight per adapter"
        )
    # How many layers the model has, adapter files do not say: rows beyond the last adapted layer have no effect.
    if len(weights) <= max(layers):
        raise UserError(
            f"--weights: {len(weights)} rows, but the adapters reach decoder layer {max(layers)}, counted from 0; pass "
            "one row per layer of the model"
        )
    return weights[layers]
