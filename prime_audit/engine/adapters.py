"""LoRA adapters in PEFT's file format."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from prime_audit.engine.lora import NUMBER, Adapter
from prime_audit.errors import UserError
from prime_audit.io import intake
from prime_audit.io.adapter_files import CONFIG, WEIGHTS, lacking

_PREFIX = "base_model.model."
_LARGEST = 1 << 20
"""Rank and alpha of an adapter have to be smaller."""
# Each of these changes the meaning of the stored factors; reading them as plain LoRA would be silently wrong.
_UNSUPPORTED = (
    *("use_dora", "use_qalora", "use_bdlora", "lora_bias", "rank_pattern", "alpha_pattern"),
    *("modules_to_save", "target_parameters", "trainable_token_indices", "layer_replication"),
    *("alora_invocation_tokens", "arrow_config", "kasa_config", "monteclora_config"),
)
_TEXT_PARTS = ("language_model", "text_model")
"""Names of the part of a multimodal model that reads and writes text."""
_MOVES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that change the base's own weights: the factors alone are not what was trained."""


def save_adapter(
    adapter: Adapter, folder: Path, *, base_model: str = "", dropout: float = 0.0, revision: str = ""
) -> None:
    """Write ``adapter_model.safetensors`` and ``adapter_config.json`` as PEFT does; no file is left half-written."""
    from peft import LoraConfig
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, a, b in zip(adapter.sites, adapter.A, adapter.B, strict=True):
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = a.detach().cpu().contiguous()
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = b.detach().cpu().contiguous()
    alpha = adapter.scaling * adapter.rank
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=int(alpha) if float(alpha).is_integer() else alpha,
        lora_dropout=dropout,
        target_modules=_targets(adapter.sites),
        task_type="CAUSAL_LM",
        base_model_name_or_path=base_model or None,
        revision=revision or None,
        inference_mode=True,
    )
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as draft:
        save_file(tensors, f"{draft}/{WEIGHTS}", metadata={"format": "pt"})
        config.save_pretrained(draft)
        for name in (WEIGHTS, CONFIG):
            Path(draft, name).replace(folder / name)


def _targets(sites: Sequence[str]) -> list[str] | str:
    """Return the leaf names; for a model that also sees, a pattern: its other encoders have the same names."""
    leaves = sorted({name.rpartition(".")[2] for name in sites})
    parts = {part for name in sites for part in name.split(".") if part in _TEXT_PARTS}
    return rf".*\b({'|'.join(sorted(parts))})\..*\b({'|'.join(leaves)})" if parts else leaves


def load_adapter(folder: Path) -> Adapter:
    """Read a PEFT LoRA folder (safetensors and JSON only); UserError names what is missing or unsupported."""
    config = _read_config(folder)
    from safetensors.torch import load_file

    try:
        tensors = load_file(str(folder / WEIGHTS))
    except Exception as fault:  # the library raises half a dozen types; all mean: not a safetensors file
        raise UserError(
            f"{folder / WEIGHTS}: cannot be read as safetensors: {fault}; save the adapter again with PEFT"
        ) from fault
    sites = [key[len(_PREFIX) : -len(".lora_A.weight")] for key in tensors if key.endswith(".lora_A.weight")]
    sites.sort(key=_forward_order)
    try:
        a = tuple(tensors.pop(f"{_PREFIX}{s}.lora_A.weight") for s in sites)
        b = tuple(tensors.pop(f"{_PREFIX}{s}.lora_B.weight") for s in sites)
    except KeyError as fault:
        raise UserError(
            f"{folder / WEIGHTS}: tensor {fault} is missing; save the adapter again with PEFT"
        ) from None
    if not sites:
        raise UserError(
            f"{folder / WEIGHTS}: contains no LoRA factors of Linear layers; pass a plain LoRA adapter"
        )
    if tensors:
        raise UserError(
            f"{folder / WEIGHTS}: tensor {min(tensors)!r} is no LoRA factor; pass a plain LoRA adapter"
        )
    if any(t.ndim != 2 or not t.is_floating_point() for t in (*a, *b)):
        raise UserError(f"{folder / WEIGHTS}: factors must be float matrices; pass a plain LoRA adapter")
    ranks = {r for x, y in zip(a, b, strict=True) for r in (x.shape[0], y.shape[-1])}
    if ranks != {config["r"]}:
        raise UserError(f"{folder / WEIGHTS}: factors do not have the rank {config['r']} that {CONFIG} gives")
    scaling = float(config["lora_alpha"]) / (config["r"] ** 0.5 if config.get("use_rslora") else config["r"])
    return Adapter(tuple(sites), a, b, scaling)


def _read_config(folder: Path) -> dict[str, Any]:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise lacking(folder, name)
    try:
        config = intake.read_json(folder / CONFIG)
        kind, rank, alpha = config["peft_type"], config["r"], config["lora_alpha"]
        if type(rank) is not int or not 0 < rank < _LARGEST or type(alpha) not in (int, float):
            raise ValueError(f"r = {str(rank)[:20]}, lora_alpha = {str(alpha)[:20]}")
        if not abs(alpha) < _LARGEST:
            raise ValueError(f"lora_alpha = {str(alpha)[:20]}")
    except (OSError, ValueError, KeyError, TypeError) as fault:
        why = getattr(fault, "strerror", None) or fault
        raise UserError(
            f"{folder / CONFIG}: not a PEFT configuration ({why}); save the adapter again with PEFT"
        ) from None
    used = [key for key in _UNSUPPORTED if config.get(key)]
    if config.get("bias", "none") != "none":
        used.append(f"bias={config['bias']}")
    if str(config.get("init_lora_weights")).startswith(_MOVES_BASE):
        used.append(f"init_lora_weights={config['init_lora_weights']}")
    if kind != "LORA" or used:
        what = (", ".join(used) if kind == "LORA" else str(kind))[:200]
        raise UserError(f"{folder / CONFIG}: {what} is not supported; pass a plain LoRA adapter")
    return dict(config)


def base_model_of(folder: Path) -> str:
    """Return the base model in an adapter's configuration; empty where there is none."""
    named = _read_config(folder).get("base_model_name_or_path")
    return named if isinstance(named, str) else ""


def require_finite(adapter: Adapter, folder: Path) -> None:
    """Raise UserError where an adapter contains NaN or infinity, which would break every merge with it."""
    for name, a, b in zip(adapter.sites, adapter.A, adapter.B, strict=True):
        if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
            raise UserError(f"{folder / WEIGHTS}: {name} contains NaN or infinity; retrain the adapter")


def _forward_order(site: str) -> tuple[list[int], int, str]:
    numbers = [int(part) for part in site.split(".") if NUMBER.fullmatch(part)]
    leaf = site.rpartition(".")[2]
    order = ("q_proj", "k_proj", "v_proj", "o_proj")
    return numbers, order.index(leaf) if leaf in order else len(order), leaf
