"""Stacked training against a plain PEFT and torch loop, one owner at a time, from the same start."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from prime_audit.engine import train as train_module
from prime_audit.engine.branches import Frozen
from prime_audit.engine.mixture import Mixture, alone
from prime_audit.engine.recipe import Job, LoraShape, Recipe, count_steps
from prime_audit.engine.train import train_adapters
from prime_audit.errors import PartError
from prime_audit.seeds import rng_of

SHAPE = LoraShape(rank=4, alpha=8.0, dropout=0.0)
RECIPE = Recipe(batch=2, lr=5e-3, epochs=3, clip=0.05)
SEED, ROOM = 11, 4096


def train(b, jobs, shape=SHAPE, recipe=RECIPE, tokens=ROOM, **options):
    return train_adapters(b.engine.base, jobs, shape, recipe, seed=SEED, tokens=tokens, **options)


def factors(adapter):
    return [t.numpy() for t in (*adapter.A, *adapter.B)]


def start(b, job):
    """Return the factors that training starts from: a step of length 0 leaves them as they were."""
    return train(b, [job], recipe=Recipe(batch=9, lr=0.0, epochs=1))[job.owner]


def rate(recipe, step, steps):
    warm = math.ceil(recipe.warmup * steps)
    if step < warm:
        return recipe.lr * step / warm
    done = (step - warm) / (steps - warm)
    return recipe.lr * (0.5 * (1 + math.cos(math.pi * done)) if recipe.schedule == "cosine" else 1 - done)


def plain_loop(b, job, recipe, modules=()):
    """One PEFT adapter, one example a forward pass, no padding; loss: the mean over the batch's gold tokens."""
    init, plain = start(b, job), b.plain
    model = replace(plain, adapters={job.owner: init}).peft([job.owner])
    layers = [model.base_model.model.get_submodule(site) for site in plain.sites]
    params = [x.lora_A[job.owner].weight for x in layers] + [x.lora_B[job.owner].weight for x in layers]
    for p, site in zip(params, [*plain.sites, *plain.sites], strict=True):
        p.requires_grad_(not modules or site.rpartition(".")[2] in modules)
    model.eval()
    order, batches = rng_of(SEED, job.owner, "order"), []
    while len(batches) < (recipe.steps or recipe.epochs * math.ceil(len(job.examples) / recipe.batch)):
        shuffled = order.permutation(len(job.examples)).tolist()
        batches += [shuffled[i : i + recipe.batch] for i in range(0, len(shuffled), recipe.batch)]
    optimizer = torch.optim.AdamW(params, lr=1.0, betas=(0.9, 0.95), weight_decay=recipe.weight_decay)
    for step, batch in enumerate(batches[: recipe.steps or None]):
        optimizer.param_groups[0]["lr"] = rate(recipe, step, len(batches[: recipe.steps or None]))
        logp = torch.cat([plain.gold_logp(model, *job.examples[i]) for i in batch])
        (-logp.mean()).backward()
        torch.nn.utils.clip_grad_norm_(params, recipe.clip)
        optimizer.step()
        optimizer.zero_grad()
    return [p.detach().cpu().numpy() for p in params]


@pytest.mark.parametrize("rank", [1, 4])
def test_on_top_of_a_mixture_is_on_a_base_that_it_was_merged_into(bench, pairs, rank):
    b = bench()
    jobs = [Job("t", tuple(pairs)), Job("u", tuple(pairs[:2])), Job("v", tuple(pairs[:3]))]
    below = {
        "t": Mixture(("ann", "bob"), np.array([0.7, 0.3])),
        "u": alone("cem"),
        "v": Mixture(("dot", "ann"), np.array([0.2, -0.4])),
    }
    shape = replace(SHAPE, rank=rank, alpha=2.0 * rank)
    onto = Frozen(b.engine.bank, below)
    ours = train(b, jobs, shape=shape, onto=onto)
    for job in jobs:
        b.engine.base.merge(b.engine.bank.adapter(below[job.owner]))
        (theirs,) = train(b, [job], shape=shape).values()
        b.engine.base.restore()
        for x, y in zip(factors(ours[job.owner]), factors(theirs), strict=True):
            np.testing.assert_allclose(x, y, atol=2e-4)
        bare = train(b, [job], shape=shape)[job.owner]
        gaps = [np.abs(x - y).max() for x, y in zip(factors(theirs), factors(bare), strict=True)]
        assert max(gaps) > 2e-3


