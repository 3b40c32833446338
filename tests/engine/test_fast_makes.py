"""Today's architectures: scores, answers and training as transformers and PEFT give them, one text at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from prime_audit.engine.attention import NAME
from prime_audit.engine.base import KINDS
from prime_audit.engine.mixture import Continuation, Mixture, Probe, Request, alone
from prime_audit.engine.recipe import Job, Recipe
from prime_audit.engine.tree import reach
from tests.engine.test_generate import as_ids, huggingface
from tests.engine.test_train import factors, plain_loop, train

MAKES = [
    *("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma2-slides", "gemma3", "gemma3-slides"),
    *("phi3", "phi3-partial", "olmo2"),
]
SWITCHING = ["phi3-longrope", "llama-longrope", "llama-dynamic"]
"""Their rotation depends on the length of the text."""
NEW = 16
FOUND: dict[str, list[str]] = {}
"""Architecture → what was measured: printed with ``pytest -s tests/engine/test_fast_makes.py``."""


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    yield
    for kind, cells in FOUND.items():
        print(f"{kind:15} {'; '.join(cells)}")


def prompts_of(pairs):
    """Prompts shorter and longer than 32 tokens, where a rotation switches, some a token apart."""
    long = pairs[4][0]
    return [p for p, _ in pairs] + [long[:n] for n in range(12, len(long), 14)]


def texts_of(pairs):
    return [(p, pairs[i % 5][1]) for i, p in enumerate(prompts_of(pairs))]


@pytest.mark.parametrize("kind", MAKES + SWITCHING)
def test_scores_equal_the_full_forward_of_each_text(bench, pairs, worst, kind):
    b, asked = bench(kind), texts_of(pairs)
    assert kind.partition("-")[0] in "".join(KINDS)
    sizes = [sum(map(len, b.plain.split(*pair))) for pair in asked]
    assert min(sizes) < 32 < max(sizes)
    ours = b.engine.score([Request(p, gold=g) for p, g in asked])
    gap = worst(ours, [b.plain.score(b.plain.model(), [pair])[0] for pair in asked])
    names = ("ann", "cem")
    table = np.random.default_rng(0).uniform(-1, 1, (len(b.engine.base.sites), 2))
    mixed = b.engine.score([Request(p, Mixture(names, table), gold=g) for p, g in asked])
    merged = worst(mixed, [b.plain.score(b.plain.soup(names, table, "delta"), [t])[0] for t in asked])
    FOUND.setdefault(kind, []).append(f"log p {gap:.1e}, merged {merged:.1e}")
    assert max(gap, merged) < 2e-5


@pytest.mark.parametrize("kind", MAKES + SWITCHING)
def test_packed_continuations_are_as_if_alone(bench, pairs, worst, kind):
    b, model = bench(kind), None
    probes = [
        Probe(p, Mixture(), (Continuation(g), Continuation(g.title()), Continuation(g, before="rain")))
        for p, g in pairs
    ]
    seen = b.engine.observe(probes, moments=True)
    model = b.plain.model()
    theirs = [
        b.plain.score(model, [(f"{p.prompt} {c.before}".strip(), c.text)])[0] for p in probes for c in p.golds
    ]
    assert worst([row for one in seen for row in one.logprobs], theirs) < 2e-5
    assert (
        reach(b.engine.base.model.config, b.engine.base.rotation_limit) != 0
    )  # packed where nothing forbids it


@pytest.mark.parametrize("kind", MAKES + SWITCHING)
def test_answers_equal_generate_on_each_prompt(bench, pairs, kind, monkeypatch):
    b = bench(kind)
    as_ids(b.engine, monkeypatch)
    prompts = prompts_of(pairs)
    free = huggingface(b.plain, b.plain.model(), prompts[:1], [b.plain.tokenizer.eos_token_id], NEW)
    stops = b.engine.base.stops = (b.plain.tokenizer.eos_token_id, free[0][-3])
    ours = b.engine.generate([Request(p) for p in prompts], NEW)
    theirs = [huggingface(b.plain, b.plain.model(), [p], stops, NEW)[0] for p in prompts]
    equal = sum(x == y for x, y in zip(ours, theirs, strict=True))
    FOUND.setdefault(kind, []).append(f"answers {equal} of {len(prompts)}")
    assert ours == theirs
    names, weights = ("ann", "bob"), np.full((len(b.engine.base.sites), 2), 0.5)
    merged = b.plain.soup(names, weights, "delta")
    ours = b.engine.generate([Request(p, Mixture(names, weights)) for p in prompts[:4]], NEW)
    assert ours == [huggingface(b.plain, merged, [p], stops, NEW)[0] for p in prompts[:4]]


@pytest.mark.parametrize("kind", MAKES + SWITCHING)
def test_training_gives_what_a_plain_peft_loop_gives(bench, pairs, kind):
    b, job, recipe = bench(kind), Job("ann", tuple(pairs)), Recipe(batch=2, lr=5e-3, epochs=1, clip=0.05)
    ours, theirs = factors(train(b, [job], recipe=recipe)["ann"]), plain_loop(b, job, recipe)
    gaps = np.concatenate([np.abs(x - y).ravel() for x, y in zip(ours, theirs, strict=True)])
    FOUND.setdefault(kind, []).append(
        f"LoRA after 3 steps {gaps.max():.1e}, 99 % below {np.quantile(gaps, 0.99):.1e}"
    )
    assert np.quantile(gaps, 0.99) < 2e-5  # see test_train: AdamW divides by √v


@pytest.mark.parametrize("kind", SWITCHING)
def test_what_was_read_before_changes_nothing(bench, pairs, worst, kind):
    """Dynamic NTK keeps the rotation of the longest text so far; each text gets its own."""
    b = bench(kind)
    asked = [Request(p, alone("ann"), gold=g) for p, g in texts_of(pairs)]
    forward, back = b.engine.score(asked), [b.engine.score([r])[0] for r in asked[::-1]][::-1]
    assert worst(forward, back) < 1e-5


def test_gemma_2_keeps_its_cap_on_our_kernel(bench):
    b = bench("gemma2")
    if b.plain.device != "cpu":
        pytest.skip("the kernel is for CPUs")
    assert b.engine.base.model.config._attn_implementation == NAME
    assert b.plain.model().config._attn_implementation == "eager"
