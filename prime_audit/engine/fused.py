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

NORMS = (
    *("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "Phi3RMSNorm", "Olmo2RMSNorm"),
    *("Gemma2RMSNorm", "Gemma3RMSNorm"),
)
MLPS = ("LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP", "Olmo2MLP", "Phi3MLP")
EXACT = (torch.float32, torch.float64)
"""Number formats in which Gemma's norm, which scales in float32 by 1 + w, is the plain one."""

SILU = ("SiLU", "SiLUActivation")


def fuse(model: nn.Module) -> None:
    """Replace the forward passes of known norms and MLPs in place."""
    for module in model.modules():
        kind = type(module).__name__
        if kind in NORMS and (not kind.startswith("Gemma") or module.weight.dtype in EXACT):
            module.forward = partial(_norm, module, *_read(module, kind))
        elif kind in MLPS and type(_activation(module)).__name__ in SILU:
            module.forward = partial(_mlp, module)


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
        opened = torch.sigmoid(gate)
        by_up = gate * opened
        # d silu = σ (1 + g (1 − σ)) = σ + silu (1 − σ)
        by_gate = torch.addcmul(opened + by_up, by_up, opened, value=-1)
        return by_gate.mul_(up).mul_(grads[0]), by_up.mul_(grads[0])
