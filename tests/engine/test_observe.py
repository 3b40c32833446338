"""One pass for all signals: each continuation as if alone, each moment as float64 gives it from all logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prime_audit.engine import engine as room
from prime_audit.engine.attention import NAME
from prime_audit.engine.mixture import Continuation, Mixture, Probe, Request, alone
from prime_audit.engine.tree import reach

KINDS = ["llama", "mistral", "qwen2"]
PREFIX = "the kettle is on rain again"
SOUP = Mixture(("ann", "bob"), np.array([0.7, -0.4]))


def probes(pairs, *mixtures):
    """Build what the attacks ask for: the gold, in lower case, and after a prefix; most golds are lower case."""
    golds = [gold if i % 2 else gold.title() for i, (_, gold) in enumerate(pairs)]
    return [
        Probe(p, m, (Continuation(g), Continuation(g.lower()), Continuation(g, before=PREFIX)))
        for (p, _), g in zip(pairs, golds, strict=True)
        for m in mixtures or (Mixture(),)
    ]


def texts(probe):
    return [(f"{probe.prompt} {c.before}" if c.before else probe.prompt, c.text) for c in probe.golds]


def flat(seen):
    return [row for one in seen for row in one.logprobs]


def stretched(b, window):
    """Let Mistral's attention reach further than the texts, without touching its weights."""
    b.engine.base.model.config.sliding_window = window
    return b


@pytest.mark.parametrize("window", [12, 512, None])
@pytest.mark.parametrize("kind", KINDS)
def test_every_continuation_is_as_if_alone(bench, pairs, worst, kind, window):
    if kind != "mistral" and window:
        pytest.skip("a window is Mistral's")
    b, plain = bench(kind), None
    if kind == "mistral":
        stretched(b, window)
        plain = b.plain.model()
        plain.config.sliding_window = window
    model = plain or b.plain.model()
    asked = probes(pairs)
    seen = b.engine.observe(asked)
    theirs = [row for p in asked for row in b.plain.score(model, texts(p))]
    assert worst(flat(seen), theirs) < 1e-5
    assert all(one.mu is None and one.sigma is None for one in seen)


@pytest.mark.parametrize("attention", [NAME, "sdpa", "eager"])
def test_packed_rows_equal_rows_apart_under_mixtures(bench, pairs, worst, monkeypatch, attention):
    b = bench()
    if b.engine.base.device.type == "cuda" and attention == NAME:
        pytest.skip("that is a CPU's")
    b.engine.base.model.set_attn_implementation(attention)
    asked = probes(pairs, Mixture(), SOUP, alone("dot"), Mixture(("ann", "bob"), np.ones(2), "factor"))
    packed = b.engine.observe(asked, moments=True)
    tokens = b.engine.base.spent.prompt_tokens
    monkeypatch.setattr(room, "reach", lambda *_: 0)
    apart = b.engine.observe(asked, moments=True)
    assert tokens < 0.8 * (b.engine.base.spent.prompt_tokens - tokens)  # the prompt was read once
    assert worst(flat(packed), flat(apart)) < 1e-5
    assert worst([o.mu for o in packed], [o.mu for o in apart]) < 1e-5
    assert worst([o.sigma for o in packed], [o.sigma for o in apart]) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_neither_batch_nor_padding_matters(bench, pairs, worst, kind):
    b = bench(kind)
    asked = [*probes(pairs, Mixture(), SOUP), Probe("Tag:", SOUP, (Continuation("star"),))]
    together = b.engine.observe(asked, moments=True)
    for other in (
        [b.engine.observe([p], moments=True)[0] for p in asked],
        b.engine.observe(asked[::-1], moments=True)[::-1],
    ):
        assert worst(flat(together), flat(other)) < 1e-5
        assert worst([o.sigma for o in together], [o.sigma for o in other]) < 1e-5
    b.engine.read_tokens = 1
    assert worst(flat(together), flat(b.engine.observe(asked))) < 1e-5


