"""Soup, nearest, TIES, DARE and Core Space in the bank: PEFT's own merges, plain SVDs, and what must hold of any."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft.utils import merge_utils

from prime_audit.community.sharers import bank_name
from prime_audit.community.trim import Trim
from prime_audit.community.unite import united
from prime_audit.engine.lora import Adapter
from prime_audit.engine.mixture import Request
from prime_audit.plugins.loading import load_method, read_params
from prime_audit.seeds import rng_of
from prime_audit.settings import load_settings

NAMES = ("ann", "bob", "cem")
TASK = SimpleNamespace(name="LaMP-4")


def scene_of(engine, near, seed=0):
    """Everything a method asks for, over a bank that holds sharers; ``near``: target → her sharers."""
    community = SimpleNamespace(
        task=TASK,
        engine=engine,
        seed=seed,
        targets=[SimpleNamespace(id=t) for t in near],
        nearest=lambda target, k: near[target][: k or None],
        ready=lambda: None,
        keep=lambda kind, what, names, make: make(),
    )
    stage = lambda name, total: nullcontext(lambda done: None)  # noqa: E731
    return SimpleNamespace(task=TASK, engine=engine, community=community, seed=seed, stage=stage)


def share(b, adapters):
    b.engine.bank.add({bank_name(name): adapter for name, adapter in adapters.items()})


@pytest.fixture
def shared(bench):
    """Make the bench's four adapters sharers' too."""
    b = bench()
    share(b, b.plain.adapters)
    return b


def merged(b, method, near=NAMES, seed=0, **given):
    """One target's model by a method with some parameters changed."""
    plugin = load_method(method)
    values = read_params(
        plugin, {"k": str(len(near))} if method != "nearest" else {}, load_settings("laptop"), "LaMP-4"
    )
    return plugin.personalise(scene_of(b.engine, {"t": tuple(near)}, seed), **values | given)["t"]


def updates(b, mixture):
    """ΔW of every site, scaling included."""
    adapter = b.engine.bank.adapter(mixture)
    return [adapter.scaling * (y.double() @ x.double()) for x, y in zip(adapter.A, adapter.B, strict=True)]


def update_of(adapter):
    return [adapter.scaling * (y.double() @ x.double()) for x, y in zip(adapter.A, adapter.B, strict=True)]


def gap(ours, theirs):
    return max(float((x.cpu() - y.cpu()).abs().max()) for x, y in zip(ours, theirs, strict=True))


def peft_merge(b, names, weights, **how):
    """PEFT's model with the merge set, and its update at every site."""
    peft = b.plain.peft()
    peft.add_weighted_adapter(list(names), list(weights), "merge", **how)
    peft.set_adapter("merge")
    layers = [peft.base_model.model.get_submodule(site) for site in b.plain.sites]
    return peft, [layer.get_delta_weight("merge").detach().double() for layer in layers]


# -- PEFT's own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [0.2, 0.37, 1.0])
@pytest.mark.parametrize("scale", [1.0, 0.6])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"space": "factor"}, {"combination_type": "ties"}),
        ({"space": "delta"}, {"combination_type": "ties_svd", "svd_rank": 12}),  # 3 sharers of rank 4
        ({"space": "delta", "rank": 4}, {"combination_type": "ties_svd"}),
        ({"space": "delta", "rank": 7}, {"combination_type": "ties_svd", "svd_rank": 8}),  # rounded up
    ],
)
def test_ties_is_pefts(shared, pairs, worst, density, scale, ours, theirs):
    own = merged(shared, "ties", density=density, scale=scale, **ours)
    peft, expected = peft_merge(shared, NAMES, [scale] * 3, density=density, **theirs)
    assert own.sharers == NAMES
    assert gap(updates(shared, own.mixture), expected) < 1e-5
    scores = shared.engine.score([Request(p, own.mixture, gold=g) for p, g in pairs])
    assert worst(scores, shared.plain.score(peft, pairs)) < 1e-4


@pytest.fixture
def same_draws(monkeypatch):
    """Make PEFT drop what we drop: a fixture's words → the generators behind its next random masks, in its order."""

    def make(sites, sharers, parts, seed=0):
        draws = iter(
            rng_of(seed, "dare", TASK.name, s, site + part)
            for site in sites
            for part in parts
            for s in sharers
        )

        def pruned(tensor, density, rescale):
            kept = next(draws).random(tuple(tensor.shape), dtype=np.float32) < density
            assert rescale
            return tensor * torch.tensor(kept).to(tensor) / density

        monkeypatch.setattr(merge_utils, "random_pruning", pruned)

    return make


@pytest.mark.parametrize(
    ("space", "parts", "theirs"),
    [
        ("factor", (" A", " B"), {"combination_type": "dare_ties"}),
        ("delta", ("",), {"combination_type": "dare_ties_svd", "svd_rank": 12}),
    ],
)
def test_dare_with_elected_signs_is_pefts(shared, pairs, worst, same_draws, space, parts, theirs):
    own = merged(shared, "dare", density=0.4, elect=True, space=space, scale=0.6)
    same_draws(shared.plain.sites, NAMES, parts)
    peft, expected = peft_merge(shared, NAMES, [0.6] * 3, density=0.4, **theirs)
    assert gap(updates(shared, own.mixture), expected) < 1e-5
    scores = shared.engine.score([Request(p, own.mixture, gold=g) for p, g in pairs])
    assert worst(scores, shared.plain.score(peft, pairs)) < 1e-4


