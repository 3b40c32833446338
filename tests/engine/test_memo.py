"""What was asked once is not asked again, and only that."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prime_audit.community.store import Store
from prime_audit.engine.lora import Adapter
from prime_audit.engine.memo import pack, unpack
from prime_audit.engine.mixture import Continuation, Mixture, Observation, Probe, Request, alone
from prime_audit.engine.sampling import Sampling


@pytest.fixture
def kept(bench, tmp_path):
    """Give an engine a cache."""
    b = bench()
    b.engine.keeper = Store(tmp_path, b.engine.base.spent, b.engine.base.codec.cuts)
    return b


def asked(b, do):
    """Return what ``do`` gives, and whether the model ran for it."""
    calls = []
    handle = b.engine.base.model.base_model.register_forward_hook(lambda *_: calls.append(1))
    try:
        return do(), bool(calls)
    finally:
        handle.remove()


def test_answers_are_read_back_with_their_cost_and_progress(kept, pairs):
    requests = [Request(p, alone("ann")) for p, _ in pairs]
    first, ran = asked(kept, lambda: kept.engine.generate(requests, 6))
    spent = kept.engine.base.spent
    before, ticks = (spent.requests, spent.prompt_tokens, spent.new_tokens), []
    again, ran_again = asked(kept, lambda: kept.engine.generate(requests, 6, ticks.append))
    assert again == first
    assert (ran, ran_again) == (True, False)
    assert (spent.requests, spent.prompt_tokens, spent.new_tokens) == tuple(2 * n for n in before)
    assert sum(ticks) == len(requests)


def test_whatever_decides_an_answer_makes_another_question(kept, pairs, monkeypatch):
    prompts = [p for p, _ in pairs[:2]]
    half = Mixture(("ann",), np.array([0.5]))

    def ask(mixture=half, new=6, key=("u", "1")):
        return asked(
            kept, lambda: kept.engine.generate([Request(p, mixture, key=key) for p in prompts], new)
        )[1]

    assert ask()
    assert not ask()
    assert not ask(key=("u", "2"))  # greedy: nothing is drawn
    assert ask(Mixture(("ann",), np.array([0.5 + 1e-12])))
    assert ask(Mixture(("ann",), np.array([0.5]), "factor"))
    assert ask(Mixture(("bob",), np.array([0.5])))
    assert ask(new=7)
    kept.engine.sampling = Sampling(seed=1)
    assert ask()
    assert not ask()
    assert ask(key=("u", "2"))
    kept.engine.sampling = None
    own = kept.plain.adapters["cem"]
    kept.engine.base.merge(own)
    assert ask()
    kept.engine.base.restore()
    assert not ask()
    stops = kept.engine.base.stops
    kept.engine.base.stops = (*stops, 9)
    assert ask()
    kept.engine.base.stops = stops
    monkeypatch.setattr("prime_audit.engine.memo.code_sha256", lambda _: "other code")
    assert ask()


def test_an_adapter_counts_by_its_numbers_not_its_name(kept, bench, pairs):
    own = kept.plain.adapters["ann"]
    twin = Adapter(own.sites, own.A, tuple(b + 1e-3 for b in own.B), own.scaling)
    kept.engine.bank.add({"same": own, "twin": twin})
    prompt = pairs[0][0]

    def ask(name):
        return asked(kept, lambda: kept.engine.generate([Request(prompt, alone(name))], 5))[1]

    assert ask("ann")
    assert not ask("same")
    assert ask("twin")


def test_observations_come_back_bit_for_bit(kept, pairs):
    probes = [
        Probe(p, alone("ann"), (Continuation(g), Continuation(g.upper(), before="some words")))
        for p, g in pairs
    ]
    (first, _), (again, ran) = (asked(kept, lambda: kept.engine.observe(probes, moments=True)) for _ in "ab")
    assert not ran
    for one, other in zip(first, again, strict=True):
        for x, y in zip(
            (*one.logprobs, one.mu, one.sigma, one.top),
            (*other.logprobs, other.mu, other.sigma, other.top),
            strict=True,
        ):
            np.testing.assert_array_equal(x, y)
    assert asked(kept, lambda: kept.engine.observe(probes))[1]  # without moments: another question


def test_packing_keeps_what_is_not_there():
    seen = np.array([True, False, True])
    rows = [
        Observation((np.arange(3.0), np.zeros(0)), np.ones(3), np.ones(3), seen),
        Observation((np.ones(1),)),
    ]
    back = unpack(pack(rows))
    assert [len(o.logprobs) for o in back] == [2, 1]
    assert back[1].mu is None
    np.testing.assert_array_equal(back[0].mu, np.ones(3))
    assert back[0].top.tolist() == [True, False, True]
    assert unpack(pack([])) == []


def test_texts_that_lost_their_front_are_counted_however_they_came(bench, tmp_path):
    long = Request("the council met on Monday and voted for the new bridge " * 8)
    counts = []
    for _ in range(2):
        b = bench(context=40)
        b.engine.keeper = Store(tmp_path, b.engine.base.spent, b.engine.base.codec.cuts)
        b.engine.generate([long], 4)
        counts.append(b.engine.base.codec.cut)
    assert counts == [1, 1]


def test_a_threads_count_is_part_of_the_question(kept, pairs):
    threads = torch.get_num_threads()
    requests = [Request(pairs[0][0])]
    kept.engine.generate(requests, 3)
    try:
        torch.set_num_threads(threads + 1)
        assert asked(kept, lambda: kept.engine.generate(requests, 3))[1]
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("cached", [True, False])
def test_what_one_call_asks_twice_of_one_mixture_is_done_once(kept, pairs, cached):
    engine = kept.engine
    if not cached:
        engine.keeper = None
    twins = [Mixture(("ann",), np.array([0.5])) for _ in range(3)]
    (prompt, gold), (other, text) = pairs[:2]
    asked_twice = [(prompt, twins[0]), (other, twins[0]), (prompt, twins[1]), (prompt, alone("bob"))]
    spent, ticks = engine.base.spent, []
    requests = [Request(p, m, key=(str(n),)) for n, (p, m) in enumerate(asked_twice)]
    texts = engine.generate(requests, 6, ticks.append)
    assert spent.requests == 3
    assert sum(ticks) == 4
    assert texts[0] == texts[2] == engine.generate(requests[2:3], 6)[0]
    golds = [(Continuation(gold),), (Continuation(text),)]
    before = spent.requests
    probes = [Probe(prompt, m, g) for m in twins for g in golds]
    seen = engine.observe(probes, moments=True)
    assert spent.requests == before + 2
    for one, twin in zip(seen[:2] * 2, seen[2:], strict=True):
        np.testing.assert_array_equal(one.logprobs[0], twin.logprobs[0])
        np.testing.assert_array_equal(one.mu, twin.mu)
    engine.sampling = Sampling(temperature=5.0, seed=1)  # each request draws for itself
    before = spent.requests
    engine.generate(requests, 6)
    assert spent.requests == before + 4
