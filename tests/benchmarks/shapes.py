"""The models and the work that both sides of a benchmark are given."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from prime_audit.engine.adapters import save_adapter
from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.base import Base
from prime_audit.engine.engine import Engine
from prime_audit.engine.load import load_base, load_tokenizer, resolve_model
from prime_audit.engine.lora import Adapter
from prime_audit.engine.recipe import Job, LoraShape, Recipe
from prime_audit.engine.train import train_adapters
from prime_audit.lamp.prompts import history_examples
from prime_audit.lamp.tasks import TASKS
from prime_audit.lamp.world.world import world
from prime_audit.prime.search import Search

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
LORA = LoraShape()
_LLAMA_2_7B = LlamaConfig(
    hidden_size=4096,
    intermediate_size=11008,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=32,
    vocab_size=32000,
    max_position_embeddings=4096,
)
_LLAMA_32_3B = LlamaConfig(
    hidden_size=3072,
    intermediate_size=8192,
    num_hidden_layers=28,
    num_attention_heads=24,
    num_key_value_heads=8,
    head_dim=128,
    vocab_size=128256,
    max_position_embeddings=4096,
    tie_word_embeddings=True,
)
_SMOLLM2_135M = LlamaConfig(
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    vocab_size=49152,
    max_position_embeddings=8192,
    tie_word_embeddings=True,
    rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
)
_TOY = LlamaConfig(
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=3584,
    max_position_embeddings=2048,
)
RANDOM = {
    "llama-2-7b": _LLAMA_2_7B,
    "llama-3.2-3b": _LLAMA_32_3B,
    "smollm2-135m": _SMOLLM2_135M,
    "toy": _TOY,
}
"""Shapes that get random weights; ``toy`` is there to try their path without a GPU."""
SHAPES = ("mini", *RANDOM)
LENGTHS = {"smollm2-135m": (39, 150)}
"""Fewest and most tokens of a prompt of people's own texts; of the other shapes, a LaMP prompt's 250 to 350."""
GAIN = 1.6
"""What a random matrix makes of normed inputs, as a standard deviation: the initial range is GAIN / √width.

At the configurations' 0.02, attention is near uniform: all positions come to the same vector, and one token repeats.
"""
WORDY = {"LaMP-2": 4, "LaMP-4": 16}
"""Random weights never end an answer by themselves: one token id in so many does, about as long as the tasks' golds."""


@dataclass(frozen=True)
class Pair:
    """A prompt and its gold."""

    prompt: str
    gold: str


@dataclass(eq=False)
class Room:
    """One model for both sides: the engine's base, and the same weights as a plain Hugging Face model."""

    base: Base
    plain: Any
    shape: str
    full: bool
    """Whether times are taken; otherwise everything is tiny and runs once."""

    @property
    def big(self) -> bool:
        """Whether the weights are random and the prompts made to measure."""
        return self.shape in RANDOM

    @property
    def slow(self) -> bool:
        """Whether a full amount of work would take hours: a real model's shape without a GPU."""
        return self.big and not self.cuda

    @property
    def cuda(self) -> bool:
        """Whether it runs on a GPU."""
        return self.base.device.type == "cuda"

    @property
    def exact(self) -> bool:
        """Whether both sides must agree: promised in fp32 only."""
        return self.base.dtype == torch.float32

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of both sides."""
        return self.base.codec.tokenizer

    @property
    def tokens(self) -> tuple[int, int]:
        """Padded tokens of a batch of generation or scoring, and of a training pass: what fits beside the weights."""
        if not self.cuda:
            return 65536, 4096
        return (65536, 8192) if self.base.parameters() > 1e9 else (262144, 131072)

    def sync(self) -> None:
        """Wait for the GPU."""
        if self.cuda:
            torch.cuda.synchronize()

    def engine(self, adapters: dict[str, Adapter] | None = None) -> Engine:
        """Return a fresh engine with these adapters in its bank."""
        engine = Engine(base=self.base, bank=AdapterBank(self.base), batch_tokens=self.tokens[0])
        engine.bank.add(adapters or {})
        return engine

    def stops(self, task: str) -> list[int]:
        """Return the tokens that end an answer; of random weights, one id in ``WORDY``."""
        if not self.big:
            return list(self.base.stops)
        return [self.base.codec.eos, *range(3, self.plain.config.vocab_size, WORDY[task])]

    def users(self, task: str, users: int, each: int, role: str = "candidates") -> list[list[Pair]]:
        """Return for each of so many users her last ``each`` history examples, plain and augmented."""
        people = getattr(_world(task, max(users, 14), max(users, 22)), role)[:users]
        found = [
            [Pair(e.prompt, e.gold) for e in history_examples(TASKS[task], user)[-each:]] for user in people
        ]
        return [self._long(i, pairs) for i, pairs in enumerate(found)] if self.big and self.full else found

    def _long(self, user: int, pairs: list[Pair]) -> list[Pair]:
        """Stretch prompts to a real prompt's size, with a spread that padding has to bear."""
        low, high = LENGTHS.get(self.shape, (250, 350))
        sizes = np.random.default_rng(user).integers(low, high + 1, len(pairs))
        ids = [t for p in pairs for t in self.tokenizer(p.prompt, add_special_tokens=False)["input_ids"]]
        ids *= 1 + high * 2 // len(ids)
        starts = np.random.default_rng(user + 1).integers(0, len(ids) - high, len(pairs))
        tokens = self.tokenizer.convert_ids_to_tokens(ids)  # ``decode`` spells ids
        texts = [
            self.tokenizer.convert_tokens_to_string(tokens[a : a + n])
            for a, n in zip(starts, sizes, strict=True)
        ]
        return [Pair(text, pair.gold) for text, pair in zip(texts, pairs, strict=True)]