LINEAR = Recipe(batch=2, lr=5e-3, steps=7, schedule="linear", warmup=0.2, weight_decay=0.1)


@pytest.mark.parametrize(
    ("kind", "recipe"),
    [
        pytest.param("llama", RECIPE, id="llama"),
        pytest.param("mistral", RECIPE, id="mistral"),
        pytest.param("qwen2", RECIPE, id="qwen2"),
        *(pytest.param(kind, RECIPE, id=kind) for kind in ("gpt2", "gemma3-whole", "gemma3n", "qwen2moe")),
        pytest.param("llama", Recipe(batch=16, lr=5e-3, epochs=4), id="one-batch"),
        pytest.param("llama", LINEAR, id="linear-warmup"),
    ],
)
def test_an_owner_gets_what_a_plain_peft_loop_gives(bench, pairs, worst, kind, recipe):
    b, job = bench(kind), Job("ann", tuple(pairs))
    adapter = train(b, [job], recipe=recipe)["ann"]
    assert (adapter.sites, adapter.scaling) == (b.plain.sites, 2.0)
    ours, theirs = factors(adapter), plain_loop(b, job, recipe)
    gaps = np.concatenate([np.abs(x - y).ravel() for x, y in zip(ours, theirs, strict=True)])
    # AdamW divides by √v. Where a gradient nearly vanishes, the rounding of a sum in another order is a visible part
    # of a step (one of 2688 entries was 7.8e-5 off). A wrong optimizer, schedule or site changes far more than 1 %.
    assert np.quantile(gaps, 0.99) < 1e-6
    assert gaps.max() < 5e-4
    assert worst(ours, factors(start(b, job))) > 5e-3  # and training did move them


def test_clipping_is_part_of_that_equality(bench, pairs, worst):
    b, job = bench(), Job("ann", tuple(pairs))
    assert worst(factors(train(b, [job])["ann"]), plain_loop(b, job, replace(RECIPE, clip=1e9))) > 1e-4


def test_a_shape_may_leave_projections_out(bench, pairs, worst):
    b, job = bench(), Job("ann", tuple(pairs))
    adapter = train(b, [job], shape=replace(SHAPE, modules=("q_proj", "v_proj")))["ann"]
    assert worst(factors(adapter), plain_loop(b, job, RECIPE, modules=("q_proj", "v_proj"))) < 1e-5
    for site, up in zip(adapter.sites, adapter.B, strict=True):
        assert bool(up.any()) == site.endswith(("q_proj", "v_proj"))


def test_the_start_is_pefts(bench, pairs):
    """Kaiming-uniform with a = √5 is uniform within ±1/√d_in; B is zero."""
    init = start(bench(), Job("ann", tuple(pairs)))
    a = torch.cat([x.flatten() for x in init.A])
    assert not any(x.any() for x in init.B)
    assert a.abs().max() <= 32**-0.5
    assert abs(a.std().item() - 32**-0.5 / 3**0.5) < 0.005


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_owners_trained_together_are_the_owners_trained_alone(bench, pairs, worst, dropout):
    """Unequal lengths, counts of steps, and gradients: each keeps her own clip, schedule and dropout draws."""
    b, shape = bench(), replace(SHAPE, dropout=dropout)
    jobs = [Job("ann", tuple(pairs)), Job("bob", tuple(pairs[:1])), Job("cem", tuple(pairs[3:] * 3))]
    ticks: list[int] = []
    together = train(b, jobs, shape, tick=ticks.append)
    assert sum(ticks) == count_steps(jobs, RECIPE) == 9 + 3 + 9
    assert len(ticks) == 9  # they did share passes
    for job in jobs:
        alone = factors(train(b, [job], shape)[job.owner])
        assert worst(factors(together[job.owner]), alone) < 1e-5
        for tokens in (ROOM, 300):  # 300: groups of owners; the owner's own batch still fits one pass
            assert worst(factors(train(b, jobs, shape, tokens=tokens)[job.owner]), alone) < 1e-5
    if dropout:
        assert worst(factors(together["ann"]), factors(train(b, jobs)["ann"])) > 1e-3


