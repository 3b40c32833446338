"""LoRA adapters in PEFT's file format."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prime_audit.engine.keys import PREFIX, factors_of, leaf_of, sites_of
from prime_audit.engine.lora import Adapter, layer_of
from prime_audit.engine.unify import refactored
from prime_audit.errors import UserError
from prime_audit.io import intake
from prime_audit.io.adapter_files import CONFIG, WEIGHTS, lacking

_LARGEST = 1 << 20
"""Rank and alpha of an adapter have to be smaller."""
_SECONDS = 1.0
"""How long a pattern of a configuration may take to match a module's path; it may come from anybody."""
_PLAIN = "pass a plain LoRA adapter"
# Each of these changes the meaning of the stored factors; reading them as plain LoRA would be silently wrong.
# ``fan_in_fan_out`` is none of them: it is how the base stores a weight, and factors are stored alike for both.
_UNSUPPORTED: Mapping[str, str] = {
    "use_dora": "DoRA also rescales the base's weights, so the factors are a part only; train with use_dora=False",
    "lora_bias": "biases were trained beside the factors; train with lora_bias=False",
    "modules_to_save": "whole modules were trained beside the factors; train with modules_to_save=None",
    "trainable_token_indices": "rows of the embedding were trained beside the factors; train without them",
    "layer_replication": "the adapter is for a model with repeated layers, which this one is not; train without it",
    "target_parameters": "it adapts parameters that are no Linear layers; name Linear layers in target_modules",
    "alora_invocation_tokens": "aLoRA applies from certain tokens on only; train without it",
    **dict.fromkeys(
        ("use_qalora", "use_bdlora", "arrow_config", "kasa_config", "monteclora_config"),
        f"this variant does not compute B·A of its input; {_PLAIN}",
    ),
}
_TEXT_PARTS = ("language_model", "text_model")
"""Names of the part of a multimodal model that reads and writes text."""
_MOVES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that change the base's own weights: the factors alone are not what was trained."""
_CONVERTIBLE = frozenset(
    {"LOHA", "LOKR", "VERA", "PVERA", "RANDLORA", "FOURIERFT", "C3A", "WAVEFT", "SHIRA", "HIRA", "MISS"}
)
"""Kinds of adapters for which PEFT computes a LoRA of nearly the same update."""


def save_adapter(
    adapter: Adapter, folder: Path, *, base_model: str = "", dropout: float = 0.0, revision: str = ""
) -> None:
    """Write ``adapter_model.safetensors`` and ``adapter_config.json`` as PEFT does; no file is left half-written."""
    from peft import LoraConfig
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, a, b in zip(adapter.sites, adapter.A, adapter.B, strict=True):
        tensors[f"{PREFIX}{name}.lora_A.weight"] = a.detach().cpu().contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = b.detach().cpu().contiguous()
    alpha = adapter.scaling * adapter.rank
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=int(alpha) if float(alpha).is_integer() else alpha,
        lora_dropout=dropout,
        task_type="CAUSAL_LM",
        base_model_name_or_path=base_model or None,
        revision=revision or None,
        inference_mode=True,
    )
    config.target_modules = _targets(
        adapter.sites
    )  # PEFT made a set of it, whose order differs between processes
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as draft:
        save_file(tensors, f"{draft}/{WEIGHTS}", metadata={"format": "pt"})
        config.save_pretrained(draft)
        for name in (WEIGHTS, CONFIG):
            Path(draft, name).replace(folder / name)


def _targets(sites: Sequence[str]) -> list[str] | str:
    """Name what PEFT is to adapt: projections, or single modules where some layers lack one of the projections.

    For a model that also sees, it is a pattern: its other encoders have the same names.
    """
    layers: dict[str, set[int]] = {}
    for site in sites:
        layers.setdefault(leaf_of(site), set()).add(layer_of(site))
    every = set(range(1 + max(map(layer_of, sites))))
    if any(own not in ({-1}, every) for own in layers.values()):
        return sorted(set(sites))
    leaves = sorted(layers)
    parts = {part for name in sites for part in name.split(".") if part in _TEXT_PARTS}
    return rf".*\b({'|'.join(sorted(parts))})\..*\b({'|'.join(leaves)})" if parts else leaves


