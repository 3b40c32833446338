"""Attention in blocks against the formula written out, and against torch's own kernel inside a model."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prime_audit.engine import attention


class Module:
    """What transformers hands to an attention function."""

    is_causal = True
    num_key_value_groups = 1
    training = False


def written_out(q, k, v, mask, scale):
    """softmax(scale · q kᵀ + mask) v, one head after another, in float64."""
    groups, out = q.shape[1] // k.shape[1], []
    for head in range(q.shape[1]):
        looks = q[:, head].double() @ k[:, head // groups].double().transpose(1, 2) * scale + mask.double()
        out.append(torch.softmax(looks, -1) @ v[:, head // groups].double())
    return torch.stack(out, 2)


def states(rows, heads, shared, tokens, d=8, seed=0):
    noise = torch.Generator().manual_seed(seed)
    return [
        torch.randn(rows, tokens, n, d, generator=noise).transpose(1, 2).requires_grad_()
        for n in (heads, shared, shared)
    ]


def causal(tokens):
    return torch.full((tokens, tokens), -torch.inf).triu(1)


@settings(max_examples=40)
@given(
    tokens=st.integers(2, attention.LONGEST + 3),
    rows=st.integers(1, 3),
    heads=st.sampled_from([(1, 1), (4, 2), (6, 2), (4, 4)]),
    scale=st.sampled_from([None, 0.3]),
)
def test_short_rows_are_the_formula_and_so_are_their_gradients(tokens, rows, heads, scale):
    q, k, v = states(rows, *heads, tokens)
    found, _ = attention.attend(Module(), q, k, v, None, scaling=scale)
    truth = written_out(q, k, v, causal(tokens), 1 / math.sqrt(8) if scale is None else scale)
    assert (found - truth).abs().max() < 1e-5
    into = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad(found, (q, k, v), into)
    theirs = torch.autograd.grad(truth, (q, k, v), into.double())
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["additive", "bool", "one query"])
def test_masks_hide_what_they_say(kind):
    q, k, v = (t.detach() for t in states(3, 4, 2, 70))
    sees = torch.rand(3, 70, 70, generator=torch.Generator().manual_seed(2)) < 0.4
    sees |= torch.eye(70, dtype=torch.bool)
    if kind == "one query":
        q, sees = q[:, :, -1:], sees[:, -1:]
    hidden = torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)
    mask = hidden[:, None] if kind == "additive" else sees[:, None]
    found, _ = attention.attend(Module(), q, k, v, mask, scaling=0.3)
    assert (found - written_out(q, k, v, hidden, 0.3)).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
def test_half_formats_are_torchs_own(dtype, masked):
    q, k, v = (t.detach() for t in states(2, 4, 4, 60, d=64))
    q = q * 40  # scores above a hundred: rounded to a half format they are off by whole units
    mask = causal(60).clamp(min=-1e4)[None, None].expand(2, 1, -1, -1) if masked else None
    halves = [t.to(dtype) for t in (q, k, v)]
    found, _ = attention.attend(Module(), *halves, None if mask is None else mask.to(dtype), scaling=0.125)
    truth = written_out(*(t.float() for t in halves), causal(60), 0.125)
    assert (found - truth).abs().max() < (0.002 if dtype is torch.float16 else 0.02)


def test_its_gradient_has_no_gradient():
    q, k, v = states(1, 2, 1, 20)
    found, _ = attention.attend(Module(), q, k, v, None)
    (grad,) = torch.autograd.grad(found.sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        torch.autograd.grad(grad.sum(), k)


def test_a_model_on_a_cpu_gets_it_and_a_plain_model_beside_it_does_not(bench):
    base = bench().engine.base
    if base.device.type == "cpu":
        assert base.model.config._attn_implementation == attention.NAME
    from transformers import AutoModelForCausalLM

    from prime_audit.assets import MINI

    assert AutoModelForCausalLM.from_pretrained(MINI).config._attn_implementation == "sdpa"
