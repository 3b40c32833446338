"""Queries, keys and values of a decoder layer: projected, split into heads, and rotated."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def project(attention: Any, x: Tensor, columns: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Compute queries of the chosen positions (None: of all), keys and values of all: [rows, heads, tokens, d] each.

    In the layer's own order: branches draw and read in this order.
    """
    width = attention.head_dim
    if hasattr(attention, "qkv_proj"):  # one projection, so one site: its queries are computed everywhere
        config = attention.config
        sizes = [n * width for n in (config.num_attention_heads, *[config.num_key_value_heads] * 2)]
        q, k, v = attention.qkv_proj(x).split(sizes, -1)
        q = q if columns is None else pick(q, columns)
    else:
        q = attention.q_proj(x if columns is None else pick(x, columns))
        k, v = attention.k_proj(x), attention.v_proj(x)
    if hasattr(attention, "q_norm"):
        q, k = _normed(attention.q_norm, q, width), _normed(attention.k_norm, k, width)
    return _heads(q, width), _heads(k, width), _heads(v, width)


def pick(x: Tensor, columns: Tensor) -> Tensor:
    """Take [rows, most, d] of [rows, tokens, d]."""
    return x.gather(1, columns[..., None].expand(-1, -1, x.shape[-1]))


def _normed(norm: Any, x: Tensor, width: int) -> Tensor:
    """Norm of each head, or of all heads together, [rows, tokens, heads · d]: by the size of the norm's weight."""
    if norm.weight.numel() != width:
        return norm(x)  # type: ignore[no-any-return]
    return norm(x.reshape(*x.shape[:-1], -1, width)).flatten(-2)  # type: ignore[no-any-return]


def _heads(x: Tensor, width: int) -> Tensor:
    return x.reshape(*x.shape[:-1], -1, width).transpose(1, 2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of [rows, heads, tokens, d] by [rows or 1, tokens, at most d]; the rest does not turn."""
    if x.requires_grad:
        return _Rotation.apply(x, cos[:, None], sin[:, None])  # type: ignore[no-any-return,no-untyped-call]
    return _turned(x, cos[:, None], sin[:, None])


def _turned(x: Tensor, cos: Tensor, sin: Tensor, back: bool = False) -> Tensor:
    """Return x · cos + (−second half, first half) · sin in two passes over the memory; ``back``: its transpose."""
    size, half = cos.shape[-1], cos.shape[-1] // 2
    one, two = slice(None, half), slice(half, size)
    # The sine goes with the half that it is added to; in the transposed map, with the half that it comes from.
    first, second = (sin[..., two], -1) if back else (sin[..., one], 1)
    other = sin[..., one] if back else sin[..., two]
    out = x.new_empty(x.shape)  # in the order of heads, as attention reads it
    torch.mul(x[..., :size], cos, out=out[..., :size])
    out[..., one].addcmul_(x[..., two], first, value=-second)
    out[..., two].addcmul_(x[..., one], other, value=second)
    out[..., size:] = x[..., size:]
    return out


class _Rotation(torch.autograd.Function):
    """:func:`_turned`, whose gradient is the turn back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(grads[0], cos, sin, back=True), None, None