def load_adapter(folder: Path) -> Adapter:
    """Read a PEFT LoRA folder (safetensors and JSON only) as one rank and scaling.

    Ranks and scalings of single modules (``rank_pattern``, ``alpha_pattern``) are folded into the factors,
    rounded once to float32. Factors in float8 become float32. Modules are named as in the file.

    Raises UserError that names what is missing or unsupported.
    """
    config = _read_config(folder)
    with _opened(folder) as file:
        found = _factors(file, config)
        sites = sites_of(found)
        pairs = [tuple(_factor(file, found[site, side]) for side in "AB") for site in sites]
    ranks, scalings = list[int](), list[float]()
    for site, (a, b) in zip(sites, pairs, strict=True):
        r = _in_pattern(config, "rank_pattern", site, config["r"], folder)
        alpha = _in_pattern(config, "alpha_pattern", site, config["lora_alpha"], folder)
        if {a.shape[0], b.shape[1]} != {r}:
            raise UserError(
                f"{folder / WEIGHTS}: factors do not have the rank {r} that {CONFIG} gives: A of {site} has "
                f"{a.shape[0]}, B {b.shape[1]}; correct r (or rank_pattern) there, because it also scales the update"
            )
        ranks.append(r)
        scalings.append(float(alpha) / (r**0.5 if config.get("use_rslora") else r))
    scaling = next(filter(None, scalings), 0.0)
    fitted = [
        refactored(a, b, max(ranks), own / scaling if scaling else 1)
        for (a, b), own in zip(pairs, scalings, strict=True)
    ]
    return Adapter(sites, tuple(a for a, _ in fitted), tuple(b for _, b in fitted), scaling)


def tensors_of(folder: Path) -> dict[str, str]:
    """Map the modules that an adapter changes to the tensors with their A; only the header of the file is read."""
    config = _read_config(folder)
    with _opened(folder) as file:
        found = _factors(file, config)
    return {site: found[site, "A"] for site in sites_of(found)}


def unknown_entries(folder: Path) -> list[str]:
    """List the entries of a configuration that the installed PEFT does not know, if they say anything."""
    from peft import LoraConfig

    known = LoraConfig.__dataclass_fields__
    return [str(key)[:60] for key, value in _read_config(folder).items() if value and key not in known]


@contextmanager
def _opened(folder: Path) -> Iterator[Any]:
    """Open the weights; what is wrong with them (ValueError) becomes a UserError with their path."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(folder / WEIGHTS), framework="pt") as file:
            yield file
    except ValueError as fault:
        raise UserError(f"{folder / WEIGHTS}: {fault}") from None
    except (SafetensorError, OSError, RuntimeError) as fault:
        raise UserError(
            f"{folder / WEIGHTS}: cannot be read as safetensors: {fault}; save the adapter again with PEFT"
        ) from fault


def _factors(file: Any, config: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Find the factors; ValueError where a tensor is none, or PEFT would not read it."""
    found, named = factors_of(file.keys()), config.get("target_modules")
    if isinstance(named, list) and named:
        leaves = {leaf_of(str(name)) for name in named}
        if odd := next((site for site, _ in found if leaf_of(site) not in leaves), None):
            raise ValueError(
                f"has factors of {odd}, which target_modules in {CONFIG} does not name, so PEFT leaves them out; "
                "correct target_modules"
            )
    return found


def _factor(file: Any, key: str) -> Tensor:
    """Read a factor in a format that can be computed with; ValueError where it is no float matrix."""
    tensor: Tensor = file.get_tensor(key)
    if tensor.numel() == 0 or tensor.ndim == 1:
        how = "flat" if tensor.numel() else "empty"
        raise ValueError(
            f"tensor {key!r} is {how} (shape {list(tensor.shape)}), as DeepSpeed ZeRO-3 saves it before gathering: "
            "convert the checkpoint with its zero_to_fp32.py, or save with stage3_gather_16bit_weights_on_model_save"
        )
    if tensor.ndim != 2 or not tensor.is_floating_point():
        raise ValueError(f"tensor {key!r}: factors must be float matrices; {_PLAIN}")
    return tensor.float() if tensor.dtype.itemsize == 1 else tensor  # float8: every number of it is a float32


