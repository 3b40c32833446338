"""Rows of different mixtures in one batch against PEFT's ``cat`` merge and weights merged by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prime_audit.engine.bank import AdapterBank, MixtureBranch, per_site
from prime_audit.engine.lora import Adapter
from prime_audit.engine.mixture import Mixture, Request, alone
from prime_audit.engine.rules import RULES, Delta

NAMES = ("ann", "bob", "cem")
SCALAR = [
    np.array(w)
    for w in ([0.5, 0.3, 0.2], [1.0, 0.0, 0.0], [-1.5, 0.7, 1.2], [-0.4, -0.4, -0.4], [0.0, 0.0, 0.0])
]
LAYERED = [np.random.default_rng(s).uniform(-1.5, 1.5, (3, 3)) for s in range(3)]
BY_SITE = [np.random.default_rng(s).uniform(-1.5, 1.5, (12, 3)) for s in range(3, 5)]


def spread(weights: np.ndarray) -> np.ndarray:
    """[sites, k]: four sites a layer, written without the engine."""
    if weights.ndim == 1:
        return np.tile(weights, (12, 1))
    return np.repeat(weights, 4, axis=0) if len(weights) == 3 else weights


def score_all(engine, mixtures, pairs):
    """Every mixture on every pair in a single call; → per mixture the rows' log-probabilities."""
    requests = [Request(p, m, gold=g) for m in mixtures for p, g in pairs]
    rows = engine.score(requests)
    return [rows[i : i + len(pairs)] for i in range(0, len(rows), len(pairs))]


def test_scalar_weights_equal_pefts_cat_merge(bench, pairs, worst):
    b = bench()
    ours = score_all(b.engine, [Mixture(NAMES, w) for w in SCALAR], pairs)
    peft = b.plain.peft()
    for i, (weights, rows) in enumerate(zip(SCALAR, ours, strict=True)):
        peft.add_weighted_adapter(list(NAMES), weights.tolist(), f"merge{i}", combination_type="cat")
        peft.set_adapter(f"merge{i}")
        assert worst(rows, b.plain.score(peft, pairs)) < 1e-4


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("weights", [SCALAR, LAYERED, BY_SITE], ids=["scalar", "layer", "site"])
def test_weights_equal_a_merge_by_hand(bench, pairs, worst, weights, rule):
    b = bench()
    ours = score_all(b.engine, [Mixture(NAMES, w, rule) for w in weights], pairs)
    for w, rows in zip(weights, ours, strict=True):
        assert worst(rows, b.plain.score(b.plain.soup(NAMES, spread(w), rule), pairs)) < 1e-4


@pytest.mark.parametrize("kind", ["mistral", "qwen2"])
@pytest.mark.parametrize("rule", RULES)
def test_other_architectures_mix_alike(bench, pairs, worst, kind, rule):
    b = bench(kind)
    (ours,) = score_all(b.engine, [Mixture(NAMES, LAYERED[0], rule)], pairs)
    assert worst(ours, b.plain.score(b.plain.soup(NAMES, spread(LAYERED[0]), rule), pairs)) < 1e-4


def test_all_logits_of_a_mixed_batch_equal_the_merged_models(bench):
    b = bench()
    mixtures = [Mixture(NAMES, w) for w in (*SCALAR, *LAYERED)] + [alone("dot")]
    ids = torch.tensor([b.plain.tokenizer("the council met on Monday")["input_ids"]], device=b.plain.device)
    with torch.inference_mode(), b.engine.base.mounted(MixtureBranch(b.engine.bank, mixtures)):
        ours = b.engine.base.model(ids.expand(len(mixtures), -1), use_cache=False).logits
    for row, mixture in zip(ours, mixtures, strict=True):
        merged = b.plain.soup(mixture.names, spread(mixture.weights), "delta")
        with torch.inference_mode():
            torch.testing.assert_close(row, merged(ids).logits[0], atol=1e-4, rtol=0)


def test_one_call_may_hold_bare_rows_rules_and_different_adapters(bench, pairs, worst):
    b = bench()
    turned = spread(np.array([-0.2, 0.9]))
    models = [
        (Mixture(), b.plain.model()),
        (alone("dot"), b.plain.soup(["dot"], np.ones((12, 1)), "delta")),
        (Mixture(("bob", "ann"), np.array([0.9, -0.2])), b.plain.soup(["ann", "bob"], turned, "delta")),
        (Mixture(NAMES, SCALAR[2], "factor"), b.plain.soup(NAMES, spread(SCALAR[2]), "factor")),
    ]  # fmt: skip
    ours = score_all(b.engine, [m for m, _ in models], pairs)
    for rows, (_, model) in zip(ours, models, strict=True):
        assert worst(rows, b.plain.score(model, pairs)) < 1e-4


@pytest.mark.parametrize("rule", RULES)
def test_the_same_adapters_in_another_order_share_a_batch(bench, pairs, worst, monkeypatch, rule):
    b = bench()
    orders = [NAMES, NAMES[::-1], ("bob", "ann", "cem")]
    mixtures = [Mixture(names, np.array([0.9, -0.4, 0.7]), rule) for names in orders]
    alone_ = [score_all(b.engine, [mixture], pairs)[0] for mixture in mixtures]
    batches, branch = [], b.engine.branch
    monkeypatch.setattr(b.engine, "branch", lambda rows: batches.append(len(rows)) or branch(rows))
    together = score_all(b.engine, mixtures, pairs)
    assert sum(batches) == 3 * len(pairs)
    assert len(batches) == 1  # one pass, though each names them in an order of its own
    for mixture, rows, single in zip(mixtures, together, alone_, strict=True):
        assert worst(rows, single) < 1e-4
        hand = b.plain.soup(mixture.names, spread(mixture.weights), rule)
        assert worst(rows, b.plain.score(hand, pairs)) < 1e-4


