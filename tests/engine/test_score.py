"""Log-probabilities of gold tokens: what transformers gives for the text alone, whatever shares the batch."""

from __future__ import annotations

import numpy as np
import pytest

from prime_audit.engine.mixture import Mixture, Request, alone
from prime_audit.errors import UserError


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2"])
def test_score_equals_the_full_forward_of_each_text(bench, pairs, worst, kind):
    b = bench(kind)
    ours = b.engine.score([Request(p, gold=g) for p, g in pairs])
    theirs = b.plain.score(b.plain.model(), pairs)  # gold tokens and end-of-text, from all logits of one row
    assert worst(ours, theirs) < 1e-5
    assert all(row.dtype == np.float64 and (row < 0).all() for row in ours)


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2"])
def test_score_does_not_depend_on_batch_or_padding(bench, pairs, worst, kind):
    b = bench(kind)
    requests = [Request(p, m, gold=g) for p, g in pairs for m in (Mixture(), alone("ann"), alone("bob"))]
    together = b.engine.score(requests)
    assert worst(together, [b.engine.score([r])[0] for r in requests]) < 1e-5
    assert worst(together, b.engine.score(requests[::-1])[::-1]) < 1e-5
    b.engine.read_tokens = 1
    assert worst(together, b.engine.score(requests)) < 1e-5


def test_gold_split(bench, pairs):
    for kind in ("llama", "qwen2"):
        b = bench(kind)
        for prompt, gold in pairs:
            head, tail = b.plain.split(prompt, gold)
            seen = b.engine.base.codec.example(prompt, gold)
            assert seen.ids == (*head, *tail)
            assert seen.gold == len(tail)
            assert b.engine.base.codec.prompt(prompt, 10).ids == tuple(head)
            assert b.engine.base.codec.prompt(prompt, 10).gold == 0
            assert b.engine.base.codec.decode(tail) == gold


def test_the_front_is_cut_never_the_gold(bench, worst):
    b = bench(context=24)
    prompt, gold = "the council met on Monday and voted for the new bridge " * 4, "the lost star"
    head, tail = b.plain.split(prompt, gold)
    codec = b.engine.base.codec
    for _ in range(2):  # counted once, however often it is asked for
        (ours,) = b.engine.score([Request(prompt, gold=gold)])
        assert codec.cut == 1
    seen = codec.example(prompt, gold)
    begin = b.plain.tokenizer.bos_token_id
    assert seen.ids == (begin, *(head + tail)[-23:])
    assert seen.gold == len(tail) == len(ours)
    assert codec.prompt(prompt, 10).ids == (begin, *head[-13:])
    assert codec.cut == 2
    b.engine.score([Request("Tag:", gold="star")])
    assert codec.cut == 2


def test_a_gold_longer_than_the_context_keeps_its_end(bench):
    b = bench(context=12)
    seen = b.engine.base.codec.example("Tag:", "the council met on Monday and voted for the new bridge")
    assert len(seen.ids) == 12
    assert seen.gold == 11
    assert seen.ids[-1] == b.plain.tokenizer.eos_token_id
    assert b.engine.base.codec.cut == 1
    assert np.isfinite(
        b.engine.score([Request("Tag:", gold="the council met on Monday and voted for it")])[0]
    ).all()


def test_no_room_for_an_answer_is_one_line(bench):
    b = bench(context=24)
    with pytest.raises(
        UserError, match=r"^a context of 24 tokens has no room for 24 new ones; lower max_new$"
    ):
        b.engine.generate([Request("Tag:")], 24)


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_an_empty_prompt_still_predicts_every_gold_token(bench, kind):
    b = bench(kind)  # Qwen has no begin-of-text: end-of-text stands before the first gold token
    tail = b.plain.split("", "fantasy")[1]
    (row,) = b.engine.score([Request("", gold="fantasy")])
    assert len(row) == len(tail)
    assert isinstance(b.engine.generate([Request("")], 3)[0], str)


def test_a_request_without_gold_is_refused(bench):
    with pytest.raises(ValueError, match="no gold to score"):
        bench().engine.score([Request("Tag:", key=("u", "1"))])


def test_spent_counts_tokens_without_padding(bench, pairs):
    b = bench()
    b.engine.score([Request(p, gold=g) for p, g in pairs])
    real = sum(len(h) + len(t) for h, t in (b.plain.split(p, g) for p, g in pairs))
    spent = b.engine.base.spent
    assert (spent.requests, spent.prompt_tokens, spent.new_tokens) == (len(pairs), real, 0)