def _in_pattern(config: Mapping[str, Any], key: str, site: str, usual: float, folder: Path) -> Any:
    """Read rank or alpha of a module by PEFT's rule: the first pattern that matches the end of its path."""
    if not (patterns := config.get(key)):
        return usual
    import regex  # as re, with a limit of time

    for pattern, value in patterns.items():
        try:
            if regex.match(rf"(.*\.)?({pattern})$", site, timeout=_SECONDS):
                return value
        except (regex.error, TimeoutError) as fault:
            raise UserError(
                f"{folder / CONFIG}: {key}: the pattern {pattern[:60]!r} cannot be matched ({fault}); simplify it"
            ) from None
    return usual


def _read_config(folder: Path) -> dict[str, Any]:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise lacking(folder, name)
    try:
        config = intake.read_json(folder / CONFIG)
        kind = config["peft_type"]
        if kind != "LORA":
            raise UserError(f"{folder / CONFIG}: {_other_kind(str(kind))}")
        _require_numbers(config["r"], config["lora_alpha"], "r", "lora_alpha")
        for value in (config.get("rank_pattern") or {}).values():
            _require_numbers(value, 1, "rank_pattern", "")
        for value in (config.get("alpha_pattern") or {}).values():
            _require_numbers(1, value, "", "alpha_pattern")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        why = getattr(fault, "strerror", None) or fault
        raise UserError(
            f"{folder / CONFIG}: not a PEFT configuration ({why}); save the adapter again with PEFT"
        ) from None
    used = {key: why for key, why in _UNSUPPORTED.items() if config.get(key)}
    if (bias := config.get("bias") or "none") != "none":
        used[f"bias={bias}"] = 'biases of the base were trained beside the factors; train with bias="none"'
    if str(start := config.get("init_lora_weights")).lower().startswith(_MOVES_BASE):
        used[f"init_lora_weights={start}"] = (
            "it changes the base's weights before training, so the factors belong to another base; "
        ) + (
            "train with another init_lora_weights"
            if "loftq" in start.lower()
            else "save with path_initial_model_for_weight_conversion, which makes it a plain LoRA"
        )
    if used:
        raise UserError(
            f"{folder / CONFIG}: {', '.join(used)[:200]} is not supported: {next(iter(used.values()))}"
        )
    return dict(config)


def _require_numbers(rank: Any, alpha: Any, rank_key: str, alpha_key: str) -> None:
    if type(rank) is not int or not 0 < rank < _LARGEST:
        raise ValueError(f"{rank_key} = {str(rank)[:20]}")
    if type(alpha) not in (int, float) or not abs(alpha) < _LARGEST:
        raise ValueError(f"{alpha_key} = {str(alpha)[:20]}")


def _other_kind(kind: str) -> str:
    said = f"{kind[:60]} is not supported: only LoRA adapters can be merged"
    if kind in _CONVERTIBLE:
        return f"{said}; convert it with peft.save_as_lora, which finds the nearest LoRA of a rank"
    return f"{said}; {_PLAIN}"


def base_model_of(folder: Path) -> str:
    """Return the base model in an adapter's configuration; empty where there is none."""
    named = _read_config(folder).get("base_model_name_or_path")
    return named if isinstance(named, str) else ""


def last_part(name: str) -> str:
    """Last part of a base model's name, without folders, owner and revision."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2].partition("@")[0]


def require_finite(adapter: Adapter, folder: Path) -> None:
    """Raise UserError where an adapter contains NaN or infinity, which would break every merge with it."""
    for name, a, b in zip(adapter.sites, adapter.A, adapter.B, strict=True):
        if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
            raise UserError(f"{folder / WEIGHTS}: {name} contains NaN or infinity; retrain the adapter")
