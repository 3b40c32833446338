"""The last decoder layer, computed only where its output is needed.

Its keys and values are needed everywhere, but its queries, output projection and MLP only at positions whose logits
are needed: a few gold tokens, or a prompt's last. With four layers that saves a fifth of all work; with thirty-two a
thirty-fifth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from prime_audit.engine.attention import softcap


@dataclass(frozen=True, eq=False)
class Places:
    """Positions of a batch, some in every row."""

    columns: Tensor
    """int64 [rows, most]: each row's positions; a row with fewer repeats its last."""
    flat: tuple[list[int], list[int]]
    """(row, place in ``columns``) of each position, in the caller's order."""

    @classmethod
    def of(cls, count: int, rows: Sequence[int], columns: Sequence[int], device: torch.device) -> Places:
        """Sort positions (row, column) by row; every one of the ``count`` rows has at least one."""
        own: list[list[int]] = [[] for _ in range(count)]
        order = []
        for row, column in zip(rows, columns, strict=True):
            order.append(len(own[row]))
            own[row].append(column)
        most = max(map(len, own))
        table = [[*some, *[some[-1]] * (most - len(some))] for some in own]
        return cls(torch.tensor(table, device=device), (list(rows), order))


class LastLayer:
    """Replaces the forward pass of a model's last decoder layer (architectures of ``base.KINDS``).

    Their layers differ in which norms they have: before a part, as Llama's, after it, as OLMo 2's, or both, as Gemma's.
    """

    def __init__(self, layer: Any) -> None:
        self._layer, self._whole, self._places = layer, layer.forward, None
        layer.forward = self._forward

    _places: Places | None

    @contextmanager
    def only(self, places: Places) -> Iterator[None]:
        """Make the layer return its output [rows, most, d] at these places alone."""
        self._places = places
        try:
            yield
        finally:
            self._places = None

    def _forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **options: Any) -> Any:
        places = self._places
        if places is None:
            return self._whole(hidden_states, attention_mask=attention_mask, **options)
        layer = self._layer
        before = getattr(layer, "input_layernorm", _same)
        asked = _pick(hidden_states, places.columns)
        attended = self._attend(before(hidden_states), places.columns, attention_mask, **options)
        if not hasattr(layer, "post_feedforward_layernorm"):
            asked = asked + attended
            return asked + layer.mlp(layer.post_attention_layernorm(asked))
        asked = asked + layer.post_attention_layernorm(attended)
        inner = getattr(layer, "pre_feedforward_layernorm", _same)(asked)
        return asked + layer.post_feedforward_layernorm(layer.mlp(inner))

    def _attend(
        self,
        x: Tensor,
        columns: Tensor,
        mask: Tensor | None,
        *,
        position_embeddings: tuple[Tensor, Tensor],
        past_key_values: Any = None,
        **_: Any,
    ) -> Tensor:
        """Attention of the chosen positions over all, with the layer's own projections, rotation and kernel."""
        attention = self._layer.self_attn
        cos, sin = (t.expand(len(x), -1, -1) for t in position_embeddings)
        q, k, v = _project(attention, x, columns)
        q, k = _rotate(q, _pick(cos, columns), _pick(sin, columns)), _rotate(k, cos, sin)
        if past_key_values is not None:
            k, v = past_key_values.update(k, v, attention.layer_idx)
        kernel = ALL_ATTENTION_FUNCTIONS.get_interface(attention.config._attn_implementation, None)
        out, _ = kernel(
            attention,
            q,
            k,
            v,
            _sees(columns, k.shape[2], mask),
            dropout=0.0,
            scaling=attention.scaling,
            softcap=softcap(attention.config),
        )
        projected: Tensor = attention.o_proj(out.reshape(*columns.shape, -1).contiguous())
        return projected


def _pick(x: Tensor, columns: Tensor) -> Tensor:
    """Take [rows, most, d] of [rows, tokens, d]."""
    return x.gather(1, columns[..., None].expand(-1, -1, x.shape[-1]))


def _same(x: Tensor) -> Tensor:
    return x


def _project(attention: Any, x: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute queries of the chosen positions, keys and values of all: [rows, heads, tokens, d] each.

    In the layer's own order: branches draw and read in this order.
    """
    width = attention.head_dim
    if hasattr(attention, "qkv_proj"):  # one projection, so one site: its queries are computed everywhere
        config = attention.config
        sizes = [n * width for n in (config.num_attention_heads, *[config.num_key_value_heads] * 2)]
        q, k, v = attention.qkv_proj(x).split(sizes, -1)
        q = _pick(q, columns)
    else:
        q, k, v = attention.q_proj(_pick(x, columns)), attention.k_proj(x), attention.v_proj(x)
    if hasattr(attention, "q_norm"):
        q, k = _normed(attention.q_norm, q, width), _normed(attention.k_norm, k, width)
    return _heads(q, width), _heads(k, width), _heads(v, width)


def _normed(norm: Any, x: Tensor, width: int) -> Tensor:
    """Norm of each head, or of all heads together, [rows, tokens, heads · d]: by the size of the norm's weight."""
    if norm.weight.numel() != width:
        return norm(x)  # type: ignore[no-any-return]
    return norm(x.reshape(*x.shape[:-1], -1, width)).flatten(-2)  # type: ignore[no-any-return]


def _heads(x: Tensor, width: int) -> Tensor:
    return x.reshape(*x.shape[:-1], -1, width).transpose(1, 2)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of [rows, heads, tokens, d] by [rows, tokens, at most d]; the rest does not turn."""
    size, half = cos.shape[-1], cos.shape[-1] // 2
    turned = torch.cat([-x[..., half:size], x[..., :half]], -1)
    rotated = (x[..., :size] * cos[:, None] + turned * sin[:, None]).to(x.dtype)
    return rotated if size == x.shape[-1] else torch.cat([rotated, x[..., size:]], -1)


def _sees(columns: Tensor, tokens: int, mask: Tensor | None) -> Tensor:
    """Return the chosen positions' rows of the attention mask, [rows, 1, most, tokens]; by default causal."""
    if mask is None:
        return (torch.arange(tokens, device=columns.device) <= columns[..., None])[:, None]
    return mask.expand(len(columns), -1, -1, -1).gather(
        2, columns[:, None, :, None].expand(-1, 1, -1, tokens)
    )
