"""DP-SGD against plain autograd, one example at a time, and its ε against the accountant asked independently."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from prime_audit.engine import private
from prime_audit.engine import train as room
from prime_audit.engine.privacy import DELTA, ORDERS, Guarantee, Privacy, account
from prime_audit.engine.private import PrivateBranch, PrivateTrainee, clip_shares, poisson_steps
from prime_audit.engine.recipe import Job, LoraShape, Recipe, count_steps
from prime_audit.engine.stack import Stack
from prime_audit.engine.train import train_adapters
from prime_audit.engine.trainee import fresh_lora
from prime_audit.errors import UserError
from prime_audit.seeds import rng_of, seed_of

SHAPE = LoraShape(rank=4, alpha=8.0, dropout=0.0)
RECIPE = Recipe(batch=2, lr=5e-3, epochs=3)
LOOSE = Privacy(math.inf, clip=1e9)
SEED, ROOM = 11, 4096


def job(owner, pairs):
    return Job(owner, tuple(pairs), tuple(f"i{n}" for n in range(len(pairs))))


def train(b, jobs, privacy, recipe=RECIPE, shape=SHAPE, tokens=ROOM):
    return train_adapters(b.engine.base, jobs, shape, recipe, seed=SEED, tokens=tokens, privacy=privacy)


def factors(adapter):
    return [t.numpy() for t in (*adapter.A, *adapter.B)]


def plain(b, owner, seed=3):
    """One PEFT adapter with random factors (B not zero, so that A has gradients), and its parameters."""
    model = b.plain.peft([owner]).eval()
    layers = [model.base_model.model.get_submodule(site) for site in b.plain.sites]
    params = [x.lora_A[owner].weight for x in layers] + [x.lora_B[owner].weight for x in layers]
    return model, [p.requires_grad_() for p in params]


def example_gradients(b, model, params, examples):
    """Gradient of each example's mean loss, one forward and one backward pass an example."""
    return [torch.autograd.grad(-b.plain.gold_logp(model, *example).mean(), params) for example in examples]


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2"])
@pytest.mark.parametrize("tokens", [ROOM, 1])
def test_per_example_gradients_are_those_of_a_plain_loop(bench, pairs, worst, kind, tokens):
    """Two owners in one pass; each row's gradient, and the clipped sum of each owner's rows."""
    b, clip = bench(kind), 0.05
    owners = ("ann", "bob")
    stack = Stack(
        [
            [torch.nn.Parameter(t.clone().to(b.plain.device)) for t in (*own.A, *own.B)]
            for own in map(b.plain.adapters.get, owners)
        ],
        0.0,
    )
    trainees = [PrivateTrainee(b.engine.base, job(o, pairs), RECIPE, SEED, Privacy(math.inf)) for o in owners]
    seen: dict[int, list] = {}

    class Watched(PrivateBranch):
        def collect(self, grads, into):
            for i, owner in enumerate(self._rows.tolist()):
                seen.setdefault(owner, []).append([g[i].cpu().numpy() for g in grads])
            super().collect(grads, into)

    def branch(_, params, rows, draws):
        return Watched(params, rows, 2.0, draws, clip)

    rows = [room.Row(o, n, e) for o in (0, 1) for n, e in enumerate(trainees[o].examples)]
    weights = room._example_mean(rows)
    loop = room._Loop(
        base=b.engine.base,
        start=lambda _: [],
        branch=branch,
        weigh=room._example_mean,
        settle=PrivateTrainee.settle,
        weight_decay=0.0,
        tokens=tokens,
        tick=lambda _: None,
    )
    watch = room.Watch(trainees, "training")
    for part in [[i] for i in range(len(rows))] if tokens == 1 else [range(len(rows))]:
        loop._pass(stack, trainees, 0, [rows[i] for i in part], [weights[i] for i in part], watch)
    assert sum(map(len, seen.values())) == len(rows)
    for number, owner in enumerate(owners):
        model, params = plain(b, owner)
        grads = example_gradients(b, model, params, pairs)
        total = [np.zeros(p.shape) for p in params]
        for ours, theirs in zip(seen[number], grads, strict=True):
            theirs = [g.cpu().numpy() for g in theirs]
            assert worst(ours, theirs) < 1e-5
            length = math.sqrt(sum((g.astype(float) ** 2).sum() for g in theirs))
            assert length > clip  # or the test says nothing of clipping
            total = [t + g * min(1.0, clip / length) for t, g in zip(total, theirs, strict=True)]
        assert worst([g[number].cpu().numpy() for g in stack.grads], total) < 1e-5


