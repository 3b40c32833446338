"""Attention within short texts on a CPU, in a few batched products.

torch's fused kernel is made for long texts: on rows of a hundred tokens it reaches a quarter of a matrix product's
speed, and its backward pass less. Here queries are split into blocks, each over the keys up to its own end, so little
is computed that causality hides. Same formula, only for float32 and float64, other rounding in the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "prime_audit_short"
"""Its name in transformers."""
LONGEST = 160
"""Tokens of the longest row that is split; beyond, the fused kernel is faster and needs less memory."""
BLOCK = 48
"""Queries of a block."""

EXACT = (torch.float32, torch.float64)
"""Number formats whose softmax may be written out; for half formats torch's kernel sums in float32."""
FEW = 4
"""Heads that share a key, up to which torch's kernel is faster on them as they are than packed into one."""


def install(model: Any) -> None:
    """Make a model on a CPU that uses torch's attention use this one; others do not change."""
    own = ("sdpa",) if softcap(model.config) is None else ("sdpa", "eager")
    if model.device.type == "cpu" and model.config._attn_implementation in own:
        model.set_attn_implementation(NAME)


def softcap(config: Any) -> float | None:
    """Bound of attention's scores, as Gemma 2 has: scores become cap · tanh(scores / cap)."""
    return config.attn_logit_softcapping if config.model_type == "gemma2" else None


def fused(config: Any) -> bool:
    """Whether a model's attention is torch's, or this one: it accepts our masks."""
    return config._attn_implementation in ("sdpa", NAME)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention in transformers' interface: query [rows, heads, tokens, d] to [rows, tokens, heads, d].

    Longer rows go to torch's kernel. Keys of few heads go there as they are: transformers would repeat or pack shared
    keys, which helps only other devices. Other devices and types go to transformers' function.
    """
    short = 1 < query.shape[2] == key.shape[2] <= LONGEST
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if (cap := options.get("softcap")) is not None and query.device.type == "cpu" and not dropout:
        return _capped(query, key, value, attention_mask, scale, cap).transpose(1, 2).contiguous(), None
    if query.device.type != "cpu" or query.dtype not in EXACT or dropout or _special(options):
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module, query, key, value, attention_mask, dropout, scaling, **options
        )
    if attention_mask is None and short:
        out: Tensor = _Blocks.apply(query, key, value, scale)  # type: ignore[no-untyped-call]
    elif attention_mask is not None and short and attention_mask.is_floating_point():
        out = _masked(query, key, value, attention_mask, scale)
    elif query.shape[1] <= FEW * key.shape[1]:
        causal = attention_mask is None and query.shape[2] > 1
        out = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask, scale=scale, is_causal=causal, enable_gqa=True
        )
    else:
        return sdpa_attention_forward(module, query, key, value, attention_mask, 0.0, scaling, **options)  # type: ignore[no-any-return]
    return out.transpose(1, 2).contiguous(), None


def _special(options: Mapping[str, Any]) -> bool:
    """Whether a model passes options that only transformers' own function supports."""
    return any(options.get(name) is not None for name in ("is_causal", "position_bias", "softcap", "cache"))


ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)


@cache
def _future(start: int, stop: int, groups: int, dtype: torch.dtype) -> Tensor:
    """Hide from queries start … stop-1 the keys behind them, for every head that shares a key: [queries, stop]."""
    hidden = torch.full((stop - start, stop), -torch.inf, dtype=dtype, device="cpu").triu(start + 1)
    return hidden.repeat(groups, 1)