def test_accumulated_gradients_equal_one_pass(bench, pairs, worst):
    b, recipe = bench(), Recipe(batch=16, lr=5e-3, epochs=4)
    jobs = [Job("ann", tuple(pairs)), Job("bob", tuple(pairs[1:]))]
    whole = train(b, jobs, recipe=recipe)
    for tokens in (1, 70):
        parts = train(b, jobs, recipe=recipe, tokens=tokens)
        for owner in ("ann", "bob"):
            assert worst(factors(whole[owner]), factors(parts[owner])) < 1e-5


def test_the_base_stays_as_it_was(bench, pairs):
    b = bench()
    before = b.engine.base.sha256()
    train(b, [Job("ann", tuple(pairs))])
    assert b.engine.base.sha256() == before


def test_training_that_diverges_is_an_error_at_its_step(bench, pairs):
    b = bench()
    with torch.no_grad():
        b.engine.base.model.lm_head.weight[5] = float("nan")
    said = r"^training of ann diverged at step 1 of 9: the loss of example \d is nan; nothing was trained yet"
    ticks: list[int] = []
    with pytest.raises(PartError, match=said):
        train(b, [Job("ann", tuple(pairs))], tick=ticks.append)
    assert ticks == []


def spoil_gradient(monkeypatch, owner_index, at):
    """Let one owner's gradient overflow at a step, as numbers in float16 do."""
    settle, steps = train_module._clip, itertools.count()

    def spoiled(group, grads, step):
        if next(steps) == at:
            grads[0][owner_index] = float("inf")
        return settle(group, grads, step)

    monkeypatch.setattr(train_module, "_clip", spoiled)


def spoil_loss(monkeypatch, owner_index, at):
    """Let the loss of one owner's rows be nan at a step."""
    plain, steps = train_module._loss, itertools.count()

    def spoiled(base, beside, examples, weights):
        loss, each = plain(base, beside, examples, weights)
        if next(steps) == at:
            each[[o == owner_index for o in beside._rows.tolist()]] = float("nan")
        return loss, each

    monkeypatch.setattr(train_module, "_loss", spoiled)


@pytest.mark.parametrize(
    ("spoil", "cause"), [(spoil_gradient, "the gradient is not finite"), (spoil_loss, "the loss of item i")]
)
def test_one_owners_divergence_is_hers_alone(bench, pairs, monkeypatch, spoil, cause):
    """The others' adapters are, to the bit, those of the run in which she came through."""
    b = bench()
    jobs = [
        Job(name, tuple(pairs), tuple(f"i{n}" for n in range(len(pairs)))) for name in ("ann", "bob", "cem")
    ]
    whole = train(b, jobs)
    spoil(monkeypatch, 1, 2)
    lost = []
    left = train(b, jobs, lost=lost)
    assert list(left) == ["ann", "cem"]
    for owner in left:
        for ours, theirs in zip(factors(left[owner]), factors(whole[owner]), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    (one,) = lost
    assert (one.owner, one.step, one.steps) == ("bob", 3, 9)
    assert one.cause.startswith(cause)


def test_where_all_diverge_training_ends_there(bench, pairs):
    b, ticks, lost = bench(), [], []
    jobs = [Job(name, tuple(pairs)) for name in ("ann", "bob")]
    wild = Recipe(batch=2, lr=1e30, epochs=4)
    assert train(b, jobs, recipe=wild, tick=ticks.append, lost=lost) == {}
    assert {d.owner for d in lost} == {"ann", "bob"}
    assert all(d.step <= 3 for d in lost)
    assert len(ticks) <= 3 < 9


def test_impossible_recipes_are_refused(bench):
    for bad in ({"batch": 0, "epochs": 1}, {"batch": 1}, {"batch": 1, "epochs": 1, "steps": 1}):
        with pytest.raises(ValueError, match="either epochs or steps"):
            Recipe(lr=1.0, **bad)
    with pytest.raises(ValueError, match="ann has no examples"):
        train(bench(), [Job("ann", ())])
