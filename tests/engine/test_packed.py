"""Products with packed weights: those of the layer, forwards and backwards, also after its weight has changed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from prime_audit.engine.packed import SMALLEST, pack, unpacked_bytes


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(256, SMALLEST // 256).requires_grad_(False)


def of_its_own(layer: nn.Linear, x: Tensor) -> Tensor:
    return nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double())


@pytest.mark.parametrize("rows", [(1,), (3, 1), (2, 5), (70,)])
def test_it_is_the_layer(layer: nn.Linear, rows: tuple[int, ...]) -> None:
    pack(layer)
    assert layer.forward is not nn.Linear.forward
    x = torch.randn(*rows, 256)
    seen = layer(x)
    assert seen.shape == (*rows, layer.out_features)
    assert torch.allclose(seen.double(), of_its_own(layer, x), atol=1e-5)
    x.requires_grad_()
    far = torch.randn_like(seen)
    (grad,) = torch.autograd.grad(layer(x), x, far)
    assert torch.allclose(grad, far @ layer.weight, atol=1e-5)
    assert layer(x[:0]).shape == (0, *rows[1:], layer.out_features)


def test_a_changed_weight_is_packed_again(layer: nn.Linear) -> None:
    pack(layer)
    x = torch.randn(4, 256)
    before = layer(x)
    with torch.no_grad():
        layer.weight.copy_(layer.weight * 2)
        layer.bias.zero_()
    assert torch.allclose(layer(x).double(), of_its_own(layer, x), atol=1e-5)
    assert not torch.allclose(layer(x), before, atol=0.1)
    layer.to(torch.float64)
    assert torch.equal(layer(x.double()), of_its_own(layer, x))


def test_copies_pack_anew(layer: nn.Linear) -> None:
    pack(layer)
    assert unpacked_bytes(layer) == 4 * layer.weight.numel()
    x = torch.randn(4, 256)
    seen = layer(x)
    assert unpacked_bytes(layer) == 0
    other = copy.deepcopy(layer)
    assert unpacked_bytes(other) == 4 * layer.weight.numel()
    with torch.no_grad():
        layer.weight.zero_()
    assert torch.equal(other(x), seen)


def test_what_is_trained_keeps_its_gradient(layer: nn.Linear) -> None:
    pack(layer)
    layer.weight.requires_grad_(True)
    layer(torch.randn(2, 256)).sum().backward()
    assert layer.weight.grad is not None