@pytest.mark.parametrize(
    ("how", "space", "parts", "theirs"),
    [
        ("ties", "factor", (), "magnitude_prune"),
        ("ties", "delta", (), "magnitude_prune_svd"),
        ("dare", "factor", (" A", " B"), "dare_linear"),
        ("dare", "delta", ("",), "dare_linear_svd"),
    ],
)
def test_one_sharer_trimmed_is_pefts(shared, same_draws, how, space, parts, theirs):
    scene = scene_of(shared.engine, {})
    made = united(scene.community, scene.stage, [{"bob"}], Trim(how, 0.3, space))
    (name,) = made[frozenset({"bob"})]  # one adapter of the bank's rank: what PriME searches over
    # PEFT trims nothing where it is given one adapter alone; another of weight 0 adds nothing.
    same_draws(shared.plain.sites, ["bob", "ann"], parts)
    _, expected = peft_merge(shared, ["bob", "ann"], [1.0, 0.0], combination_type=theirs, density=0.3)
    bank = shared.engine.bank
    ours = [
        bank.scaling * (b[0].double() @ a[0].double())
        for a, b in (bank.factors(i, [name]) for i in range(12))
    ]
    assert gap(ours, expected) < 1e-5


@pytest.mark.parametrize("space", ["factor", "delta"])
def test_dare_is_the_mean_of_what_is_left_of_each(shared, space):
    own = merged(shared, "dare", density=0.4, scale=0.9, space=space)
    alone = [merged(shared, "dare", near=[n], density=0.4, space=space) for n in NAMES]
    each = [updates(shared, one.mixture) for one in alone]
    mean = [0.9 * sum(x) / 3 for x in zip(*each, strict=True)]
    assert gap(updates(shared, own.mixture), mean) < 1e-6


# -- core space, by SVDs of whole updates ---------------------------------------------------------------------


def iso_c(updates, most):
    """Iso-C of whole updates, with the mean over as many singular values as the core has."""
    u, s, vh = torch.linalg.svd(sum(updates) / len(updates), full_matrices=False)
    return s[:most].mean() * (u[:, :most] @ vh[:most])


def tsv_m(updates, most):
    """TSV-M of whole updates, divided by their number."""
    kept = most // len(updates)
    parts = [torch.linalg.svd(one, full_matrices=False) for one in updates]
    u = torch.cat([u[:, :kept] for u, _, _ in parts], dim=1)
    vh = torch.cat([vh[:kept] for _, _, vh in parts])
    s = torch.cat([s[:kept] for _, s, _ in parts])
    (p, _, q), (x, _, y) = (torch.linalg.svd(one, full_matrices=False) for one in (u, vh))
    return p @ q @ torch.diag(s) @ x @ y / len(updates)


DENSE = {"mean": lambda updates, _: sum(updates) / len(updates), "iso": iso_c, "tsv": tsv_m}


@pytest.mark.parametrize("near", [NAMES, ("bob", "dot"), ("cem",)])
@pytest.mark.parametrize("variant", DENSE)
def test_core_space_is_the_merge_of_whole_updates(shared, pairs, worst, near, variant):
    own = merged(shared, "core", near=near, variant=variant, scale=0.7)
    each = [update_of(shared.plain.adapters[n]) for n in near]
    made = []
    for site in zip(*each, strict=True):
        most = min(
            4 * len(near), *site[0].shape
        )  # k adapters of rank 4, unless the matrix has fewer directions
        made.append(0.7 * DENSE[variant](site, most))
    assert (own.sharers, len(own.mixture.names)) == (near, len(near))
    assert gap(updates(shared, own.mixture), made) < 1e-5
    scores = shared.engine.score([Request(p, own.mixture, gold=g) for p, g in pairs])
    assert worst(scores, shared.plain.score(shared.plain.merged(lambda i: made[i].float()), pairs)) < 1e-4


@pytest.mark.parametrize("variant", ["mean", "tsv"])
def test_core_space_of_one_sharer_is_her_update(shared, variant):
    own = merged(shared, "core", near=["dot"], variant=variant)
    assert gap(updates(shared, own.mixture), update_of(shared.plain.adapters["dot"])) < 1e-5


@pytest.mark.parametrize("variant", DENSE)
def test_core_space_has_no_direction_that_no_sharer_has(bench, variant):
    """Equal adapters, one of them padded with zeros, and a module that no sharer changes."""
    b = bench()
    ann = b.plain.adapters["ann"]
    half = [torch.cat([a[:2], torch.zeros_like(a[2:])]) for a in ann.A]
    thin = Adapter(ann.sites, tuple(half), (torch.zeros_like(ann.B[0]), *ann.B[1:]), ann.scaling)
    share(b, dict.fromkeys(NAMES, thin))
    ours = updates(b, merged(b, "core", variant=variant).mixture)
    assert not ours[0].any()
    for own, theirs in zip(ours[1:], update_of(thin)[1:], strict=True):
        assert torch.linalg.matrix_rank(own, rtol=1e-4) <= 2
        u, s, _ = torch.linalg.svd(theirs)
        assert (u[:, 2:].T @ own).abs().max() < 1e-5 * s[0]


