"""What is known of a model before anything of it is loaded, without torch: whether it is there, and its weights."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

from prime_audit.assets import MINI
from prime_audit.engine import gguf_file
from prime_audit.engine.hub import is_gguf, pinned
from prime_audit.io import intake

_HEADER = 100_000_000
"""Most bytes of a safetensors header, as its own library has it."""
_WAIT = 5.0
"""Seconds to wait for the hub."""


def weights(model: str) -> int | None:
    """Count the weights of ``mini``, a folder, a GGUF file or a hub id; None where its files do not tell.

    The larger of what its safetensors headers list and what its configuration means (12·layers·hidden² +
    vocabulary·hidden, a plain transformer): a packed checkpoint lists too few. A damaged or missing file is no fault
    here: whoever loads the model reports it.
    """
    try:
        if is_gguf(model):
            return gguf_file.elements(str(Path(model).expanduser()))
        folder = MINI if model == "mini" else Path(model).expanduser()
        if not folder.is_dir():
            return _on_the_hub(model)
        return _in_folder(folder)
    except (OSError, ValueError):
        return None


def require_model(model: str, role: str = "model") -> None:
    """Raise UserError for a path at which there is no model: before data are read, which may take long."""
    place = Path(model).expanduser()
    there = (place / "config.json").is_file() or (is_gguf(model) and place.is_file())
    id_on_hub = not (
        place.exists() or is_gguf(model) or model.startswith((".", "/", "~")) or model.count("/") > 1
    )
    if not there and not id_on_hub:
        from prime_audit.engine.load import resolve_model  # torch, only to say what is wrong

        resolve_model(model, role)


def _in_folder(folder: Path) -> int | None:
    """Count what a folder's headers list, or what its configuration means where that is more."""
    listed = sum(map(_listed, sorted(folder.glob("*.safetensors"))))
    return max(listed, _meant(intake.read_json(folder / "config.json"))) or None


def _on_the_hub(model: str) -> int | None:
    """Count a hub id's weights: of its files in the cache, else as the hub lists them; one try of some seconds."""
    from huggingface_hub import model_info, try_to_load_from_cache
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # its client's, which versions change

    name, options = pinned(model)
    revision = options.get("revision")
    if isinstance(found := try_to_load_from_cache(name, "config.json", revision=revision), str):
        return _in_folder(Path(found).parent)
    try:
        listed = model_info(name, revision=revision, timeout=_WAIT, expand=["safetensors"]).safetensors
    except (OSError, ValueError, HTTPError):  # loading the model says what is wrong
        return None
    return listed.total if listed else None


def _listed(file: Path) -> int:
    """Count the weights that a safetensors file's header lists."""
    with intake.open_file(file) as stream:
        try:
            (size,) = struct.unpack("<Q", stream.read(8))
        except struct.error:
            raise ValueError("it ends early") from None
        if size > _HEADER:
            raise ValueError("its header is too long")
        header = intake.parse_json(stream.read(size).decode())
    entries = [header[name] for name in _table(header) if name != "__metadata__"]
    return sum(math.prod(_sides(_table(entry).get("shape"))) for entry in entries)


def _sides(shape: Any) -> list[int]:
    if not isinstance(shape, list) or not all(type(side) is int for side in shape):
        raise ValueError("a tensor has no shape")
    return shape


def _meant(config: Any) -> int:
    """Estimate the weights of a configuration; 0 where it names no sizes."""
    text = _table(_table(config).get("text_config", config))

    def number(*names: str) -> int:
        found = (text.get(name) for name in names)
        return next((value for value in found if type(value) is int and value > 0), 0)

    hidden, layers = number("hidden_size", "n_embd", "d_model"), number("num_hidden_layers", "n_layer")
    return 12 * layers * hidden**2 + number("vocab_size") * hidden


def _table(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    return content
