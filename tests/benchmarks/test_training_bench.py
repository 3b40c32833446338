"""All sharers' adapters side by side, against one sharer after another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from prime_audit.engine.lora import Adapter
from prime_audit.engine.recipe import Job, LoraShape, Recipe
from prime_audit.engine.train import train_adapters

from . import rivals
from .shapes import LORA, Room, jobs, recipe
from .side_by_side import Side, SideBySide


def ours(room: Room, work: list[Job], lora: LoraShape, how: Recipe) -> dict[str, Adapter]:
    return train_adapters(room.base, work, lora, how, seed=0, tokens=room.tokens[1])


def theirs(room: Room, work: list[Job], lora: LoraShape, how: Recipe) -> dict[str, dict[str, torch.Tensor]]:
    return {j.owner: rivals.peft_train(room.plain, room.tokenizer, j.examples, lora, how) for j in work}


def keyed(adapter: Adapter) -> dict[str, torch.Tensor]:
    """Name the factors as PEFT does."""
    named: dict[str, torch.Tensor] = {}
    for site, a, b in zip(adapter.sites, adapter.A, adapter.B, strict=True):
        named |= {f"base_model.model.{site}.lora_{k}.weight": t for k, t in (("A", a), ("B", b))}
    return named


def test_sharers(side_by_side: SideBySide, room: Room) -> None:
    """The paper's recipe, one epoch: batch 8, dropout 0.05, AdamW, cosine; nobody's result depends on the others."""
    many = (20, 8) if room.slow else (8, 32) if room.base.parameters() > 1e9 else (40, 32)
    owners, each = many if room.full else (3, 6)
    work = jobs(room, "LaMP-2", owners, each)
    few, how = work[: max(2, owners // 4)], recipe(room)
    sides = [
        Side("ours, side by side", lambda: ours(room, work, LORA, how), owners),
        Side(
            "PEFT one by one",
            lambda: theirs(room, work, LORA, how),
            owners,
            lambda: theirs(room, few, LORA, how),
        ),
        Side("ours, one by one", lambda: [ours(room, [job], LORA, how) for job in few], len(few)),
    ]
    title = f"training {owners} sharers, {len(work[0].examples)} examples each"
    stacked, peft, _ = side_by_side(title, *sides, unit="sharer", training=True)
    assert stacked.keys() == peft.keys()


def test_same_adapters(benchmark: Any, room: Room) -> None:
    """Without dropout, from the same start and with one batch an epoch, both sides make the same adapters."""
    lora, how = LoraShape(dropout=0.0), Recipe(batch=8, lr=1e-3, epochs=2)
    work = jobs(room, "LaMP-4", 2, 6)
    # At rate 0 nothing moves: what comes back is where training starts.
    start = ours(room, work, lora, replace(how, lr=0.0))
    found = benchmark.pedantic(ours, (room, work, lora, how), rounds=1)
    for job in work:
        begin = {
            k.replace(".weight", ".default.weight"): v.float() for k, v in keyed(start[job.owner]).items()
        }
        made = rivals.peft_train(room.plain, room.tokenizer, job.examples, lora, how, start=begin)
        for name, tensor in keyed(found[job.owner]).items():
            moved = (tensor - begin[name.replace(".weight", ".default.weight")]).abs().mean()
            # The mean: Adam turns the last bit of a gradient near 0 into a whole step, here and there.
            apart = (tensor - made[name].cpu()).abs().mean()
            assert moved > 0
            assert apart < 0.01 * moved or not room.exact
