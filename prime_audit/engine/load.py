"""Loading models and tokenizers from a folder, a GGUF file or the hub; every failure is one line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from prime_audit.assets import MINI
from prime_audit.engine import gguf_file
from prime_audit.engine.base import Base
from prime_audit.engine.checkpoint import (
    DTYPES,
    Source,
    installed,
    open_model,
    require_causal,
    require_vocabulary,
)
from prime_audit.engine.hub import advice, alone, is_gguf, pinned
from prime_audit.errors import UserError, first_line_of, unknown
from prime_audit.io import intake
from prime_audit.io.adapter_files import CONFIG
from prime_audit.io.log import verbose

OLD_LAYOUT = "0_Transformer"
"""Where old sentence-transformers folders keep the encoder itself."""


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
    role: str = "model",
) -> Base:
    """Load ``mini``, a local folder, a GGUF file or a hub id; no pickle, no remote code.

    ``targets`` names the Linear layers to adapt; with none the model only generates (a profiler, of any architecture).
    ``dtype`` auto is bfloat16 on CUDA and float32 elsewhere. ``context`` caps the model's own limit (tokens).
    ``role`` (model or profiler) names it in messages.

    Raises UserError where its files cannot be read or lack weights, where weights stay quantised, where it is no causal
    model, and where its tokenizer is for another vocabulary.
    """
    device = pick_device(device)
    kind = ("bfloat16" if device.startswith("cuda") else "float32") if dtype == "auto" else dtype
    if kind not in DTYPES:
        raise unknown("dtype", kind, DTYPES)
    place = resolve_model(model, role)
    with alone(place) as own, gguf_file.read_once() if is_gguf(place) else nullcontext():
        source = Source(role, model, own)
        opened = open_model(source, DTYPES[kind], device, plain=bool(targets))
        tokenizer = load_tokenizer(own, model, role)
    if opened.header is not None and opened.header.splits_digits:
        gguf_file.split_digits(tokenizer)
    require_vocabulary(opened.model, tokenizer, source)
    require_causal(opened.model, source)
    base = Base(opened.model, tokenizer, targets, model)
    base.notes = opened.notes
    base.file_sha256 = gguf_file.sha256(place) if is_gguf(place) else None
    if context is not None:
        base.codec.context = min(base.codec.context, context)
    return base


def resolve_model(model: str, role: str = "model") -> str:
    """Turn ``mini``, a local folder or a GGUF file into a path; the rest is a hub id, with an optional ``@revision``.

    An encoder may be a sentence-transformers folder, in the old layout too.
    """
    if model == "mini":
        return str(MINI)
    path = Path(model).expanduser()
    if path.is_dir():
        inner = path / OLD_LAYOUT
        if role == "encoder" and not (path / "config.json").exists() and (inner / "config.json").is_file():
            path = inner
        if not (path / "config.json").is_file():
            raise UserError(f"--{role} {model}: the folder has no config.json; {_instead(path, role)}")
        _require_plain(path, Source(role, model, str(path)))
        return str(path)
    if is_gguf(model) and path.is_file():
        if role == "encoder":
            raise UserError(
                f"--encoder {model}: a GGUF file is a language model here; pass an encoder's Hugging Face folder"
            )
        return str(path)
    if (
        path.exists()
        or model.startswith((".", "/", "~"))
        or is_gguf(model)
        or pinned(model)[0].count("/") > 1
    ):
        what = "GGUF file" if is_gguf(model) else "model folder"
        raise UserError(
            f"--{role} {model}: no such {what}; pass 'mini', a Hugging Face folder, a GGUF file or a hub id"
        )
    return model


def _instead(folder: Path, role: str) -> str:
    files = sorted(p.name for p in folder.iterdir() if is_gguf(p.name))
    if files and role != "encoder":
        return f"pass a GGUF file itself: --{role} {folder / files[0]}"
    return "pass a Hugging Face model folder"


def _require_plain(folder: Path, source: Source) -> None:
    """Refuse a folder that would make transformers load something else: an adapter's base, a compiled kernel."""
    if (folder / CONFIG).exists():
        raise source.fault(f"the folder contains an adapter ({CONFIG}); merge it, or remove it")
    config, why = None, "is no JSON object"
    try:
        config = intake.read_json(folder / "config.json")
    except OSError as fault:
        why = f"cannot be read ({fault.strerror})"
    except ValueError as fault:
        why = f"is damaged ({fault})"
    if not isinstance(config, dict):
        raise source.fault(f"cannot be loaded: config.json {why}; fix the file")
    for key in ("attn_implementation", "_attn_implementation", "_attn_implementation_internal"):
        if "/" in str(config.get(key)):
            raise source.fault(
                f"config.json names a kernel on a hub ({key}: {str(config[key])[:60]}), which is code; remove the entry"
            )


def load_tokenizer(place: str, name: str, role: str = "model") -> Any:
    """Load a tokenizer; UserError where there is none."""
    from transformers import AutoTokenizer

    where, options = pinned(place)
    try:
        return AutoTokenizer.from_pretrained(where, trust_remote_code=False, **options)
    except Exception as fault:
        lacking = [package for package in ("sentencepiece", "google.protobuf") if not installed(package)]
        if lacking and re.search("tiktoken|sentencepiece|protobuf", str(fault)):
            raise UserError(
                f"{role} {name}: its tokenizer is a SentencePiece model, and {' and '.join(lacking)} cannot be "
                "imported: pip install 'prime-audit[paper]'"
            ) from fault
        raise UserError(
            f"{role} {name}: its tokenizer cannot be loaded: {first_line_of(fault)}{advice(fault, place)}"
        ) from fault


def quiet_libraries() -> None:
    """Silence transformers' progress bars and notices, unless more is to be shown; errors are still printed."""
    if verbose():
        return
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
