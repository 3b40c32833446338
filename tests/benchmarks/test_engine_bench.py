"""What the engine's shape buys, against the plain way of doing the same: ``pytest tests/benchmarks``.

The sides of a group do the same work on one thread and the same tiny model: the shape of the saving, not its size at
7B. Each side's results are compared with another's, also where nothing is timed (``--benchmark-disable``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.base import Base
from prime_audit.engine.engine import Engine
from prime_audit.engine.load import load_base
from prime_audit.engine.lora import Adapter
from prime_audit.engine.mixture import Continuation, Mixture, Probe, Request
from prime_audit.engine.privacy import Privacy
from prime_audit.engine.recipe import Job, LoraShape, Recipe
from prime_audit.engine.train import train_adapters

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
NAMES = ("ann", "bob", "cem")
TEXT = "the council met on Monday and voted for the new bridge while rain fell on the cat"
ROUNDS = {"rounds": 3, "warmup_rounds": 1}
PROMPTS = [TEXT[: 11 + 5 * (i % 15)] + " Tag:" for i in range(32)]


@pytest.fixture
def engine(llama_folder: Path) -> Iterator[Engine]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    base = load_base(str(llama_folder), targets=TARGETS, device="cpu", dtype="float32")
    yield adapted(base)
    torch.set_num_threads(threads)


def adapted(base: Base) -> Engine:
    """Three random adapters over a base."""
    noise = torch.Generator().manual_seed(0)
    sites = tuple(s.name for s in base.sites)
    adapters = {
        name: Adapter(
            sites,
            tuple(0.1 * torch.randn(8, s.d_in, generator=noise) for s in base.sites),
            tuple(0.1 * torch.randn(s.d_out, 8, generator=noise) for s in base.sites),
            1.0,
        )
        for name in NAMES
    }
    engine = Engine(base=base, bank=AdapterBank(base))
    engine.bank.add(adapters)
    return engine


WEIGHTS = np.random.default_rng(0).uniform(-1.5, 1.5, len(NAMES))


@pytest.mark.benchmark(group="32 answers of unequal length")
@pytest.mark.parametrize("way", ["finished rows leave", "model.generate"])
def test_decoding(benchmark: Any, engine: Engine, way: str) -> None:
    """One token in thirty ends an answer, so that rows end here and there, as headlines do."""
    new, stops = 60, list(range(1, engine.base.model.config.vocab_size, 30))
    engine.base.stops = tuple(stops)
    requests = [Request(p) for p in PROMPTS]
    if way == "finished rows leave":
        answers = benchmark.pedantic(engine.generate, (requests, new), **ROUNDS)
        assert len({len(answer) for answer in answers}) > 3  # of unequal length
        assert answers == [engine.generate([one], new)[0] for one in requests]
        return
    rows = [engine.base.codec.prompt(p, new).ids for p in PROMPTS]
    width = max(map(len, rows))
    ids = torch.tensor([[1] * (width - len(r)) + list(r) for r in rows])
    mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows])

    def generate() -> Any:
        return engine.base.model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=new,
            eos_token_id=stops,
            pad_token_id=1,
        )

    made = benchmark.pedantic(generate, **ROUNDS)[:, width:].tolist()
    cut = [row[: next((i for i, token in enumerate(row) if token in stops), new)] for row in made]
    assert [engine.base.codec.decode(ids) for ids in cut] == engine.generate(requests, new)


@pytest.mark.benchmark(group="all signals of 96 LaMP-2 items, three sharers merged, mini model")
@pytest.mark.parametrize("way", ["log-probabilities only", "all signals", "all signals, rows apart"])
def test_signals(benchmark: Any, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Moments, lower case and a prefix of four non-members' tags, in one reading of the prompt."""
    from prime_audit.engine import engine as room
    from prime_audit.lamp.prompts import history_examples
    from prime_audit.lamp.tasks import TASKS
    from prime_audit.lamp.world.world import world

    torch.set_num_threads(1)
    engine = adapted(load_base("mini", targets=TARGETS, device="cpu", dtype="float32"))
    task, users = TASKS["LaMP-2"], world("LaMP-2").candidates
    items = [e for user in users[:3] for e in history_examples(task, user)][:96]
    prefix = " ".join(e.gold for e in history_examples(task, users[5], augmented=False)[:4])
    mixture = Mixture(NAMES, WEIGHTS)
    if way == "all signals, rows apart":
        monkeypatch.setattr(room, "reach", lambda *_: 0)
    probes = []
    for item in items:
        golds = [Continuation(item.gold)]
        if way != "log-probabilities only":
            golds += [Continuation(item.gold.lower()), Continuation(item.gold, before=prefix)]
        probes.append(Probe(item.prompt, mixture, tuple(golds)))
    moments = way != "log-probabilities only"
    seen = benchmark.pedantic(engine.observe, (probes, moments), **ROUNDS)
    one_by_one = [engine.observe([probe], moments)[0] for probe in probes[:8]]
    for one, other in zip(seen, one_by_one, strict=False):
        for mine, alone in zip(one.logprobs, other.logprobs, strict=True):
            np.testing.assert_allclose(mine, alone, atol=1e-4)
    assert len({o.logprobs[0].sum() for o in seen}) > 48


@pytest.mark.benchmark(group="DP-SGD of twelve owners")
@pytest.mark.parametrize("way", ["plain", "private"])
def test_private_training(benchmark: Any, engine: Engine, way: str) -> None:
    """Without noise, so that the accountant's search for it is not timed; the drawn batches are of about one size."""
    pairs = [(p, "fantasy") for p in PROMPTS[:8]]
    jobs = [Job(f"u{i}", tuple(pairs), tuple(map(str, range(8)))) for i in range(12)]
    privacy = Privacy(float("inf")) if way == "private" else None

    def train() -> None:
        recipe = Recipe(batch=4, lr=1e-3, epochs=2)
        train_adapters(engine.base, jobs, LoraShape(), recipe, seed=0, tokens=4096, privacy=privacy)

    benchmark.pedantic(train, **ROUNDS)
