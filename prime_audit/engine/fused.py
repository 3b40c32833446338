"""Fused pieces of a decoder layer that transformers computes in many small steps.

On a CPU an unfused norm takes as long as a matrix product of a small model; fused it takes a tenth. Same formulas,
other rounding in the last bit. Every parity test of the engine compares them with the originals.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from prime_audit.engine.attention import fused
from prime_audit.engine.heads import project, rotate

NORMS = (
    *("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "Phi3RMSNorm", "Olmo2RMSNorm"),
    *("Gemma2RMSNorm", "Gemma3RMSNorm"),
)
MLPS = ("LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP", "Olmo2MLP", "Phi3MLP")
ATTENTIONS = ("LlamaAttention", "MistralAttention", "Qwen2Attention", "Qwen3Attention")
EXACT = (torch.float32, torch.float64)
"""Number formats in which Gemma's norm, which scales in float32 by 1 + w, is the plain one."""

SILU = ("SiLU", "SiLUActivation")


def fuse(model: nn.Module) -> None:
    """Replace the forward passes of known norms, MLPs and attentions in place."""
    for module in model.modules():
        kind = type(module).__name__
        if kind in NORMS and (not kind.startswith("Gemma") or module.weight.dtype in EXACT):
            module.forward = partial(_norm, module, *_read(module, kind))
        elif kind in MLPS and type(_activation(module)).__name__ in SILU:
            module.forward = partial(_mlp, module)
        elif kind in ATTENTIONS:
            module.forward = partial(_attention, module, module.forward)


def _read(module: Any, kind: str) -> tuple[float, float]:
    """Return what a norm adds to its weight, and its ε."""
    return (1.0, module.eps) if kind.startswith("Gemma") else (0.0, module.variance_epsilon)


def _activation(module: Any) -> Any:
    return getattr(module, "act_fn", None) or module.activation_fn


def _norm(module: Any, more: float, eps: float, x: Tensor) -> Tensor:
    weight = module.weight + more if more else module.weight
    if x.requires_grad:
        return _RMSNorm.apply(x, weight, eps)  # type: ignore[no-any-return,no-untyped-call]
    return nn.functional.rms_norm(x, x.shape[-1:], weight, eps)


def _mlp(module: Any, x: Tensor) -> Tensor:
    if hasattr(module, "gate_up_proj"):
        gate, up = module.gate_up_proj(x).chunk(2, dim=-1)
    else:
        gate, up = module.gate_proj(x), module.up_proj(x)
    if gate.requires_grad:
        return module.down_proj(_GatedSiLU.apply(gate, up))  # type: ignore[no-any-return,no-untyped-call]
    return module.down_proj(nn.functional.silu(gate, inplace=True).mul_(up))  # type: ignore[no-any-return]


def _attention(
    module: Any,
    whole: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention as transformers' own ``whole``, with a rotation in two passes over the memory instead of five."""
    if not fused(module.config):
        return whole(  # type: ignore[no-any-return]
            hidden_states=hidden_states,
            position_embeddings=position_embeddings,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            **options,
        )
    q, k, v = project(module, hidden_states)
    q, k = rotate(q, *position_embeddings), rotate(k, *position_embeddings)
    if past_key_values is not None:
        k, v = past_key_values.update(k, v, module.layer_idx)
    kernel = ALL_ATTENTION_FUNCTIONS.get_interface(module.config._attn_implementation, None)
    out, weights = kernel(module, q, k, v, attention_mask, dropout=0.0, scaling=module.scaling, **options)
    return module.o_proj(out.reshape(*hidden_states.shape[:-1], -1).contiguous()), weights


class _RMSNorm(torch.autograd.Function):
    """x / √(mean x² + ε) · w, w frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float()
        share = torch.rsqrt(
            torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_() / x.shape[-1] + eps
        )
        ctx.save_for_backward(x, share, weight)
        return (wide * share).to(x.dtype) * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        x, share, weight = ctx.saved_tensors
        normed, grad = x.float() * share, (grads[0] * weight).float()
        along = torch.einsum("...d,...d->...", grad, normed)[..., None] / x.shape[-1]
        return grad.sub_(normed.mul_(along)).mul_(share).to(x.dtype), None, None


class _GatedSiLU(torch.autograd.Function):
    """silu(gate) · up."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return nn.functional.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        by_gate = torch.ops.aten.silu_backward(grads[0] * up, gate)
        return by_gate, nn.functional.silu(gate).mul_(grads[0])
