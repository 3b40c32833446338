"""What the fast pieces buy for each make of model: the engine with them, beside the engine on transformers' own layers.

``pytest tests/benchmarks/test_makes_bench.py --benchmark-enable --threads 1`` prints the ratios of docs/reference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any

import pytest
import torch
import transformers as hf

from prime_audit.engine import base as base_module
from prime_audit.engine import tree as tree_module
from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.base import KINDS, Base
from prime_audit.engine.engine import Engine
from prime_audit.engine.load import load_tokenizer, resolve_model
from prime_audit.engine.mixture import BASE, Continuation, Probe, Request
from prime_audit.engine.recipe import Job, LoraShape, Recipe
from prime_audit.engine.train import train_adapters

NAMES = {"gemma3_text": "Gemma3", "phi3": "Phi3", "olmo2": "Olmo2", "gemma2": "Gemma2"}
TEXT = "the council met on Monday and voted for the new bridge while rain fell on the cat and the dog " * 4
PROMPTS = [TEXT[: 180 + 9 * (i % 16)] + " Tag:" for i in range(32)]
GOLDS = [Continuation("Fantasy"), Continuation("fantasy")]


def model_of(kind: str, full: bool) -> Any:
    """Build a model of one make with random weights."""
    name = NAMES.get(kind, kind.title())
    config = getattr(hf, f"{name}TextConfig" if kind == "gemma3_text" else f"{name}Config")(
        vocab_size=3584,
        hidden_size=256 if full else 32,
        intermediate_size=512 if full else 48,
        num_hidden_layers=4 if full else 2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64 if full else 16,
        max_position_embeddings=1024,
        sliding_window=1024,
        initializer_range=0.2,
        **{"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2},
    )
    torch.manual_seed(0)
    return getattr(hf, f"{name}ForCausalLM")(config)


@contextmanager
def transformers_path() -> Iterator[None]:
    """Let the engine treat every make as an unknown one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base_module, "KINDS", ())
        patch.setattr(tree_module, "KINDS", ())
        patch.setattr(base_module, "fuse", lambda _: None)
        yield


def engine_of(kind: str, full: bool) -> Engine:
    targets = ("qkv_proj", "o_proj") if kind == "phi3" else ("q_proj", "k_proj", "v_proj", "o_proj")
    base = Base(model_of(kind, full), load_tokenizer(resolve_model("mini"), "mini"), targets, kind)
    return Engine(base=base, bank=AdapterBank(base))


def works(full: bool) -> dict[str, Callable[[Engine], Any]]:
    """Scores with moments, answers, and training of four owners."""
    prompts = PROMPTS if full else PROMPTS[:4]
    jobs = [Job(name, tuple((p, "fantasy") for p in prompts[i::4])) for i, name in enumerate("abcd")]
    recipe = Recipe(batch=4, lr=1e-3, epochs=1)
    return {
        "signals": lambda e: [
            float(row.sum())
            for seen in e.observe([Probe(p, BASE, tuple(GOLDS)) for p in prompts], moments=True)
            for row in seen.logprobs
        ],
        "answers": lambda e: e.generate([Request(p) for p in prompts], 16 if full else 4),
        "training": lambda e: [
            float(a.B[-1].abs().sum())
            for a in train_adapters(
                e.base, jobs, LoraShape(dropout=0.0), recipe, seed=0, tokens=4096
            ).values()
        ],
    }


@pytest.mark.parametrize("kind", KINDS)
def test_fast_pieces(benchmark: Any, board: list[str], rounds: int, kind: str) -> None:
    """Both sides give the same; the fast side is not slower."""
    full = not benchmark.disabled
    fast = engine_of(kind, full)
    with transformers_path():
        slow = engine_of(kind, full)
    parts = []
    for name, work in works(full).items():
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(1 + rounds if full else 1):
            ours, own = timed(partial(work, fast))
            with transformers_path():
                theirs, other = timed(partial(work, slow))
            times[0].append(own)
            times[1].append(other)
        agree(name, ours, theirs)
        parts.append(f"{name} {median(times[1][1:] or times[1]) / median(times[0][1:] or times[0]):.2f}x")
    board.append(f"{kind}: fast pieces against transformers' layers: {', '.join(parts)}")
    benchmark.pedantic(lambda: None, rounds=1)


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.perf_counter()
    found = run()
    return found, time.perf_counter() - begin


def agree(name: str, ours: Sequence[Any], theirs: Sequence[Any]) -> None:
    if name == "answers":
        assert ours == theirs
    else:
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-3)