def test_the_clipping_bound_holds_exactly():
    noise = torch.Generator().manual_seed(0)
    for scale in (1e-4, 1.0, 1e4):
        grads = [
            scale * torch.randn(200, 8, 37, generator=noise),
            scale * torch.randn(200, 51, generator=noise),
        ]
        for clip in (1e-3, 0.3, 1.0, 7.0):
            shares = clip_shares(grads, torch.full((200,), clip)).float()
            cut = torch.cat([g.flatten(1) * shares[:, None] for g in grads], 1).double()
            assert cut.norm(dim=1).max() <= clip
            whole = torch.cat([g.flatten(1) for g in grads], 1).double().norm(dim=1)
            assert (shares[whole < clip * 0.999] == 1).all()
    assert clip_shares([torch.zeros(2, 3)], torch.ones(2)).tolist() == [1, 1]


def settled(b, owner, privacy, recipe, pairs, grads=None):
    sums = [torch.zeros_like(p) for p in fresh_lora(b.engine.base, SHAPE, 0)]
    trainee = PrivateTrainee(b.engine.base, job(owner, pairs), recipe, SEED, privacy)
    trainee.blur(sums)
    return trainee, torch.cat([s.detach().flatten() for s in sums]).cpu()


def test_noise_has_the_accounted_deviation_and_is_the_owners_own(bench, pairs):
    b, privacy = bench(), Privacy(4.0, clip=0.3)
    trainee, noise = settled(b, "ann", privacy, RECIPE, pairs)  # a step that drew nobody: noise alone
    g = trainee.guarantee
    assert g.batch == pytest.approx(2)
    expected = g.noise * 0.3 / g.batch
    n = noise.numel()
    assert n > 2000
    assert noise.std().item() == pytest.approx(expected, rel=4 / math.sqrt(2 * n))
    assert abs(noise.mean().item()) < 4 * expected / math.sqrt(n)
    assert torch.equal(settled(b, "ann", privacy, RECIPE, pairs)[1], noise)
    other = settled(b, "bob", privacy, RECIPE, pairs)[1]
    assert abs(torch.corrcoef(torch.stack([noise, other]))[0, 1]) < 4 / math.sqrt(n)


def test_steps_are_poisson_samples():
    recipe = Recipe(batch=4, lr=1.0, steps=4000)
    steps = poisson_steps(40, 40, recipe, np.random.default_rng(0))
    sizes = np.array([len(s) for s in steps])
    assert len(steps) == 4000
    assert sizes.mean() == pytest.approx(4, abs=4 * math.sqrt(3.6 / 4000))
    assert sizes.var() == pytest.approx(40 * 0.1 * 0.9, rel=0.1)  # a fixed batch would have none
    assert (sizes == 0).any()
    counts = np.bincount([i for s in steps for i in s], minlength=40)
    assert np.abs(counts - 400).max() < 5 * math.sqrt(360)
    every = Recipe(batch=8, lr=1.0, epochs=2)
    assert poisson_steps(3, 3, every, np.random.default_rng(0)) == [[0, 1, 2]] * 2


