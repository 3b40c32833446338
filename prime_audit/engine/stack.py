"""Owners' parameters in stacks with one AdamW for all, equivalent to one optimizer per owner."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Stack:
    """One leaf [owners, ...] per parameter; AdamW is elementwise, so its state is that of separate optimizers."""

    def __init__(self, own: Sequence[Sequence[nn.Parameter]], weight_decay: float) -> None:
        """``own``: each owner's parameters; a parameter is trained if the first owner's is."""
        self.params = [
            nn.Parameter(torch.stack([p.detach() for p in place]), requires_grad=place[0].requires_grad)
            for place in zip(*own, strict=True)
        ]
        self.trained = [p for p in self.params if p.requires_grad]
        self.grads = [torch.zeros_like(p) for p in self.trained]
        """Sum over the passes of a step so far, [owners, ...] per trained parameter."""
        self._adam = torch.optim.AdamW(self.trained, lr=1.0, betas=(0.9, 0.95), weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, rates: Sequence[float]) -> None:
        """Move each owner by AdamW at their own rate (0: no change), and clear the gradients."""
        before = [p.detach().clone() for p in self.trained]
        for p, grad in zip(self.trained, self.grads, strict=True):
            p.grad = grad
        self._adam.step()
        share = torch.tensor(list(rates), device=self.grads[0].device)
        for p, old in zip(self.trained, before, strict=True):
            # Decay and step of AdamW are both linear in the rate: interpolate a step of rate 1.
            p.copy_(torch.lerp(old, p, share.view(-1, *[1] * (p.dim() - 1)).to(p.dtype)))
        for grad in self.grads:
            grad.zero_()

    def of(self, owner: int) -> list[Tensor]:
        """Return one owner's parameters."""
        return [p.detach()[owner] for p in self.params]


def clip(grads: Sequence[Tensor], clips: Sequence[float]) -> Tensor:
    """Clip each owner's gradient, over all parameters, to their largest norm (torch's ``clip_grad_norm_``).

    Returns the norms before clipping, [owners].
    """
    norms: Tensor = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in grads]).norm(dim=0)
    shares = (torch.tensor(list(clips), device=norms.device) / (norms + 1e-6)).clamp(max=1.0)
    for g in grads:
        g.mul_(shares.view(-1, *[1] * (g.dim() - 1)).to(g.dtype))
    return norms