def test_a_single_continuation_is_exactly_a_score(bench, pairs, worst):
    b = bench()
    scores = b.engine.score([Request(p, SOUP, gold=g) for p, g in pairs])
    seen = b.engine.observe([Probe(p, SOUP, (Continuation(g),)) for p, g in pairs], moments=True)
    assert worst(scores, flat(seen)) == 0


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_moments_equal_float64_from_all_logits(bench, pairs, worst, kind):
    b = bench(kind)
    model, mu, sigma, top = b.plain.model(), [], [], []
    for prompt, gold in pairs:
        head, tail = b.plain.split(prompt, gold)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([head + tail], device=b.plain.device)).logits[0].double()
        logp = torch.log_softmax(logits[len(head) - 1 : -1], -1)
        mean = (logp.exp() * logp).sum(-1)
        mu.append(mean.cpu().numpy())
        top.append((logits[len(head) - 1 : -1].argmax(-1).cpu() == torch.tensor(tail)).numpy())
        sigma.append(((logp.exp() * logp**2).sum(-1) - mean**2).sqrt().cpu().numpy())
    asked = [Probe(p, Mixture(), (Continuation(g), Continuation(g, PREFIX))) for p, g in pairs]
    seen = b.engine.observe(asked, moments=True)
    assert worst([o.mu for o in seen], mu) < 1e-5
    assert worst([o.sigma for o in seen], sigma) < 1e-5
    # The random model is seldom right: also ask it for what it finds most likely.
    liked = [b.engine.generate([Request(p)], 4)[0] for p, _ in pairs]
    again = b.engine.observe(
        [Probe(p, Mixture(), (Continuation(g),)) for (p, _), g in zip(pairs, liked, strict=True) if g],
        moments=True,
    )
    assert [o.top.tolist() for o in seen] == [row.tolist() for row in top]
    assert all(o.top.dtype == np.bool_ for o in seen)
    assert any(o.top.any() for o in again)


def test_moments_of_flat_and_of_certain_distributions():
    from prime_audit.engine.observe import moments

    logits = torch.zeros(3, 32000)
    logits[1, 5] = 200.0
    logits[2] += 1e-4 * torch.randn(32000, generator=torch.Generator().manual_seed(0))
    logp = torch.log_softmax(logits, -1)
    mu, sigma = moments(logp)
    assert mu.tolist() == pytest.approx([-np.log(32000), 0, -np.log(32000)], abs=1e-5)
    assert sigma[0] < 1e-5
    assert sigma[1] == 0
    exact = torch.log_softmax(logits[2].double(), -1)
    assert sigma[2].item() == pytest.approx(exact.std(correction=0).item(), rel=1e-3)


def test_the_same_tokens_are_read_once(bench):
    b = bench()
    (seen,) = b.engine.observe([Probe("Tag:", Mixture(), (Continuation("star"), Continuation("star")))])
    assert np.array_equal(*seen.logprobs)
    assert b.engine.base.spent.prompt_tokens == len(b.engine.base.codec.example("Tag:", "star").ids)


def test_what_cannot_be_packed_is_read_apart(bench, pairs):
    from transformers import GPT2Config, LlamaConfig, MistralConfig, Qwen2Config

    def ask(config, attention="sdpa"):
        config._attn_implementation = attention
        return reach(config)

    assert ask(LlamaConfig()) is None
    assert ask(LlamaConfig(), NAME) is None
    assert ask(LlamaConfig(), "flash_attention_2") == 0
    assert ask(GPT2Config()) == 0
    assert ask(MistralConfig(sliding_window=12)) == 12
    assert ask(Qwen2Config()) is None
    b = bench(context=40)  # texts that lost their fronts have next to nothing in common
    prompt = "the council met on Monday and voted for the new bridge " * 4
    codec, golds = b.engine.base.codec, (Continuation("star"), Continuation("star", PREFIX))
    (seen,) = b.engine.observe([Probe(prompt, Mixture(), golds)])
    assert b.engine.base.spent.requests == 2
    assert codec.cut == 2
    assert all(np.isfinite(row).all() for row in seen.logprobs)


def test_ticks_count_probes_and_an_empty_probe_is_refused(bench, pairs):
    ticks: list[int] = []
    b = bench("mistral")  # its window is short: three rows a probe
    b.engine.observe(probes(pairs), tick=ticks.append)
    assert sum(ticks) == len(pairs)
    with pytest.raises(ValueError, match="has no continuation"):
        Probe("Tag:", Mixture(), ())


def test_the_codec_forgets_tokens_but_not_what_it_cut(bench, monkeypatch):
    from prime_audit.engine import codec as room

    monkeypatch.setattr(room, "KEEP", 50)
    codec = bench(context=24).engine.base.codec
    long = ["the council met on Monday and voted for the new bridge " * 4 + str(i) for i in range(5)]
    for _ in range(2):
        seen = [codec.example(text, "star") for text in long]
        assert codec.cut == 5
    assert codec._held == sum(len(e.ids) for e, _ in codec._seen.values()) <= 50
    assert seen == [codec.example(text, "star") for text in long]