# -- what must hold ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("merge", ["delta", "factor"])
def test_a_soup_of_one_adapter_many_times_is_that_adapter(bench, merge):
    b = bench()
    ann = b.plain.adapters["ann"]
    share(b, dict.fromkeys(NAMES, ann))
    own = merged(b, "soup", merge=merge)
    assert own.mixture.weights.tolist() == [1 / 3] * 3
    assert gap(updates(b, own.mixture), update_of(ann)) < 1e-6


def test_a_soup_is_the_mean_of_updates(shared):
    own = merged(shared, "soup")
    mean = [sum(x) / 3 for x in zip(*(update_of(shared.plain.adapters[n]) for n in NAMES), strict=True)]
    assert gap(updates(shared, own.mixture), mean) < 1e-6
    assert own.sharers == NAMES


def test_nearest_is_the_first_ones_adapter(shared):
    own = merged(shared, "nearest", near=("cem", "ann"), scale=0.5)
    assert (own.sharers, own.mixture.names) == (("cem",), ("sharer:cem",))
    assert gap(updates(shared, own.mixture), [u / 2 for u in update_of(shared.plain.adapters["cem"])]) < 1e-6


@pytest.mark.parametrize("method", ["ties", "dare"])
@pytest.mark.parametrize("space", ["delta", "factor"])
def test_one_sharer_who_keeps_everything_is_herself_times_the_scale(shared, method, space):
    own = merged(shared, method, near=["dot"], density=1.0, scale=1.3, space=space)
    assert own.sharers == ("dot",)
    assert (
        gap(updates(shared, own.mixture), [1.3 * u for u in update_of(shared.plain.adapters["dot"])]) < 1e-5
    )


@pytest.mark.parametrize("method", ["ties", "dare"])
def test_where_all_signs_agree_and_all_is_kept_the_merge_is_the_mean(bench, method):
    b = bench()
    some = {
        n: Adapter(o.sites, tuple(a.abs() for a in o.A), tuple(x.abs() for x in o.B), o.scaling)
        for n, o in b.plain.adapters.items()
    }
    share(b, some)
    more = {"elect": True} if method == "dare" else {}
    mean = [sum(x) / 3 for x in zip(*(update_of(some[n]) for n in NAMES), strict=True)]
    assert gap(updates(b, merged(b, method, density=1.0, space="delta", **more).mixture), mean) < 1e-5
    factors = [
        b.engine.bank.scaling
        * sum(some[n].B[i].double() for n in NAMES)
        @ sum(some[n].A[i].double() for n in NAMES)
        / 9
        for i in range(12)
    ]
    assert gap(updates(b, merged(b, method, density=1.0, space="factor", **more).mixture), factors) < 1e-5


@pytest.mark.parametrize("given", [{"method": "ties"}, {"method": "dare", "elect": True}])
@pytest.mark.parametrize("space", ["delta", "factor"])
def test_targets_with_the_same_sharers_have_the_same_adapters_in_whatever_order(shared, given, space):
    first = merged(shared, near=NAMES, space=space, **given)
    count = len(shared.engine.bank.names)
    again = merged(shared, near=NAMES[::-1], space=space, **given)
    assert again.mixture.names == first.mixture.names
    assert again.sharers == NAMES[::-1]
    assert len(shared.engine.bank.names) == count
    for name in first.mixture.names:
        assert shared.engine.bank.made_of[name] == tuple(map(bank_name, NAMES))


def test_what_is_dropped_of_a_sharer_is_hers_and_the_seeds(shared, bench):
    def factors(b, name):
        return torch.cat([f.flatten() for i in range(12) for f in b.engine.bank.factors(i, [name])])

    both = merged(shared, "dare", near=("ann", "bob"))
    other = merged(shared, "dare", near=("cem", "ann"))
    assert both.mixture.names[0] == other.mixture.names[1]
    found = {}
    for seed in (0, 0, 1):
        b = bench()
        share(b, b.plain.adapters)
        own = merged(b, "dare", near=("ann",), seed=seed)
        values = factors(b, own.mixture.names[0])
        if seed in found:
            assert torch.equal(found[seed], values)
        found[seed] = values
    assert torch.equal(found[0], factors(shared, both.mixture.names[0]))
    assert not torch.equal(found[0], found[1])


def test_parameters_that_change_the_merge_change_the_adapter(shared):
    names = [
        merged(shared, method, **given).mixture.names
        for method in ("ties", "dare")
        for given in ({}, {"density": 0.3}, {"space": "factor"}, {"space": "delta"})
    ]
    assert len(set(names)) == 6  # each method's default space is one of the two
    assert not [n for own in names for n in own if n.startswith(("sharer:", "own:"))]