def test_factor_rule_is_even_and_quadratic(bench, pairs, worst):
    b = bench()
    w = np.array([0.9, -0.3, 0.6])
    plus, minus, single, square, delta = score_all(
        b.engine,
        [
            Mixture(NAMES, w, "factor"),
            Mixture(NAMES, -w, "factor"),
            Mixture(("ann",), np.array([-0.7]), "factor"),
            Mixture(("ann",), np.array([0.49])),
            Mixture(NAMES, w),
        ],
        pairs,
    )
    assert worst(plus, minus) < 1e-5
    assert worst(single, square) < 1e-4
    assert worst(plus, delta) > 0.1  # the two rules are different models


@pytest.mark.parametrize("rule", RULES)
def test_a_mixture_written_out_as_an_adapter_is_the_same_model(bench, pairs, worst, rule):
    b = bench()
    mixture = Mixture(NAMES, LAYERED[1], rule)
    (mixed,) = score_all(b.engine, [mixture], pairs)
    b.engine.base.merge(b.engine.bank.adapter(mixture))
    (merged,) = score_all(b.engine, [Mixture()], pairs)
    assert worst(mixed, merged) < 1e-4


class Halved(Delta):
    """Half the sum of updates: all that a further rule has to say."""

    name = "halved"

    def weights(self, table, scaling, rank):
        return super().weights(table / 2, scaling, rank)

    def merge(self, adapters, table):
        return super().merge(adapters, table / 2)


def test_a_rule_is_one_object(bench, pairs, worst, monkeypatch):
    monkeypatch.setitem(RULES, "halved", Halved())
    b = bench()
    mixture = Mixture(NAMES, SCALAR[2], "halved")
    mixed, half, whole = score_all(
        b.engine, [mixture, Mixture(NAMES, SCALAR[2] / 2), Mixture(NAMES, SCALAR[2])], pairs
    )
    assert worst(mixed, half) < 1e-5 < worst(mixed, whole)
    b.engine.base.merge(b.engine.bank.adapter(mixture))
    (merged,) = score_all(b.engine, [Mixture()], pairs)
    assert worst(mixed, merged) < 1e-4


def test_bf16_keeps_near_equal_candidates_apart(bench):
    """0.3004 and 0.3008 are one number in bfloat16; the weights must not be stored in it."""
    b = bench()
    b.engine.base.model.bfloat16()
    bank = AdapterBank(b.engine.base)
    bank.add({"ann": b.plain.adapters["ann"]})
    branch = MixtureBranch(bank, [Mixture(("ann",), np.array([w])) for w in (0.3004, 0.3008)])
    x = torch.randn(1, 5, 32, device=b.plain.device, dtype=torch.bfloat16).expand(2, -1, -1)
    out = branch(0, x)
    assert out.dtype == torch.bfloat16
    assert not torch.equal(out[0], out[1])


def test_what_does_not_fit_is_refused(bench):
    b = bench()
    ann = b.plain.adapters["ann"]
    with pytest.raises(ValueError, match="in the bank already"):
        b.engine.bank.add({"ann": ann})
    with pytest.raises(ValueError, match="another rank or scaling"):
        b.engine.bank.add({"eve": Adapter(ann.sites, ann.A, ann.B, 1.0)})
    with pytest.raises(ValueError, match="other modules"):
        b.engine.bank.add({"eve": Adapter(ann.sites[:3], ann.A[:3], ann.B[:3], ann.scaling)})
    with pytest.raises(ValueError, match=r"model\.layers\.0\.self_attn\.q_proj do not fit"):
        b.engine.bank.add({"eve": Adapter(ann.sites, tuple(a[:, :-1] for a in ann.A), ann.B, ann.scaling)})
    assert b.engine.bank.names == ["ann", "bob", "cem", "dot"]
    with pytest.raises(ValueError, match="mixture of 2 adapters"):
        Mixture(("ann", "bob"), np.ones(3))
    with pytest.raises(ValueError, match="mixture of 1 adapters"):
        Mixture(("ann",), np.ones(1), "mean")
    with pytest.raises(ValueError, match="match neither 12 sites"):
        per_site(Mixture(("ann",), np.ones((5, 1))), b.engine.base.sites)


def test_an_adapter_in_another_order_of_sites_is_put_right(bench, pairs, worst):
    b = bench()
    ann, order = b.plain.adapters["ann"], list(reversed(range(12)))
    turned = Adapter(*(tuple(part[i] for i in order) for part in (ann.sites, ann.A, ann.B)), ann.scaling)
    b.engine.bank.add({"nna": turned})
    as_made, as_turned = score_all(b.engine, [alone("ann"), alone("nna")], pairs)
    assert worst(as_made, as_turned) == 0
    b.engine.base.merge(turned)
    (merged,) = score_all(b.engine, [Mixture()], pairs)
    assert worst(as_made, merged) < 1e-4
