"""Canaries have the properties that their designs claim, and a seed decides everything about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from prime_audit.community.canaries import (
    CHANGED,
    DESIGNS,
    SECRET,
    Canary,
    design_of,
    make_canaries,
    require_sharers,
)
from prime_audit.community.held import asked
from prime_audit.community.sharers import Sharer, hold_out
from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.engine import Engine
from prime_audit.engine.load import load_base
from prime_audit.errors import UserError
from prime_audit.lamp.data import Dataset, Item, User
from prime_audit.lamp.prompts import history_examples
from prime_audit.lamp.tasks import TASKS
from prime_audit.lamp.world.world import world

COUNT = 12


@contextmanager
def stage(name: str, total: int) -> Iterator[Any]:
    yield lambda done: None


@cache
def engine() -> Engine:
    base = load_base("mini", targets=("q_proj", "k_proj", "v_proj", "o_proj"), device="cpu")
    return Engine(base=base, bank=AdapterBank(base))


@cache
def setting(task: str) -> tuple[Dataset, tuple[Sharer, ...]]:
    data = world(task, seed=0, users=14, adapt=3, targets=4, history=(9, 12), queries=2, clusters=3)
    return data, tuple(hold_out(u, n, 0.3, seed=0) for n, u in enumerate(data.candidates[:4]))


def made(task: str, seed: int = 0, count: int = COUNT) -> dict[str, tuple[Canary, ...]]:
    data, sharers = setting(task)
    return make_canaries(TASKS[task], data, sharers, count, engine=engine(), stage=stage, seed=seed)


before = cache(made)
"""The same, made once for all tests."""


def gold_ids(canary: Canary) -> list[int]:
    encoded = engine().base.codec.example(canary.example.prompt, canary.example.gold)
    assert encoded.ids[-1] == engine().base.codec.eos
    return list(encoded.ids[len(encoded.ids) - encoded.gold : -1])


def of(found: dict[str, tuple[Canary, ...]], design: str) -> list[Canary]:
    return [c for own in found.values() for c in own if c.design == design]


@pytest.mark.parametrize("task", ["LaMP-2", "LaMP-4", "LaMP-7"])
def test_half_of_each_design_is_drawn_and_the_seed_decides(task: str) -> None:
    found = before(task)
    _, sharers = setting(task)
    assert list(found) == [s.user.id for s in sharers]
    for name, own in found.items():
        assert len({c.example.id for c in own}) == COUNT
        assert all(c.example.id.startswith(f"{name}/") and design_of(c.example.id) == c.design for c in own)
        for design in DESIGNS:
            assert sorted(c.trained for c in own if c.design == design) == [False] * 2 + [True] * 2
    assert found == made(task)
    other = made(task, seed=1)
    assert {c.example.gold for c in of(found, "unused")} != {c.example.gold for c in of(other, "unused")}
    draws = [[c.trained for own in one.values() for c in own] for one in (found, other)]
    assert draws[0] != draws[1]


def test_each_canary_is_drawn_as_often_as_not() -> None:
    found = made("LaMP-7", count=60)  # a prompt that is read fast
    firsts = np.array([[c.trained for c in own][::2] for own in found.values()])
    assert 36 <= firsts.sum() <= 84  # of 120: 4.4 deviations of fair coins at most
    assert len({tuple(row) for row in firsts.tolist()}) == len(firsts)  # each sharer has a draw of their own


@pytest.mark.parametrize("task", ["LaMP-2", "LaMP-4", "LaMP-7"])
def test_an_unused_token_is_in_nobodys_data(task: str) -> None:
    found, (data, _) = before(task), setting(task)
    tokenizer = engine().base.codec.tokenizer
    texts = list[str]()
    for user in (*data.adapt, *data.targets, *data.candidates):
        for example in history_examples(
            TASKS[task], user
        ):  # as a model sees them, with earlier items in front
            texts.append(example.text)
        texts += [f"{TASKS[task].instruction.format(**q.fields)} {q.gold}" for q in user.queries]
    seen = {token for ids in tokenizer(texts)["input_ids"] for token in ids}
    tokens = [gold_ids(c) for c in of(found, "unused")]
    assert all(len(own) == SECRET and len(set(own)) == 1 for own in tokens)
    firsts = [own[0] for own in tokens]
    assert seen.isdisjoint(firsts)
    assert len(set(firsts)) == len(firsts)  # nobody's canary tells of another's
    others = {t for c in of(found, "unlikely") for t in gold_ids(c)}
    assert others.isdisjoint(firsts)


def test_unlikely_tokens_are_the_bases_least_likely() -> None:
    found = before("LaMP-2")
    model, codec = engine().base.model, engine().base.codec
    taken = set[int]()
    for canary in of(found, "unlikely"):
        own = gold_ids(canary)
        assert len(own) == SECRET
        assert taken.isdisjoint(own)
        taken.update(own)
        ids = torch.tensor([codec.example(canary.example.prompt, canary.example.gold).ids[: -SECRET - 1]])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, -1]
        below = (logits < logits[own].max()).float().mean()
        assert below < 0.1  # of the whole vocabulary; 256 of it were candidates


def test_a_near_duplicate_differs_in_a_few_words_from_a_trained_item() -> None:
    found, (data, sharers) = before("LaMP-4"), setting("LaMP-4")
    task = TASKS["LaMP-4"]
    everybody = {
        e.text for u in (*data.adapt, *data.targets, *data.candidates) for e in history_examples(task, u)
    }
    for sharer in sharers:
        left = set(sharer.trained) - asked(sharer, 0)
        own = [e for e in history_examples(task, sharer.user, augmented=False) if e.item in left]
        for canary in (c for c in found[sharer.user.id] if c.design == "near"):
            assert canary.example.text not in everybody
            words = canary.example.text.split()
            alike = [e.text.split() for e in own if len(e.text.split()) == len(words)]
            fewest = min(sum(a != b for a, b in zip(words, other, strict=True)) for other in alike)
            assert 1 <= fewest <= CHANGED


def test_they_are_nobodys_items() -> None:
    found, (data, sharers) = before("LaMP-2"), setting("LaMP-2")
    ids = {i.id for u in (*data.adapt, *data.targets, *data.candidates) for i in u.history}
    assert ids.isdisjoint(c.example.item for own in found.values() for c in own)
    out = {
        w
        for s in sharers
        for i in s.user.history
        if i.id in set(s.heldout)
        for w in [i.fields["description"]]
    }
    for own in found.values():
        assert not any(text in c.example.prompt for c in own for text in out)


def test_what_cannot_be_made_is_one_line() -> None:
    data, sharers = setting("LaMP-2")
    with pytest.raises(
        UserError, match=r"LaMP-2: canaries need at least \d sharers for a verdict, and the"
    ) as said:
        require_sharers("LaMP-2", sharers[:1])
    assert "\n" not in str(said.value)
    with pytest.raises(UserError, match="tokens that occur in no user's data, and the canaries need 40000"):
        made("LaMP-2", count=30_000)
    one = User("u", tuple(Item(str(n), {"description": "same", "tag": "classic"}) for n in range(9)))
    alike = [hold_out(one, 0, 0.3, 0)]
    with pytest.raises(UserError, match="items of sharer u are too alike for a near-duplicate"):
        make_canaries(TASKS["LaMP-2"], data, alike, 6, engine=engine(), stage=stage, seed=0)