@cache
def _world(task: str, targets: int, candidates: int) -> Any:
    return world(task, users=12 + targets + candidates, adapt=12, targets=targets)


def build(shape: str, device: str, full: bool, dtype: str = "auto") -> Room:
    """Load the packaged model, or draw random weights right on the device; ``auto``: as ``--dtype``."""
    if dtype == "auto":
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
    if shape == "mini":
        base = load_base("mini", targets=TARGETS, device=device, dtype=dtype)
        plain = AutoModelForCausalLM.from_pretrained(resolve_model("mini"), dtype=base.dtype).to(device)
        return Room(base, plain.eval().requires_grad_(False), shape, full)
    config = copy.deepcopy(RANDOM[shape])
    config.initializer_range = GAIN / config.hidden_size**0.5
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.eval().requires_grad_(False)
    # Two models, one set of weights: what PEFT wraps around the rivals' must not slow ours.
    shared = {id(t): t for t in (*model.parameters(), *model.buffers())}
    plain = copy.deepcopy(model, shared)
    tokenizer = load_tokenizer(resolve_model("mini"), shape)
    tokenizer.decode = _spell  # both sides' answers: the vocabulary is larger than the tokenizer's
    return Room(Base(model, tokenizer, TARGETS, shape), plain, shape, full)


def _spell(ids: Sequence[int], **_: object) -> str:
    return " ".join(map(str, ids))


def recipe(room: Room) -> Recipe:
    """Table 7's batch; the mini model wants larger steps."""
    return Recipe(batch=8, lr=1e-4 if room.big else 5e-3, epochs=1)


def jobs(room: Room, task: str, owners: int, each: int) -> list[Job]:
    """Return the training sets of so many sharers."""
    sets = room.users(task, owners, each)
    return [Job(f"u{i}", tuple((p.prompt, p.gold) for p in pairs)) for i, pairs in enumerate(sets)]


@cache
def sharers(room: Room, task: str, count: int) -> dict[str, Adapter]:
    """Return adapters to merge: trained for the mini model, random for random weights."""
    if room.big:
        return {f"u{i}": _random(room.base, i) for i in range(count)}
    work = jobs(room, task, count, 60 if room.full else 8)
    return train_adapters(
        room.base, work, LORA, replace(recipe(room), epochs=2), seed=0, tokens=room.tokens[1]
    )


def _random(base: Base, seed: int) -> Adapter:
    noise = torch.Generator().manual_seed(seed)
    down = tuple(torch.randn(8, s.d_in, generator=noise) / s.d_in**0.5 for s in base.sites)
    up = tuple(0.05 * torch.randn(s.d_out, 8, generator=noise) for s in base.sites)
    return Adapter(tuple(s.name for s in base.sites), down, up, 1.0)


def save_all(adapters: dict[str, Adapter], folder: Path) -> dict[str, Path]:
    """Write adapters as PEFT folders: what the rivals load."""
    for name, adapter in adapters.items():
        save_adapter(adapter, folder / name)
    return {name: folder / name for name in adapters}


def candidates(count: int, k: int) -> np.ndarray:
    """Draw merge weights, [count, k]; between 0 and 1, as deployed modules have them."""
    return np.random.default_rng(0).uniform(0, 1, (count, k))


def population(k: int) -> np.ndarray:
    """Ask CMA for its first population, [4 + ln k, k]."""
    return np.array(Search("cma", k, 30, 0).ask())


def same(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """Return the share of answers that are equal."""
    return float(np.mean([a == b for a, b in zip(ours, theirs, strict=True)]))
