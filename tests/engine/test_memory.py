"""Out of memory: the batch is halved and the result is the same; one row that does not fit is one line."""

from __future__ import annotations

import pytest
import torch

from prime_audit.engine.assemble import Unit, assemble
from prime_audit.engine.embed import base_encoder
from prime_audit.engine.memory import Fit, kv_bytes, out_of_memory, tokens_that_fit
from prime_audit.engine.mixture import Request, alone
from prime_audit.engine.recipe import Job, LoraShape, Recipe
from prime_audit.engine.train import train_adapters
from prime_audit.errors import UserError

FAULTS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


class Narrow:
    """Lets a model run on at most so many rows, as a device with little memory would."""

    def __init__(self, base, monkeypatch, rows, fault=FAULTS[0]):
        self.rows, self.fault, self.failed, self.largest = rows, fault, 0, 0
        layer = base.model.base_model.layers[1]  # in the middle of the pass
        before = layer.forward

        def forward(hidden, *args, **options):
            if len(hidden) > self.rows:
                self.failed += 1
                raise self.fault
            self.largest = max(self.largest, len(hidden))
            return before(hidden, *args, **options)

        monkeypatch.setattr(layer, "forward", forward)


@pytest.mark.parametrize("fault", FAULTS, ids=["cuda", "cpu", "python"])
def test_answers_and_scores_are_the_same_in_halves(bench, pairs, worst, monkeypatch, fault):
    b = bench()
    requests = [Request(p, m, g) for p, g in pairs for m in (alone("ann"), alone("bob"))]
    answers, scores = b.engine.generate(requests, 8), b.engine.score(requests)
    narrow = Narrow(b.engine.base, monkeypatch, 2, fault)
    ticks: list[int] = []
    assert b.engine.generate(requests, 8, ticks.append) == answers
    assert worst(b.engine.score(requests), scores) < 1e-5
    assert sum(ticks) == len(requests)
    assert narrow.failed > 0
    assert narrow.largest == 2
    assert b.engine.base.fits["generate"].halved > 0


def test_training_is_the_same_in_halves_and_counts_nothing_twice(bench, pairs, worst, monkeypatch):
    b = bench()
    jobs = [Job("ann", tuple(pairs)), Job("bob", tuple(pairs[1:]))]
    recipe, shape = Recipe(batch=4, lr=5e-3, epochs=2), LoraShape(rank=4, alpha=8.0, dropout=0.2)

    def train():
        made = train_adapters(b.engine.base, jobs, shape, recipe, seed=3, tokens=4096)
        return [t.numpy() for own in made.values() for t in (*own.A, *own.B)]

    whole, tokens = train(), b.engine.base.spent.prompt_tokens
    narrow = Narrow(b.engine.base, monkeypatch, 1)
    # AdamW amplifies the last bits of gradients added up in another order, of rows padded to other lengths.
    assert worst(train(), whole) < 1e-4
    assert narrow.failed > 0
    assert b.engine.base.spent.prompt_tokens == 2 * tokens


def test_embedding_and_assembly_are_the_same_in_halves(bench, pairs, worst, monkeypatch):
    b, texts = bench(), [prompt for prompt, _ in pairs] * 2
    encoder = base_encoder(b.engine.base)
    noise = torch.Generator().manual_seed(3)
    gates = {
        n: tuple(torch.randn(s.d_in, generator=noise) for s in b.engine.base.sites) for n in ("ann", "bob")
    }
    units = [Unit(t, ("ann", "bob"), (pair,)) for t, pair in enumerate(pairs)]

    def both():
        return [encoder.embed(texts), *assemble(b.engine, units, gates, 1)]

    whole = both()
    narrow = Narrow(b.engine.base, monkeypatch, 1)
    assert worst(both(), whole) < 1e-5
    assert narrow.largest == 1
    assert encoder.fit.halved > 0
    assert b.engine.base.fits["observe"].halved > 0


def test_one_row_that_does_not_fit_is_one_line(bench, monkeypatch):
    b = bench()
    Narrow(b.engine.base, monkeypatch, 0)
    with pytest.raises(UserError, match="out of memory: one answer does not fit; lower --set context=N"):
        b.engine.generate([Request("Tag:"), Request("the council")], 4)


def test_other_faults_are_not_taken_for_it(bench, monkeypatch):
    b = bench()
    Narrow(b.engine.base, monkeypatch, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        b.engine.generate([Request("Tag:")], 4)
    assert not out_of_memory(ValueError("memory"))


def test_after_a_failure_no_batch_is_larger_than_what_fitted():
    fit, sizes = Fit("one row"), []

    def work(part):
        if len(part) > 3:
            raise MemoryError
        sizes.append(list(part))

    for _ in range(2):
        fit.run(work, range(10), lambda _: 5)
    assert sorted(i for part in sizes for i in part) == sorted([*range(10)] * 2)
    assert fit.most == 12  # tokens: ten rows of 5, then five, did not fit; two did
    assert fit.halved == 2  # the second batch was cut before it was tried


def test_sizes_are_computed_from_the_models_shape(bench):
    base = bench("qwen2").engine.base
    config = base.model.config
    cache = base.model(torch.tensor([[1, 2, 3, 4]]).to(base.device), use_cache=True).past_key_values
    held = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
    assert kv_bytes(config, 4) * 4 == held
    for kind in ("generate", "read", "train"):
        some = tokens_that_fit(config, 4, base.device, kind)
        assert some > tokens_that_fit(config, 8, base.device, kind) > 0
        assert base.room(7, kind) == 7


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_a_real_lack_of_memory_is_survived(bench, pairs):
    """Take the memory until a batch cannot have it; the same requests come out, in halves."""
    b = bench()
    if b.plain.device != "cuda":
        pytest.skip("the CPU's turn")
    requests = [Request(p * 20, alone("ann"), g) for p, g in pairs * 40]
    want = b.engine.generate(requests, 30)
    torch.cuda.reset_peak_memory_stats()
    b.engine.generate(requests, 30)
    taken = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    hog = torch.empty(max(1, free - taken // 2), dtype=torch.uint8, device="cuda")
    assert b.engine.generate(requests, 30) == want
    del hog
