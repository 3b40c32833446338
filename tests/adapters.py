"""Change an adapter's files as other tools leave them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]


def configure(folder: Path, name: str = "adapter_config.json", **values: Any) -> None:
    """Set entries of a configuration."""
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change(folder: Path, how: Callable[[Tensors], Tensors], name: str = "adapter_model.safetensors") -> None:
    """Replace the tensors by what ``how`` makes of them."""
    tensors = {k: v.contiguous().clone() for k, v in how(load_file(folder / name)).items()}
    save_file(tensors, folder / name, metadata={"format": "pt"})