def test_items_left_out_by_coin_change_neither_rate_nor_steps():
    recipe = Recipe(batch=4, lr=1.0, epochs=300)
    steps = poisson_steps(40, 10, recipe, np.random.default_rng(0))
    assert len(steps) == 3000  # of 40 items, as if all were there
    assert np.mean([len(s) for s in steps]) == pytest.approx(1, abs=0.1)  # 10 examples, each at 4/40
    some = Job("ann", (("p", "g"),) * 10, tuple(map(str, range(10))), public=40)
    assert count_steps([some], recipe) == 3000
    assert account(some.count, recipe, Privacy(8.0)) == account(40, recipe, Privacy(8.0))


@pytest.mark.parametrize(
    ("epsilon", "batch", "epochs"), [(1.0, 6, 3), (8.0, 6, 3), (8.0, 40, 4), (0.2, 4, 1)]
)
def test_epsilon_is_what_the_accountant_says_when_stepped(epsilon, batch, epochs):
    from opacus.accountants import RDPAccountant

    recipe = Recipe(batch=batch, lr=1.0, epochs=epochs)
    g = account(40, recipe, Privacy(epsilon))
    assert (g.delta, g.rate, g.batch) == (DELTA, batch / 40, pytest.approx(batch))
    assert g.steps == count_steps([job("ann", [("p", "g")] * 40)], recipe)
    accountant = RDPAccountant()
    for _ in range(g.steps):
        accountant.step(noise_multiplier=g.noise, sample_rate=g.rate)
    assert accountant.get_epsilon(g.delta, alphas=list(ORDERS)) == pytest.approx(g.epsilon, rel=1e-9)
    assert 0.98 * epsilon <= g.epsilon <= epsilon


def test_without_sampling_the_bound_lies_above_the_exact_one():
    """At q = 1 the mechanism is one Gaussian of σ/√steps, whose exact (ε, δ) Balle and Wang (2018) give."""
    g = account(40, Recipe(batch=40, lr=1.0, epochs=4), Privacy(8.0))
    s = g.noise / math.sqrt(g.steps)
    delta = norm.cdf(0.5 / s - g.epsilon * s) - math.exp(g.epsilon) * norm.cdf(-0.5 / s - g.epsilon * s)
    assert delta < g.delta


def test_the_default_delta_is_below_one_over_n():
    recipe = Recipe(batch=8, lr=1.0, epochs=1)
    assert account(30, recipe, Privacy(math.inf)).delta == DELTA
    assert account(10**6, recipe, Privacy(math.inf)).delta < 1e-6
    with pytest.raises(UserError, match=r"δ 0\.05 is not below 1/30"):
        account(30, recipe, Privacy(1.0, delta=0.05))


def sampled_loop(b, job, recipe):
    """Plain training under the same sampling: summed example means over the expected batch, no cut, no noise."""
    init = train(b, [job], LOOSE, recipe=replace(recipe, lr=0.0))[job.owner]
    model = replace(b.plain, adapters={job.owner: init}).peft([job.owner]).eval()
    layers = [model.base_model.model.get_submodule(site) for site in b.plain.sites]
    params = [x.lora_A[job.owner].weight for x in layers] + [x.lora_B[job.owner].weight for x in layers]
    optimizer = torch.optim.AdamW(params, lr=1.0, betas=(0.9, 0.95), weight_decay=recipe.weight_decay)
    steps = poisson_steps(job.count, len(job.examples), recipe, rng_of(SEED, job.owner, "order"))
    assert [] in steps
    for step, drawn in enumerate(steps):
        optimizer.param_groups[0]["lr"] = recipe.lr * 0.5 * (1 + math.cos(math.pi * step / len(steps)))
        for p in params:
            p.grad = torch.zeros_like(p)
        for i in drawn:
            (-b.plain.gold_logp(model, *job.examples[i]).mean() / recipe.batch).backward()
        optimizer.step()
    return [p.detach().cpu().numpy() for p in params]


