"""Per-Pcs assembly computed plainly: module by module, example by example, weights by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from prime_audit.engine.assemble import Unit, assemble

POOL = ("ann", "bob", "cem", "dot")


def normal(v):
    """Normalise as LayerNorm does, without parameters, eps 1e-5."""
    centred = v - v.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + 1e-5)


@torch.no_grad()
def plain_assembly(plain, unit, gates, top_k):
    """Choose module i with the modules below it already merged into the weights of a bare model."""
    model, table = plain.model(), []
    seen = {}
    for i, site in enumerate(plain.sites):
        module = model.get_submodule(site)
        hook = module.register_forward_pre_hook(lambda _, args: seen.update(x=args[0][0]))
        per_example = []
        for prompt, gold in unit.examples:
            head, tail = plain.split(prompt, gold)
            model(input_ids=torch.tensor([head + tail], device=plain.device), use_cache=False)
            x = seen["x"][
                len(head) - 1 : len(head) + len(tail) - 1
            ]  # positions whose next token is a gold one
            similar = [
                normal(x) @ normal(gates[n][i].to(x.device)) / math.sqrt(x.shape[-1]) for n in unit.pool
            ]
            per_example.append(torch.stack(similar, -1).mean(0))
        hook.remove()
        scores = torch.stack(per_example).mean(0)
        best = scores.argsort(descending=True)[:top_k]
        weights = torch.zeros(len(unit.pool), dtype=torch.float64)
        weights[best.cpu()] = torch.softmax(scores[best].double(), -1).cpu()
        table.append(weights.numpy())
        a = sum(w * plain.adapters[n].A[i].double() for w, n in zip(weights, unit.pool, strict=True))
        b = sum(w * plain.adapters[n].B[i].double() for w, n in zip(weights, unit.pool, strict=True))
        module.weight.add_((plain.adapters[POOL[0]].scaling * b @ a).float().to(plain.device))
    return np.stack(table)


def random_gates(sites, scale):
    noise = torch.Generator().manual_seed(3)
    return {n: tuple(scale * torch.randn(s.d_in, generator=noise) for s in sites) for n in POOL}


@pytest.fixture
def units(pairs):
    return [
        Unit("t1", POOL, tuple(pairs[:2])),
        Unit("t1", POOL, tuple(pairs[2:])),
        Unit("t2", ("dot", "bob", "ann"), tuple(pairs)),
        Unit("t3", POOL, (pairs[4],)),
    ]


@pytest.mark.parametrize("top_k", [1, 2, 3, 9])
@pytest.mark.parametrize(
    "scale", [1.0, 5e-3], ids=["wide", "near-eps"]
)  # gates as small as eps: its place matters
def test_assembly_equals_the_plain_computation(bench, units, worst, top_k, scale):
    b = bench()
    gates = random_gates(b.engine.base.sites, scale)
    together = assemble(b.engine, units, gates, top_k)
    for unit, weights in zip(units, together, strict=True):
        assert worst([weights], [plain_assembly(b.plain, unit, gates, top_k)]) < 1e-4
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
        assert ((weights > 0).sum(1) == min(top_k, len(unit.pool))).all()


@pytest.mark.parametrize("kind", ["mistral", "qwen2"])
def test_other_architectures_assemble_alike(bench, units, worst, kind):
    b = bench(kind)
    gates = random_gates(b.engine.base.sites, 1.0)
    (weights,) = assemble(b.engine, units[2:3], gates, 2)
    assert worst([weights], [plain_assembly(b.plain, units[2], gates, 2)]) < 1e-4


def test_a_unit_does_not_depend_on_who_shares_its_pass(bench, units, worst):
    b = bench()
    gates = random_gates(b.engine.base.sites, 1.0)
    ticks: list[int] = []
    together = assemble(b.engine, units, gates, 3, ticks.append)
    assert sum(ticks) == len(units)
    assert len(ticks) == 2  # one pass a pool
    b.engine.read_tokens = 1
    assert worst(together, assemble(b.engine, units, gates, 3)) < 1e-5
    assert worst(together, [assemble(b.engine, [u], gates, 3)[0] for u in units]) < 1e-5


def test_equal_scores_go_to_the_pools_first(bench, units):
    b = bench()
    nothing = {n: tuple(torch.zeros(s.d_in) for s in b.engine.base.sites) for n in POOL}
    (weights,) = assemble(b.engine, units[:1], nothing, 2)
    np.testing.assert_allclose(weights, np.tile([0.5, 0.5, 0, 0], (12, 1)))
