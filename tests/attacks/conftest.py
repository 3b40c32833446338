"""A small world of logits: everything an attack may be given, from plain numpy."""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from prime_audit.audit.signals import Signals

VOCAB, OWNERS, EACH = 12, 24, 4


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def observe(logits: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    logp = log_softmax(logits)
    p = np.exp(logp)
    mu = (p * logp).sum(axis=1)
    sigma = np.sqrt((p * logp**2).sum(axis=1) - mu**2)
    return logp[np.arange(gold.size), gold], mu, sigma, logits.argmax(axis=1) == gold


def slope(logits: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Gradient of the mean NLL with respect to the logits."""
    return (np.exp(log_softmax(logits)) - np.eye(VOCAB)[gold]) / gold.size


@cache
def world(seed: int, leak: float) -> tuple[Signals, np.ndarray]:
    """96 items of 24 owners, half of them members, whose gold logits the module raised by ``leak``.

    Other modules raise the golds of everyone they contain by as much. A prefix of non-members undoes the leak; lower
    case was never trained on.
    """
    rng = np.random.default_rng(seed)
    coins = rng.permutation(np.arange(OWNERS) % 2 == 0)
    owner = np.repeat(np.arange(OWNERS), EACH)
    members = coins[owner]
    fields: dict[str, list[Any]] = {
        name: []
        for name in (
            *(
                "logprobs",
                "mu",
                "sigma",
                "top",
                "lower_logprobs",
                "prefix_logprobs",
                "base_logprobs",
                "texts",
            ),
            *("base_mu", "base_sigma", "continuations"),
            *("prompts", "in_nll", "out_nll", "population_logprobs", "population_out_nll"),
            *("item_in_nll", "item_out_nll", "grad_norm", "alignment"),
        )
    }

    def item(gain: float) -> tuple[np.ndarray, np.ndarray, Callable[[float], np.ndarray]]:
        gold = rng.integers(VOCAB, size=rng.integers(4, 12))
        base = rng.normal(scale=1.5, size=(gold.size, VOCAB))
        raised = np.eye(VOCAB)[gold]

        def module(by: float) -> np.ndarray:
            return base + by * raised + rng.normal(scale=0.3, size=base.shape)

        return gold, module(gain), module

    for member in members:
        gold, own, module = item(leak * member)
        fields["grad_norm"].append(np.sqrt([(slope(own, gold) ** 2).sum()]))
        fields["alignment"].append(np.array([(slope(module(0.0), gold) * own).sum()]))
        for name, found in zip(("logprobs", "mu", "sigma", "top"), observe(own, gold), strict=True):
            fields[name].append(found)
        fields["lower_logprobs"].append(observe(module(0.0), gold)[0])
        fields["prefix_logprobs"].append(observe(module(0.0), gold)[0])
        names = ("base_logprobs", "base_mu", "base_sigma")
        for name, found in zip(names, observe(module(0.0), gold)[:3], strict=True):
            fields[name].append(found)
        fields["in_nll"].append(np.array([-observe(module(leak), gold)[0].mean() for _ in range(3)]))
        fields["out_nll"].append(np.array([-observe(module(0.0), gold)[0].mean() for _ in range(4)]))
        for name, by in (("item_in_nll", leak), ("item_out_nll", 0.0)):
            fields[name].append(np.array([-observe(module(by), gold)[0].mean() for _ in range(4)]))
        letters = rng.choice(list(string.ascii_letters + " "), size=30)
        fields["texts"].append("A" + "".join(letters) + " and an end of seven words")
        words = fields["texts"][-1].split()
        half = words[len(words) // 2 :]
        knows = rng.random((4, len(half))) < 0.3 + 0.4 * np.tanh(leak * member)
        fields["continuations"].append(
            [" ".join(w if own else "?" for w, own in zip(half, row, strict=True)) for row in knows]
        )
        fields["prompts"].append(
            "Headline of: " + " ".join(rng.choice(["rain", "sun", "snow", "wind"], size=4))
        )
    for _ in range(40):
        gold, own, module = item(0.0)
        fields["population_logprobs"].append(observe(own, gold)[0])
        fields["population_out_nll"].append(
            np.array([-observe(module(0.0), gold)[0].mean() for _ in range(4)])
        )
    owners = [f"s{number}" for number in owner]
    similarity = rng.random(OWNERS)[owner]
    return Signals(**fields, owners=owners, members=members, similarity=similarity), members


@pytest.fixture
def make_world() -> Callable[[int, float], tuple[Signals, np.ndarray]]:
    return world
