"""Greedy decoding against ``model.generate``, token for token; sampling that belongs to the request."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from prime_audit.engine import kvcache
from prime_audit.engine.engine import Engine
from prime_audit.engine.kvcache import GrowingLayer
from prime_audit.engine.load import load_base
from prime_audit.engine.mixture import Mixture, Request, alone
from prime_audit.engine.sampling import Sampling, choose, uniforms

KINDS = ["llama", "mistral", "qwen2"]
NEW = 20


def as_ids(engine, monkeypatch):
    """Let ``generate`` return the token ids themselves."""
    monkeypatch.setattr(engine.base.codec, "decode", tuple)


def huggingface(plain, model, prompts, stops, new=NEW):
    """Run ``generate`` on one left-padded batch; ids up to the first stop of each row."""
    rows = [plain.tokenizer(p)["input_ids"] for p in prompts]
    width = max(map(len, rows))
    ids = torch.tensor([[stops[0]] * (width - len(r)) + r for r in rows], device=plain.device)
    mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows], device=plain.device)
    out = model.generate(
        input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=new,
        eos_token_id=list(stops), pad_token_id=stops[0],
    )[:, width:].tolist()  # fmt: skip
    return [tuple(row[: next((i for i, t in enumerate(row) if t in stops), len(row))]) for row in out]


def common_stops(plain, model, prompts):
    """Pick tokens that the model does produce, so that rows end at different steps."""
    free = huggingface(plain, model, prompts, [plain.tokenizer.eos_token_id])
    return [plain.tokenizer.eos_token_id, free[0][2], free[1][7], free[3][12]]


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_equals_generate(bench, pairs, kind, monkeypatch):
    b = bench(kind)
    as_ids(b.engine, monkeypatch)
    prompts, model = [p for p, _ in pairs], b.plain.model()
    stops = common_stops(b.plain, model, prompts)
    for case in (stops[:1], stops):
        b.engine.base.stops = tuple(case)
        written = b.engine.write([Request(p) for p in prompts], NEW)
        ours = [w.text for w in written]
        assert ours == huggingface(b.plain, model, prompts, case)
        assert [w.ended for w in written] == [
            len(row) < NEW for row in ours
        ]  # what has no stop token was cut
        assert max(map(len, ours)) == NEW or case == stops
    assert len({len(row) for row in ours}) >= 3  # the last case did end rows at different steps
    assert b.engine.base.spent.requests == 2 * len(prompts)
    assert b.engine.base.spent.new_tokens >= sum(map(len, ours))


@pytest.mark.parametrize("rule", ["delta", "factor"])
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_with_mixtures_equals_generate_on_the_merged_model(bench, pairs, kind, rule, monkeypatch):
    b = bench(kind)
    as_ids(b.engine, monkeypatch)
    prompts, names = [p for p, _ in pairs], ("ann", "cem")
    tables = [np.random.default_rng(s).uniform(-1, 1, (12, 2)) for s in range(3)]
    models = [b.plain.soup(names, t, rule) for t in tables]
    b.engine.base.stops = tuple(common_stops(b.plain, models[0], prompts))
    ours = b.engine.generate([Request(p, Mixture(names, t, rule)) for t in tables for p in prompts], NEW)
    theirs = [row for m in models for row in huggingface(b.plain, m, prompts, b.engine.base.stops)]
    assert ours == theirs
    assert len({len(row) for row in ours}) >= 3


def test_greedy_equals_generate_on_pefts_own_merge(bench, pairs, monkeypatch):
    b = bench()
    as_ids(b.engine, monkeypatch)
    prompts, stops = [p for p, _ in pairs], list(b.engine.base.stops)
    peft = b.plain.peft()
    peft.add_weighted_adapter(["ann", "bob"], [0.6, -0.9], "mix", combination_type="cat")
    peft.set_adapter("mix")
    mixture = Mixture(("ann", "bob"), np.array([0.6, -0.9]))
    ours = b.engine.generate([Request(p, mixture) for p in prompts], NEW)
    assert ours == huggingface(b.plain, peft.merge_and_unload(), prompts, stops)


def test_small_batches_and_other_rows_change_nothing(bench, pairs):
    b = bench()
    requests = [Request(p, m) for p, _ in pairs for m in (Mixture(), alone("ann"), alone("bob"))]
    together = b.engine.generate(requests, NEW)
    b.engine.batch_tokens = b.engine.read_tokens = 1
    ticks: list[int] = []
    assert b.engine.generate(requests, NEW, ticks.append) == together
    assert ticks == [1] * len(requests)


@pytest.mark.parametrize("alike", [False, True])
def test_nothing_is_read_from_the_cache_that_was_not_written(bench, pairs, monkeypatch, alike):
    """Room for keys and values is left as the memory was; here it holds what spoils every sum it enters."""
    b, kinds = bench(), (Mixture(), alone("ann"), alone("bob"))
    b.engine.read_tokens, b.engine.batch_tokens = (
        1,
        4096,
    )  # each prompt is read by itself, and answered beside others
    as_ids(b.engine, monkeypatch)
    prompts = [pairs[1][0]] * 3 if alike else [p for p, _ in pairs]
    if not alike:
        b.engine.base.stops = tuple(common_stops(b.plain, b.plain.model(), prompts))
    requests = [Request(p, m) for p in prompts for m in kinds]
    clean = b.engine.generate(requests, NEW)
    monkeypatch.setattr(kvcache, "ROOM", 3)
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda t, shape, **_: torch.full(shape, torch.nan, dtype=t.dtype)
    )
    assert b.engine.generate(requests, NEW) == clean
    assert max(map(len, clean)) > 2 * 3


def test_every_end_that_the_model_names_stops_an_answer(bench, pairs, tmp_path, monkeypatch):
    """Instruct models name several ends (Llama 3, Qwen); ``generate`` stops at any of them."""
    b = bench()
    model, prompts = b.plain.model(), [p for p, _ in pairs]
    stops = common_stops(b.plain, model, prompts)
    folder = shutil.copytree(b.plain.folder, tmp_path / "model")
    model.generation_config.eos_token_id = stops
    model.generation_config.save_pretrained(folder)
    base = load_base(str(folder), targets=["q_proj"], device=b.plain.device, dtype="float32")
    engine = Engine(base=base, bank=b.engine.bank)
    as_ids(engine, monkeypatch)
    assert set(base.stops) == set(stops)
    assert engine.generate([Request(p) for p in prompts], NEW) == huggingface(b.plain, model, prompts, stops)


def test_sampling_belongs_to_the_request_not_to_the_batch(bench, pairs):
    b = bench()
    requests = [Request(p, alone(n), key=(n, p)) for p, _ in pairs for n in ("ann", "bob")]

    def draw(seed, tokens=4096, asked=requests):
        engine = Engine(
            base=b.engine.base,
            bank=b.engine.bank,
            batch_tokens=tokens,
            sampling=Sampling(temperature=1.0, top_p=0.95, seed=seed),
        )
        return engine.generate(asked, NEW)

    together = draw(0)
    assert draw(0) == draw(0, tokens=1) == together
    assert draw(0, asked=requests[::-1])[::-1] == together
    assert all(a != c for a, c in zip(draw(1), together, strict=True))
    assert together != b.engine.generate(requests, NEW)
    with pytest.raises(ValueError, match="needs a key"):
        draw(0, asked=[Request("Tag:")])


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"),
    [
        (1, 1, 0),
        (0.7, 0.9, 0),
        (1, 0.5, 0),
        (0.6, 0.9, 10),
        (1.3, 1, 5),
        (1, 0.95, 3),
        (0.1, 0.9, 0),
        (1, 0.01, 0),
    ],
)
def test_drawn_shares_equal_the_warped_distribution(device, temperature, top_p, top_k):
    """Inverting at an even grid of u gives each token its probability to one part in the grid, and no other token."""
    logits = 2 * torch.randn(1, 60, generator=torch.Generator().manual_seed(1)).to(device)
    warpers = LogitsProcessorList([TemperatureLogitsWarper(float(temperature))])
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    want = torch.softmax(warpers(None, logits), -1)[0].double().cpu().numpy()
    n = 20_000
    u = ((torch.arange(n, dtype=torch.float64) + 0.5) / n).to(device)
    drawn = choose(logits.expand(n, -1), Sampling(float(temperature), top_p, top_k), u).cpu().numpy()
    got = np.bincount(drawn, minlength=60) / n
    assert np.abs(got - want).max() < 1.5 / n
    assert set(np.flatnonzero(got)) <= set(np.flatnonzero(want))


def test_random_numbers_depend_on_seed_and_key_alone():
    cpu, keys = torch.device("cpu"), [("u", "1"), ("u", "2")]
    one = uniforms(Sampling(seed=1), keys, 500, cpu)
    assert one is not None
    assert torch.equal(one[1:], uniforms(Sampling(seed=1), keys[1:], 500, cpu))
    assert torch.equal(one[:, :30], uniforms(Sampling(seed=1), keys, 30, cpu))
    assert not torch.equal(one, uniforms(Sampling(seed=2), keys, 500, cpu))
    assert abs(one.mean() - 0.5) < 0.05
    assert one.min() >= 0
    assert one.max() < 1
    last = choose(
        torch.tensor([[0.0, 1.0, -1e9]]), Sampling(1.0, 1.0), torch.tensor([1 - 2**-53], dtype=torch.float64)
    )
    assert last.item() == 0  # never a token without probability, not even at the very end


@pytest.mark.parametrize("bad", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_k": -1}])
def test_numbers_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="temperature > 0"):
        Sampling(**bad)


def test_prompts_read_in_parts_of_unlike_length(bench, pairs, monkeypatch):
    """Columns of the cache that a shorter part does not use must not be seen, whatever stands in them."""
    b = bench()
    requests = [Request(p * n, alone(name)) for p, _ in pairs for n in (1, 3) for name in ("ann", "bob")]
    whole = b.engine.generate(requests, NEW)
    blank = GrowingLayer._blank
    monkeypatch.setattr(GrowingLayer, "_blank", lambda layer, states: blank(layer, states) + 1e3)
    b.engine.read_tokens = 40
    assert b.engine.generate(requests, NEW) == whole
