"""The rotation in two passes against transformers' own, values and gradients."""

from __future__ import annotations

import pytest
import torch
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from prime_audit.engine.heads import rotate


@pytest.mark.parametrize("turned", [8, 4])
def test_a_rotation_and_its_gradient_are_those_of_transformers(turned: int) -> None:
    """Both halves of the sine differ here, so that none is mistaken for the other; of a width of 8, 4 may turn."""
    noise = torch.Generator().manual_seed(0)
    x, into = (torch.randn(2, 3, 5, 8, generator=noise, dtype=torch.float64) for _ in range(2))
    cos, sin = (torch.randn(1, 5, turned, generator=noise, dtype=torch.float64) for _ in range(2))

    def whole(x: torch.Tensor) -> torch.Tensor:
        return torch.cat(
            [apply_rotary_pos_emb(x[..., :turned], x[..., :turned], cos, sin)[0], x[..., turned:]], -1
        )

    found = []
    for turn in (lambda x: rotate(x, cos, sin), whole):
        leaf = x.clone().requires_grad_()
        out = turn(leaf)
        found.append((out.detach(), *torch.autograd.grad(out, leaf, into)))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(rotate(x, cos, sin), found[1][0])
