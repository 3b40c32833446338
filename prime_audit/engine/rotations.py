"""Rotary embeddings that depend on a text's length (LongRoPE, dynamic NTK): each row is rotated by its own length.

transformers rotates a whole batch by its longest position, and dynamic NTK by earlier batches too: a short text beside
a long one would get other numbers than alone. Here every row gets what a batch of one, in a fresh model, gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

REREADS = ("phi3", "phimoe")
"""Architectures whose own ``generate`` reads the text again with the new rotation, once it passes a length."""


def rotate_by_row(model: nn.Module) -> int | None:
    """Make every rotary embedding of a model treat each row of a batch alone.

    Returns the longest length in tokens up to which no rotation changes; None where none ever does. A row's length is
    its largest position, so padding must repeat the last position of its row (:func:`positions`).
    """
    shortest = None
    for module in model.modules():
        kinds = getattr(module, "rope_type", None)
        for layer, kind in kinds.items() if isinstance(kinds, dict) else [(None, kinds)]:
            if kind == "longrope" or "dynamic" in str(kind):
                shortest = min(shortest or (1 << 62), _original(module, layer))
                if not isinstance(module.forward, partial):
                    module.forward = partial(_by_row, module, module.forward)
    return shortest


def positions(lengths: Sequence[int], device: torch.device) -> Tensor:
    """Positions of rows padded on the right, [rows, longest]; padding repeats its row's last position."""
    last = torch.tensor(lengths, device=device)[:, None] - 1
    return torch.minimum(torch.arange(max(lengths), device=device)[None], last)


def reread_after(config: Any) -> int | None:
    """Length in tokens after which the model's own ``generate`` reads a text again; None where it never does."""
    found = getattr(config, "original_max_position_embeddings", None)
    return found if config.model_type in REREADS else None


def stretched(config: Any) -> int | None:
    """Longest text of a model with dynamic NTK, whose configuration gives the length before stretching."""
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "dynamic":
        return None
    return int(config.max_position_embeddings * max(1.0, rope.get("factor") or 1.0))


def _original(module: Any, layer: str | None) -> int:
    """Length up to which a rotation does not change."""
    rope = module.config.rope_parameters
    named = (rope if layer is None else rope[layer]).get("original_max_position_embeddings")
    kind = module.rope_type if layer is None else module.rope_type[layer]
    return int(named if kind == "longrope" else module.original_max_seq_len)


def _by_row(
    module: Any, whole: Any, x: Tensor, position_ids: Tensor, layer_type: str | None = None
) -> tuple[Tensor, Tensor]:
    """Call a rotary embedding once for each length that matters: cos and sin, [rows, tokens, d] each."""
    kind = module.rope_type if layer_type is None else module.rope_type[layer_type]
    call = partial(whole, x, **({} if layer_type is None else {"layer_type": layer_type}))
    if not (kind == "longrope" or "dynamic" in kind):
        return call(position_ids=position_ids)  # type: ignore[no-any-return]
    lengths = position_ids.amax(-1) + 1
    original = _original(module, layer_type)
    # LongRoPE has two rotations; dynamic NTK has one for each length beyond the original.
    lengths = (lengths > original).long() if kind == "longrope" else lengths.clamp(min=original)
    found: list[Tensor] = []
    for length in sorted(set(lengths.tolist())):
        _refresh(module)
        rows = (lengths == length).nonzero()[:, 0]
        turned = call(position_ids=position_ids[rows])
        found = found or [turned[0].new_empty(*position_ids.shape, t.shape[-1]) for t in turned]
        for into, part in zip(found, turned, strict=True):
            into[rows] = part
    return found[0], found[1]


def _refresh(module: Any) -> None:
    """Forget earlier lengths: dynamic NTK keeps the rotation of the longest text it has seen."""
    for name in list(_rotations(module)):
        prefix = name.removesuffix("original_inv_freq")
        setattr(module, f"{prefix}inv_freq", getattr(module, name).clone())
        setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)


def _rotations(module: nn.Module) -> Iterator[str]:
    named = [name for name, _ in module.named_buffers(recurse=False)]
    return (name for name in named if name.endswith("original_inv_freq"))
