"""A model's sizes, read from its configuration: nested, listed or different in every layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prime_audit.engine.rotations import stretched

if TYPE_CHECKING:
    import torch

_NAMES = {
    "context": ("max_position_embeddings", "max_seq_len", "max_sequence_length", "seq_length"),
    "layers": ("num_hidden_layers",),
    "hidden": ("hidden_size",),
    "inner": ("intermediate_size",),
    "heads": ("num_attention_heads",),
    "shared": ("num_key_value_heads",),
    "width": ("head_dim",),
    "vocabulary": ("vocab_size",),
}
"""Size → its names in configurations; transformers itself knows the names of older architectures."""
UNKNOWN = 2048
"""Context in tokens of a model that names none."""
STARTS = {"cpu": 1.4e8}
"""FLOPs that a device could do while a layer's operations are started.

On a CPU fitted to passes of 100 to 1,200 tokens of two models, of 0.2 and 3.5 million weights a layer.
"""
STARTS_GPU = 2e11
"""Assumed: half a millisecond at 4·10¹⁴ FLOP/s."""
FEW = 25
"""Tokens that a matrix product of few rows wastes."""


@dataclass(frozen=True)
class Shape:
    """Sizes of the part of a model that reads and writes text; where layers differ, the largest layer's."""

    context: int
    """Longest input in tokens."""
    layers: int
    hidden: int
    inner: int
    """Width inside an MLP."""
    heads: int
    shared: int
    """Heads of keys and values."""
    width: int
    """Of one head."""
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Read a configuration; sizes that it does not have are estimated."""
        text = text_config(config)
        known = {size: _largest(text, names) for size, names in _NAMES.items()}
        hidden = known["hidden"] or 1
        heads = known["heads"] or 1
        return cls(
            context=stretched(text) or known["context"] or UNKNOWN,
            layers=known["layers"] or 1,
            hidden=hidden,
            inner=known["inner"] or 4 * hidden,
            heads=heads,
            shared=known["shared"] or heads,
            width=known["width"] or max(1, hidden // heads),
            vocabulary=known["vocabulary"] or 1,
        )


def pass_worth(config: Any, device: torch.device) -> float:
    """Tokens that take as long as what a pass costs besides its tokens: many for a small model, few for a large one."""
    shape = Shape.of(config)
    attention = 2 * shape.hidden * (shape.heads + shape.shared) * shape.width
    each = 2 * (attention + 3 * shape.hidden * shape.inner)
    return FEW + STARTS.get(device.type, STARTS_GPU) / each


def text_config(config: Any) -> Any:
    """Return the configuration of a model's text part: for most models the whole."""
    return config.get_text_config(decoder=True)


def _largest(config: Any, names: tuple[str, ...]) -> int:
    """Return the largest number under the first of these names that has one; 0 where none has."""
    found = (max(_numbers(config, name), default=0) for name in names)
    return next(filter(None, found), 0)


def _numbers(config: Any, name: str) -> Iterator[int]:
    try:
        value = getattr(config, name, None)
    except RuntimeError:  # layers have values of their own, and transformers refuses to give one for all
        value = [getattr(layer, name, None) for layer in config.per_layer_config]
    for one in value if isinstance(value, list | tuple) else [value]:
        if type(one) is int and one > 0:
            yield one