def test_with_no_bound_and_no_noise_it_is_plain_training_under_the_same_sampling(bench, pairs, worst):
    b, own, recipe = bench(), job("ann", pairs), Recipe(batch=1, lr=5e-3, steps=12)
    theirs = sampled_loop(b, own, recipe)
    assert worst(factors(train(b, [own], LOOSE, recipe=recipe)["ann"]), theirs) < 1e-5


def test_as_noise_vanishes_it_comes_to_that(bench, pairs, worst, monkeypatch):
    b, own, wide = bench(), job("ann", pairs), 10.0
    still = factors(train(b, [own], LOOSE)["ann"])
    noise = [account(5, RECIPE, Privacy(e)).noise for e in (1.0, 8.0, 100.0)]
    assert noise[0] > noise[1] > noise[2] > 0
    far = []
    for sigma in (noise[1], 1e-12):  # AdamW blows up whatever is not far below its eps of 1e-8
        loud = Guarantee(epsilon=1.0, delta=DELTA, noise=sigma, clip=wide, rate=0.4, steps=9, batch=2.0)
        monkeypatch.setattr(private, "account", lambda *_, g=loud: g)
        far.append(worst(factors(train(b, [own], Privacy(1.0, clip=wide))["ann"]), still))
    assert far[0] > 1e-2
    assert far[1] < 1e-3


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_an_owner_alone_is_the_owner_among_others(bench, pairs, worst, dropout):
    b, shape, privacy = bench(), replace(SHAPE, dropout=dropout), Privacy(8.0, clip=0.1)
    jobs = [job("ann", pairs), job("bob", pairs[:2]), job("cem", pairs[3:] * 3)]
    together = train(b, jobs, privacy, shape=shape)
    for own in jobs:
        alone = factors(train(b, [own], privacy, shape=shape)[own.owner])
        assert worst(factors(together[own.owner]), alone) < 1e-5


def test_accumulation_and_left_out_projections(bench, pairs, worst):
    b, privacy = bench(), Privacy(8.0, clip=0.1)
    recipe, shape = Recipe(batch=4, lr=5e-3, epochs=4), replace(SHAPE, modules=("q_proj", "v_proj"))
    whole = train(b, [job("ann", pairs), job("bob", pairs)], privacy, recipe, shape)
    parts = train(b, [job("ann", pairs), job("bob", pairs)], privacy, recipe, shape, tokens=1)
    for owner in ("ann", "bob"):
        assert worst(factors(whole[owner]), factors(parts[owner])) < 1e-5
        for site, up in zip(whole[owner].sites, whole[owner].B, strict=True):
            assert bool(up.any()) == site.endswith(("q_proj", "v_proj"))


def test_what_cannot_be_private_is_refused(bench, pairs):
    b = bench()
    for bad in (Job("ann", tuple(pairs)), Job("ann", tuple(pairs), ("i1",) * len(pairs))):
        with pytest.raises(ValueError, match="ann: private training needs one example per item"):
            train(b, [bad], Privacy(8.0))
    for bad in ({"epsilon": 0.0}, {"epsilon": -1.0}, {"epsilon": math.nan}, {"epsilon": 1.0, "clip": 0.0}):
        with pytest.raises(UserError, match="above 0"):
            Privacy(**bad)
    with pytest.raises(UserError, match="between 0 and 1"):
        Privacy(1.0, delta=1.0)
    with pytest.raises(UserError, match="no noise gives"):
        account(40, RECIPE, Privacy(1e-9))


def test_a_missing_accountant_is_one_line(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "opacus.accountants", None)
    with pytest.raises(UserError, match="pip install opacus"):
        account(39, RECIPE, Privacy(7.7))


def test_a_guarantee_is_plain_data():
    assert account(40, RECIPE, Privacy(math.inf)) == Guarantee(
        epsilon=math.inf, delta=DELTA, noise=0.0, clip=0.1, rate=0.05, steps=60, batch=2.0
    )
    assert seed_of(SEED, "ann", "privacy") != seed_of(SEED, "ann", "dropout")
