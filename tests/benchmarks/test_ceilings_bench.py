"""How near the engine comes to what the hardware can do, and where the time goes."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from prime_audit.engine.engine import Engine
from prime_audit.engine.mixture import Mixture, Request
from prime_audit.engine.train import train_adapters

from . import hunt, rivals
from .costs import Model
from .shapes import LORA, Room, candidates, jobs, recipe, same
from .side_by_side import Side, SideBySide

KINDS = {
    "matrix products": ("mm", "linear", "matmul", "einsum"),
    "attention": ("attention", "flash"),
    "random numbers": ("bernoulli", "dropout", "exponential", "multinomial"),
    "copies": ("copy", "cat", "index", "clone", "gather", "stack", "scatter", "fill", "zero"),
}


@pytest.fixture
def engine(room: Room) -> Engine:
    hunt.endless(room)
    return hunt.ready_engine(room)


def prompts(room: Room, count: int) -> list[str]:
    users = room.users("LaMP-2", 3, 60)
    return [p.prompt for own in users for p in own][:count]


def mixed(engine: Engine, asked: list[str]) -> list[Request]:
    """Ask each prompt of a mixture of its own."""
    names = tuple(engine.bank.names[:3])
    return [Request(p, Mixture(names, w)) for p, w in zip(asked, candidates(len(asked), 3), strict=True)]


def test_prefill(room: Room, engine: Engine, side_by_side: SideBySide) -> None:
    """Read prompts of a mixture each; the price of the mixtures stands beside, and the plain model's own speed."""
    asked = prompts(room, 128 if room.full else 6)
    with_mixtures, bare = mixed(engine, asked), [Request(p) for p in asked]

    @torch.inference_mode()
    def plain() -> list[str]:
        found = []
        for start in range(0, len(asked), 32):
            batch = rivals.encode(room.tokenizer, asked[start : start + 32], room.base.device)
            token = room.plain(**batch, logits_to_keep=1, use_cache=True).logits[:, -1:].argmax(-1)
            found += rivals.texts(room.tokenizer, token, room.base.stops, 1)
        return found

    _, base, theirs = side_by_side(
        f"prefill of {len(asked)} prompts",
        Side("mixtures", lambda: engine.generate(with_mixtures, 1), len(asked)),
        Side("bare base", lambda: engine.generate(bare, 1), len(asked)),
        Side("transformers, bare base", plain, len(asked)),
        unit="prompt",
    )
    assert same(base, theirs) == 1 or not room.exact


def test_decode(room: Room, engine: Engine, side_by_side: SideBySide, ceilings: tuple[float, float]) -> None:
    """A step's time against the bytes it must move: all weights, and each row's keys and values."""
    rows, steps = (64 if room.cuda else 32, 32) if room.full else (4, 3)
    asked = mixed(engine, prompts(room, rows))
    long = Side(f"{steps + 1} tokens", lambda: engine.generate(asked, steps + 1))
    short = Side("1 token", lambda: engine.generate(asked, 1))
    side_by_side(f"decode, {rows} rows", long, short, unit="batch")
    if not room.full:
        return
    step = (median(side_by_side.times[long.name]) - median(side_by_side.times[short.name])) / steps
    context = np.mean([len(room.base.codec.prompt(r.prompt, 1).ids) for r in asked]) + steps / 2
    moved = Model.of(room.plain.config).step_bytes(rows, float(context), room.base.dtype.itemsize)
    rate = moved / step
    side_by_side.benchmark.extra_info["step"] = {"s": step, "bytes": moved}
    side_by_side.board.append(
        f"    a decode step of {rows} rows: {step * 1e3:.3g} ms for {moved:.3g} bytes, {rate:.3g} bytes/s, "
        f"{rate / ceilings[1]:.1%} of a copy's"
    )


def stage(name: str, room: Room, engine: Engine) -> Callable[[], object]:
    """Return one stage's work, small: a profile slows it down and takes memory."""
    if name == "search":
        history = hunt.examples(room, 2 if room.full else 1, 12 if room.full else 2)
        return lambda: hunt.search(engine, history, 5)
    if name == "training":
        work = jobs(room, "LaMP-2", (4 if room.big else 20) if room.full else 2, 8)
        return lambda: train_adapters(room.base, work, LORA, recipe(room), seed=0, tokens=room.tokens[1])
    pairs = [p for own in room.users("LaMP-2", 6, 8 if room.full else 2) for p in own]
    mixtures = [Mixture(tuple(engine.bank.names[:3]), w) for w in candidates(5, 3)]
    asked = [Request(p.prompt, m, gold=p.gold) for m in mixtures for p in pairs]
    return lambda: engine.score(asked)


@pytest.mark.parametrize("name", ["search", "training", "scoring"])
def test_where_time_goes(room: Room, engine: Engine, benchmark: Any, board: list[str], name: str) -> None:
    """Shares of the time by kind of operation; the rest is what no operation accounts for: Python, and waiting."""
    run = stage(name, room, engine)
    run()
    took = benchmark.pedantic(_profiled, (room, run), rounds=1)
    shares = _shares(took, room.cuda)
    benchmark.extra_info["shares"] = shares
    board.append(f"time in {name}: " + ", ".join(f"{kind} {part:.0%}" for kind, part in shares.items()))
    assert shares["matrix products"] > 0


def _profiled(room: Room, run: Callable[[], object]) -> tuple[Any, float]:
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if room.cuda else [])]
    with profile(activities=kinds) as seen, torch.profiler.record_function("whole"):
        run()
        room.sync()
    return seen.key_averages(), next(e.cpu_time_total for e in seen.key_averages() if e.key == "whole")


def _shares(took: tuple[Any, float], cuda: bool) -> dict[str, float]:
    events, whole = took
    shares = dict.fromkeys([*KINDS, "other operations"], 0.0)
    for event in events:
        if not event.key.startswith("aten::"):
            continue
        kind = next(
            (k for k, words in KINDS.items() if any(w in event.key for w in words)), "other operations"
        )
        shares[kind] += (event.self_device_time_total if cuda else event.self_cpu_time_total) / whole
    return shares | {"no operation": 1 - sum(shares.values())}
