"""Simulated signals with a planted leak, to examine an attack; ``games/exam/simulated.py`` simulates whole audits."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray
from prime_audit.audit.signals import Rows, Signals, halves

VOCAB = 12
OWNERS, EACH = 24, 4
POPULATION = 40
MODULES = 4
"""OUT models an item has, and IN models."""
NOISE = 0.3
"""Standard deviation of the logits between modules."""


@dataclass(frozen=True, eq=False)
class Simulated:
    """One game."""

    signals: Signals
    """All fields, including those for controls."""
    members: BoolArray
    """[items]; whole owners, half of them."""


@lru_cache(maxsize=256)
def game(seed: int, leak: float) -> Simulated:
    """Simulate 96 items of 24 owners, half of them members, whose gold tokens' logits were raised by ``leak``.

    All fields are consistent, and as long as a run's: a text in lower case has tokens of its own. The module raises
    members' golds; other modules raise the golds of everyone they contain. A prefix of non-members undoes it. Lower
    case was never trained on. The base knows no user. 0 is no leak. The same arguments give the same game.
    """
    rng = np.random.default_rng(seed)
    inside = rng.permutation(np.arange(OWNERS) % 2 == 0)
    owner = np.repeat(np.arange(OWNERS), EACH)
    members = inside[owner]
    item, crowd = _Tokens.draw(rng, owner.size), _Tokens.draw(rng, POPULATION)
    own, out = leak * members, np.zeros(owner.size)
    logprobs, mu, sigma, top, grad_norm, alignment = item.observe(own)
    base, base_mu, base_sigma, *_ = item.observe(out)
    texts = ["A" + _letters(rng) for _ in owner]
    signals = Signals(
        logprobs=logprobs,
        mu=mu,
        sigma=sigma,
        top=top,
        lower_logprobs=[row[1:] for row in item.observe(out)[0]],
        prefix_logprobs=item.observe(out)[0],
        grad_norm=grad_norm,
        alignment=alignment,
        base_logprobs=base,
        base_mu=base_mu,
        base_sigma=base_sigma,
        continuations=[_written(rng, text, gain) for text, gain in zip(texts, own, strict=True)],
        texts=texts,
        prompts=["Headline of: " + _letters(rng) for _ in owner],
        owners=[f"s{number}" for number in owner],
        in_nll=_nll(item, leak),
        out_nll=_nll(item, 0.0),
        item_in_nll=_nll(item, leak),
        item_out_nll=_nll(item, 0.0),
        population_logprobs=crowd.observe(np.zeros(POPULATION))[0],
        population_out_nll=_nll(crowd, 0.0),
        members=members,
        similarity=rng.random(OWNERS)[owner],
    )
    return Simulated(signals, members)


def odd() -> Signals:
    """Build the items that break attacks: certain, impossible, one token, in no other module, a caseless text."""
    rows = [np.zeros(2), np.array([-np.inf]), np.array([-1.0]), np.array([-2.0, -0.5, -0.1])]
    certain = [np.zeros_like(row) for row in rows]
    return Signals(
        logprobs=rows,
        mu=[np.minimum(-0.1, certain_row) for certain_row in certain],
        sigma=certain,
        top=[np.ones(2, dtype=np.bool_), *(np.zeros(len(row), dtype=np.bool_) for row in rows[1:])],
        lower_logprobs=[np.zeros(1), np.array([-np.inf]), np.array([-1.0, -0.3]), np.array([-2.0, -0.5])],
        prefix_logprobs=rows,
        grad_norm=[np.zeros(2), np.array([3.0, 1.0]), np.array([0.5, 0.0]), np.array([0.1, 0.2])],
        alignment=[np.zeros(2), np.array([-1.0, 0.5]), np.array([0.5, 0.0]), np.array([0.1, -0.2])],
        base_logprobs=[np.zeros(2), np.array([-np.inf]), np.zeros(1), np.array([-1.0, -np.inf, -0.1])],
        base_mu=[np.minimum(-0.1, certain_row) for certain_row in certain],
        base_sigma=certain,
        continuations=[["", ""], ["12", "12"], ["", "é"], ["Case of its own", "Upper"]],
        texts=["same", "12", "é", "Upper Case"],
        prompts=["", "a", "b", "c"],
        owners=["s0", "s1", "s1", "s2"],
        in_nll=[np.zeros(0)] * 4,
        out_nll=[np.array([1.0])] * 4,
        item_in_nll=[np.array([0.0, 1.0])] * 4,
        item_out_nll=[np.array([1.0, np.inf])] * 4,
        population_logprobs=[],
        population_out_nll=[],
    )


@dataclass(frozen=True, eq=False)
class _Tokens:
    """Items as flat rows of tokens."""

    rng: np.random.Generator
    lengths: IntArray
    gold: IntArray
    base: FloatArray
    """Logits, [tokens, VOCAB]."""

    @classmethod
    def draw(cls, rng: np.random.Generator, items: int) -> _Tokens:
        lengths = rng.integers(4, 12, size=items)
        tokens = int(lengths.sum())
        return cls(
            rng, lengths, rng.integers(VOCAB, size=tokens), rng.normal(scale=1.5, size=(tokens, VOCAB))
        )

    def observe(self, gain: FloatArray) -> tuple[Rows, Rows, Rows, Sequence[BoolArray], Rows, Rows]:
        """Log p of the golds, μ, σ and top of one more module that raises each item's golds by ``gain`` [items].

        And its white-box signals, as if the changed logits were its only weights: gradient norms and alignments.
        """
        rows = np.arange(self.gold.size)
        logits = self.base + self.rng.normal(scale=NOISE, size=self.base.shape)
        logits[rows, self.gold] += np.repeat(gain, self.lengths)
        logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        p = np.exp(logp)
        mu = (p * logp).sum(axis=1)
        sigma = np.sqrt(np.maximum((p * np.square(logp)).sum(axis=1) - np.square(mu), 0.0))
        own = logp[rows, self.gold]
        top = np.split(own >= logp.max(axis=1), np.cumsum(self.lengths)[:-1])
        here, there = self._slope(logits), self._slope(self.base)
        norms = [np.sqrt([np.square(part).sum()]) for part in self._split(here)]
        along = [np.array([part.sum()]) for part in self._split(there * (logits - self.base))]
        return self._split(own), self._split(mu), self._split(sigma), top, norms, along

    def _slope(self, logits: FloatArray) -> FloatArray:
        """Gradient of each item's mean NLL with respect to its logits, [tokens, VOCAB]."""
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        p[np.arange(self.gold.size), self.gold] -= 1
        return np.asarray(p / np.repeat(self.lengths, self.lengths)[:, None])

    def _split(self, flat: FloatArray) -> Rows:
        return np.split(flat, np.cumsum(self.lengths)[:-1])


def _nll(tokens: _Tokens, gain: float) -> Rows:
    """Mean NLL under MODULES further modules that raise every gold by the same gain -> [items] of [MODULES]."""
    gains = np.full(tokens.lengths.size, gain)
    seen = [[-row.mean() for row in tokens.observe(gains)[0]] for _ in range(MODULES)]
    return [np.array(column) for column in zip(*seen, strict=True)]


def _written(rng: np.random.Generator, text: str, gain: float) -> list[str]:
    """Sample five continuations, each of whose words is the text's own with odds of e^gain to 2."""
    words = halves(text)[1]
    kept = rng.random((5, len(words))) < np.exp(gain) / (2 + np.exp(gain))
    return [" ".join(w if own else "other" for w, own in zip(words, row, strict=True)) for row in kept]


def _letters(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(string.ascii_letters + " "), size=30))
