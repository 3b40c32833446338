"""Loading models and tokenizers from a folder or the hub; every failure is one line."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from prime_audit.assets import MINI
from prime_audit.engine.base import Base
from prime_audit.engine.hub import advice, pinned
from prime_audit.errors import UserError, unknown
from prime_audit.io import intake
from prime_audit.io.adapter_files import CONFIG

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(device: str) -> str:
    """Resolve ``auto``; UserError where CUDA is requested and absent."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            "--device cuda: torch sees no CUDA device; use --device cpu, or install a CUDA build of torch"
        )
    return device


def load_base(
    model: str,
    *,
    targets: Sequence[str],
    device: str = "auto",
    dtype: str = "auto",
    context: int | None = None,
) -> Base:
    """Load ``mini``, a local folder or a hub id; safetensors only, no remote code.

    ``targets`` names the Linear layers to adapt; with none the model only generates (a profiler, of any make).
    ``dtype`` auto is bfloat16 on CUDA and float32 elsewhere. ``context`` caps the model's own limit (tokens).
    Raises UserError where the folder, its weights or its tokenizer cannot be read.
    """
    device = pick_device(device)
    kind = ("bfloat16" if device.startswith("cuda") else "float32") if dtype == "auto" else dtype
    if kind not in DTYPES:
        raise unknown("dtype", kind, DTYPES)
    source = resolve_model(model)
    loaded = from_pretrained(_auto_class(source, model), source, model, dtype=DTYPES[kind])
    base = Base(loaded.to(device), load_tokenizer(source, model), targets, model)
    if context is not None:
        base.codec.context = min(base.codec.context, context)
    return base


def _auto_class(source: str, model: str) -> Any:
    """Return transformers' class for causal models, or for images and text where a make has only that."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto import modeling_auto as known

    place, revision = pinned(source)
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False, **revision)
    except Exception:  # loading the model reads it again and reports what is wrong
        return AutoModelForCausalLM
    if type(config) in known.MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    if type(config) in known.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForImageTextToText
    raise UserError(
        f"model {model}: {config.model_type} is no make of causal language models; pass a text-generation model"
    )


def resolve_model(model: str) -> str:
    """Turn ``mini`` or a local folder into a path; anything else is a hub id, with an optional ``@revision``."""
    if model == "mini":
        return str(MINI)
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(
                f"--model {model}: the folder has no config.json; pass a Hugging Face model folder"
            )
        _require_plain(path, model)
        return str(path)
    if path.exists() or model.startswith((".", "/", "~")) or pinned(model)[0].count("/") > 1:
        raise UserError(
            f"--model {model}: no such model folder; pass 'mini', a Hugging Face folder or a hub id"
        )
    return model


def _require_plain(folder: Path, name: str) -> None:
    """Refuse a folder that would make transformers load something else: an adapter's base, a compiled kernel."""
    if (folder / CONFIG).exists():
        raise UserError(f"--model {name}: the folder contains an adapter ({CONFIG}); merge it, or remove it")
    try:
        config = intake.read_json(folder / "config.json")
    except OSError as fault:
        raise UserError(
            f"model {name}: cannot be loaded: config.json: {fault.strerror}; fix the file"
        ) from None
    except ValueError as fault:
        raise UserError(
            f"model {name}: cannot be loaded: config.json is damaged ({fault}); fix the file"
        ) from None
    if not isinstance(config, dict):
        raise UserError(f"model {name}: cannot be loaded: config.json is no JSON object; fix the file")
    for key in ("attn_implementation", "_attn_implementation", "_attn_implementation_internal"):
        if "/" in str(config.get(key)):
            raise UserError(
                f"model {name}: config.json names a kernel on a hub ({key}: {str(config[key])[:60]}), which is code; "
                "remove the entry"
            )


def from_pretrained(auto: Any, source: str, name: str, **options: Any) -> Any:
    """Call ``auto.from_pretrained`` safely and turn every way it fails into one line."""
    place, revision = pinned(source)
    try:
        return auto.from_pretrained(
            place, trust_remote_code=False, use_safetensors=True, **revision, **options
        )
    except Exception as fault:  # the loaders raise a dozen types; all mean: this model cannot be used
        what_to_do = _convert(auto, source, fault) or advice(fault, source)
        raise UserError(f"model {name}: cannot be loaded: {_first_line(fault)}{what_to_do}") from fault


def _convert(auto: Any, source: str, fault: Exception) -> str:
    """Explain how to convert weights that exist only as .bin; empty where that is not the problem."""
    folder = Path(source)
    bare = any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors"))
    lacking = not folder.is_dir() and "file named" in str(fault) and ".safetensors" in str(fault)
    if not (bare or lacking):
        return ""
    return (
        "; only safetensors files are read, a .bin file may contain code; if you trust it, convert it: python -c "
        f"\"from transformers import {auto.__name__} as M, AutoTokenizer as T; M.from_pretrained('{source}')"
        f".save_pretrained('NEW'); T.from_pretrained('{source}').save_pretrained('NEW')\", and pass the folder NEW"
    )


def load_tokenizer(source: str, name: str) -> Any:
    """Load a tokenizer; UserError where there is none."""
    from transformers import AutoTokenizer

    place, revision = pinned(source)
    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False, **revision)
    except Exception as fault:
        lacking = [package for package in ("sentencepiece", "google.protobuf") if not _installed(package)]
        if lacking and re.search("tiktoken|sentencepiece|protobuf", str(fault)):
            raise UserError(
                f"model {name}: its tokenizer is a SentencePiece model, and {' and '.join(lacking)} cannot be "
                "imported: pip install 'prime-audit[paper]'"
            ) from fault
        raise UserError(
            f"model {name}: its tokenizer cannot be loaded: {_first_line(fault)}{advice(fault, source)}"
        ) from fault


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # not even its parent
        return False


def _first_line(fault: Exception) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0][:300]


def quiet_libraries() -> None:
    """Silence transformers' progress bars and notices; errors are still printed."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
