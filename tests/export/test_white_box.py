"""White-box signals of adapters that plain PEFT trained: plain autograd gives the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prime_audit import Run
from prime_audit.games.exam.stored import UNMERGED, read_exam

TASK = "LaMP-4"


def test_white_box_signals_are_plain_pefts(quick: Callable[..., Run], given: Path, plain: Any) -> None:
    run = quick(
        "soup",
        games="adapter",
        attacks="gradnorm,alignment",
        sharers=given,
        sets=["lora.alpha=4"],  # as the given ones
    )
    exam = read_exam(run.path, TASK)
    (one,), pool = [p for p in exam.passes if p.kind == "adapter" and p.seen], exam.pools["sharers"]
    base = next(p for p in exam.passes if p.method is None).seen[UNMERGED]
    compared = 0
    for name in one.seen:
        module, seen = plain.with_adapter(given / name), one.seen[name]
        for row in [i for i, own in enumerate(seen.grad_norm) if len(own)][:2]:
            norms, slopes = by_autograd(module, plain, pool.prompts[row], pool.golds[row])
            if norms is None:
                continue
            np.testing.assert_allclose(np.sort(seen.grad_norm[row]), np.sort(norms), rtol=2e-4)
            np.testing.assert_allclose(np.sort(seen.alignment[row]), np.sort(slopes), rtol=2e-3, atol=1e-6)
            assert base.grad_norm[row].shape == seen.grad_norm[row].shape
            assert not base.alignment[row].any()
            assert (base.grad_norm[row] > 0).all()
            compared += 1
    assert compared >= 4


def by_autograd(module: Any, plain: Any, prompt: str, gold: str) -> Any:
    """Gradient norms by factor pair at the adapter, and ⟨∂L/∂W, s·BA⟩ of the base's weights, by plain autograd."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(plain.folder)
    tail = [*tokenizer(" " + gold, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    head = tokenizer(prompt)["input_ids"]
    if len(head) + len(tail) > 256:
        return None, None
    layers = [m for m in module.modules() if hasattr(m, "lora_A") and hasattr(m, "base_layer")]
    factors = [(layer.lora_A["default"].weight, layer.lora_B["default"].weight) for layer in layers]
    for layer, pair in zip(layers, factors, strict=True):
        for weight in (*pair, layer.base_layer.weight):
            weight.requires_grad_(True)

    def differentiate() -> None:
        module.zero_grad()
        logp = torch.log_softmax(module(input_ids=torch.tensor([head + tail])).logits[0].double(), -1)
        places = torch.arange(len(head) - 1, len(head) + len(tail) - 1)
        (-logp[places, torch.tensor(tail)].mean()).backward()

    differentiate()
    norms = [math.sqrt(float(a.grad.square().sum() + b.grad.square().sum())) for a, b in factors]
    with module.disable_adapter():
        differentiate()
    slopes = []
    for layer, (a, b) in zip(layers, factors, strict=True):
        update = layer.scaling["default"] * (b @ a).detach()
        slopes.append(float((layer.base_layer.weight.grad * update).sum()))
    return np.array(norms), np.array(slopes)