def _masked(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Attention under an additive mask [rows, 1, tokens, tokens], whole: [rows, heads, tokens, d]."""
    rows, heads, tokens, d = query.shape
    shared = key.shape[1]
    k, v = key.reshape(-1, tokens, d), value.reshape(-1, tokens, d)
    looks = torch.bmm(query.reshape(rows * shared, -1, d) * scale, k.transpose(1, 2))
    looks = (looks.view(rows, heads, tokens, tokens) + mask).view(rows * shared, -1, tokens)
    return torch.bmm(torch.softmax(looks, -1), v).view(rows, heads, tokens, d)


def _capped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, cap: float
) -> Tensor:
    """Attention with soft-capped scores, as transformers' eager one: [rows, heads, tokens, d].

    Blocks of queries bound the memory; without a mask each sees the keys up to its own end.
    """
    rows, heads, tokens, d = query.shape
    shared, keys = key.shape[1], key.shape[2]
    q, k, v = query.reshape(rows, shared, -1, tokens, d), key[:, :, None], value[:, :, None]
    parts = []
    for start, stop in _cuts(tokens):
        most = keys if mask is not None else keys - tokens + stop
        looks = torch.matmul(q[..., start:stop, :] * scale, k[..., :most, :].transpose(-1, -2))
        looks = torch.tanh(looks / cap) * cap
        if mask is None:
            looks = looks + _future(keys - tokens + start, most, 1, looks.dtype)
        elif mask.dtype == torch.bool:
            looks = looks.masked_fill(~mask[:, :, None, start:stop], -torch.inf)
        else:
            looks = looks + mask[:, :, None, start:stop]
        parts.append(
            torch.matmul(torch.softmax(looks, -1, dtype=torch.float32).to(v.dtype), v[..., :most, :])
        )
    return torch.cat(parts, -2).view(rows, heads, tokens, d)


class _Blocks(torch.autograd.Function):
    """softmax(scale · q kᵀ + causal mask) v; heads that share keys are rows of one product."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        rows, heads, tokens, d = query.shape
        shared = key.shape[1]
        groups = heads // shared
        q = query.reshape(rows * shared, groups, tokens, d)
        k, v = key.reshape(-1, tokens, d), value.reshape(-1, tokens, d)
        out, weights = torch.empty_like(q), []
        for start, stop in _cuts(tokens):
            mask = _future(start, stop, groups, q.dtype).expand(len(q), -1, -1)
            looks = torch.baddbmm(mask, _flat(q, start, stop), k[:, :stop].transpose(1, 2), alpha=scale)
            weights.append(torch.softmax(looks, -1))
            out[:, :, start:stop] = torch.bmm(weights[-1], v[:, :stop]).view(len(q), groups, -1, d)
        ctx.save_for_backward(q, k, v, *weights)
        ctx.scale, ctx.shapes = scale, (query.shape, key.shape)
        return out.view(query.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, *weights = ctx.saved_tensors
        grad = grads[0].reshape(q.shape)
        by_q, by_k, by_v = torch.empty_like(q), list[Tensor](), list[Tensor]()
        # The last block first: it covers all keys.
        for (start, stop), weight in zip(reversed(_cuts(q.shape[2])), reversed(weights), strict=True):
            into = _flat(grad, start, stop)
            by_look = torch.ops.aten._softmax_backward_data(
                torch.bmm(into, v[:, :stop].transpose(1, 2)), weight, -1, weight.dtype
            )
            by_q[:, :, start:stop] = torch.bmm(by_look, k[:, :stop]).view(*q.shape[:2], -1, q.shape[3])
            by_k.append(torch.bmm(by_look.transpose(1, 2), _flat(q, start, stop)))
            by_v.append(torch.bmm(weight.transpose(1, 2), into))
        query, key = ctx.shapes
        return (
            by_q.mul_(ctx.scale).view(query),
            _sum(by_k).mul_(ctx.scale).view(key),
            _sum(by_v).view(key),
            None,
        )


def _cuts(tokens: int) -> list[tuple[int, int]]:
    return [(start, min(start + BLOCK, tokens)) for start in range(0, tokens, BLOCK)]


def _sum(parts: Sequence[Tensor]) -> Tensor:
    """Add up the blocks' gradients; the first covers all keys, each other a prefix of them."""
    for part in parts[1:]:
        parts[0][:, : part.shape[1]] += part
    return parts[0]


def _flat(x: Tensor, start: int, stop: int) -> Tensor:
    """Stack a block of queries over all heads that share keys: [rows, heads · queries, d]."""
    return x[:, :, start:stop].reshape(len(x), -1, x.shape[-1])
