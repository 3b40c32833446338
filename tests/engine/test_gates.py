"""Per-Pcs gates against one owner at a time on a PEFT model: x·sigmoid(x·g) hooked into the LoRA branch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from prime_audit.engine.mixture import Mixture, Request
from prime_audit.engine.recipe import Job, Recipe, count_steps
from prime_audit.engine.train import train_gates

SHARED = {"seed": 5, "tokens": 4096}


def hooked(plain, owner):
    """One sharer's frozen adapter in PEFT, each lora_A fed x·sigmoid(x·g); → model, gates (start 0)."""
    model = plain.peft([owner]).requires_grad_(False)
    gates = []
    for site in plain.sites:
        down = model.base_model.model.get_submodule(site).lora_A[owner]
        gate = torch.nn.Parameter(torch.zeros(down.in_features, device=plain.device))
        down.register_forward_pre_hook(
            lambda _, args, g=gate: (args[0] * torch.sigmoid((args[0] * g).sum(-1, keepdim=True)),)
        )
        gates.append(gate)
    return model, gates


def plain_loop(plain, owner, examples, *, steps, lr, clip):
    """All examples in each step; AdamW without decay, cosine to 0, gradient norm cut over all gates together."""
    model, gates = hooked(plain, owner)
    optimizer = torch.optim.AdamW(gates, lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        logp = torch.cat([plain.gold_logp(model, p, g) for p, g in examples])
        (-logp.mean()).backward()
        torch.nn.utils.clip_grad_norm_(gates, clip)
        optimizer.step()
        optimizer.zero_grad()
    return [g.detach().cpu().numpy() for g in gates]


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_gates_equal_a_plain_loop(bench, pairs, worst, kind):
    b = bench(kind)
    jobs = [Job("ann", tuple(pairs[:3])), Job("dot", tuple(pairs[1:]))]
    recipe = Recipe(batch=9, lr=0.02, steps=6, clip=0.3, weight_decay=0.0)
    ours = train_gates(b.engine.base, b.engine.bank, jobs, recipe, **SHARED)
    for job in jobs:
        theirs = plain_loop(b.plain, job.owner, job.examples, steps=6, lr=0.02, clip=0.3)
        assert worst([g.numpy() for g in ours[job.owner]], theirs) < 1e-4
        assert max(np.abs(g).max() for g in theirs) > 0.05  # they did move


def test_gates_start_at_half_strength(bench, pairs, worst):
    b = bench()
    model, _ = hooked(b.plain, "bob")
    half = b.engine.score([Request(p, Mixture(("bob",), np.array([0.5])), gold=g) for p, g in pairs])
    assert worst(half, b.plain.score(model, pairs)) < 1e-4
    still = Recipe(batch=1, lr=0.0, steps=2, weight_decay=0.0)
    gates = train_gates(b.engine.base, b.engine.bank, [Job("bob", tuple(pairs))], still, **SHARED)
    assert all(not g.any() for g in gates["bob"])


def test_an_owners_gates_do_not_depend_on_who_trains_beside_her(bench, pairs, worst):
    b = bench()
    jobs = [Job("ann", tuple(pairs)), Job("bob", tuple(pairs[3:])), Job("dot", tuple(pairs[:2]))]
    recipe = Recipe(batch=2, lr=0.02, steps=5, clip=0.3, weight_decay=0.0)
    ticks: list[int] = []
    together = train_gates(b.engine.base, b.engine.bank, jobs, recipe, **SHARED, tick=ticks.append)
    assert sum(ticks) == count_steps(jobs, recipe) == 15
    for job in jobs:
        alone = train_gates(b.engine.base, b.engine.bank, [job], recipe, **SHARED)
        assert worst([g.numpy() for g in together[job.owner]], [g.numpy() for g in alone[job.owner]]) < 1e-5
