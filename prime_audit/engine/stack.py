"""Owners' parameters in stacks with one AdamW for all, equivalent to one optimizer per owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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

    def state(self) -> dict[str, Tensor]:
        """Return all that the next step depends on: parameters, gradients, AdamW's moments and count of steps."""
        found = {f"param.{i}": p.detach() for i, p in enumerate(self.trained)}
        found |= {f"grad.{i}": grad for i, grad in enumerate(self.grads)}
        for i, p in enumerate(self.trained):
            found |= {f"adam.{i}.{name}": value for name, value in self._adam.state[p].items()}
        return found

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state; ValueError where it is of other parameters."""
        for i, (p, grad) in enumerate(zip(self.trained, self.grads, strict=True)):
            for place, name in ((p, f"param.{i}"), (grad, f"grad.{i}")):
                if place.shape != state[name].shape or place.dtype != state[name].dtype:
                    raise ValueError(f"{name} is of another training")
                place.copy_(state[name])
            front = f"adam.{i}."
            own = {name.removeprefix(front): t for name, t in state.items() if name.startswith(front)}
            # AdamW counts steps on the CPU, without a dimension.
            self._adam.state[p] = {
                name: t.reshape(()).clone() if name == "step" else t.to(p.device, copy=True)
                for name, t in own.items()
            }


def clip(grads: Sequence[Tensor], clips: Sequence[float]) -> Tensor:
    """Clip each owner's gradient, over all parameters, to their largest norm (torch's ``clip_grad_norm_``).

    Returns the norms before clipping, [owners].
    """
    norms: Tensor = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in grads]).norm(dim=0)
    shares = (torch.tensor(list(clips), device=norms.device) / (norms + 1e-6)).clamp(max=1.0)
    for g in grads:
        g.mul_(shares.view(-1, *[1] * (g.dim() - 1)).to(g.dtype))
    return norms
