"""White-box signals of single adapters: gradients of an item's loss with respect to the adapter's factors.

The loss L is the mean negative log-likelihood of the item's gold tokens. Two signals, a backward pass each: the norm of
the gradient at the adapter, and at the base the gradient's inner product with the adapter's update ΔW = s·BA. The
latter is ⟨∂L/∂B, B⟩ with the derivative taken at B = 0, because B enters L only by s·BA. All of it is in float32 beside
the base, and each row has factors of its own, so that one item's gradient is not another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from prime_audit.cache.numeric import code_sha256
from prime_audit.engine.base import Base
from prime_audit.engine.batches import Progress, Tick, batches, nothing
from prime_audit.engine.branches import LoraBranch
from prime_audit.engine.codec import Encoded, gold_places
from prime_audit.engine.engine import Engine
from prime_audit.engine.finite import not_finite
from prime_audit.engine.memo import NOWHERE, Partial, Rows, key_of, stacked, unstacked
from prime_audit.engine.mixture import BASE, alone
from prime_audit.engine.passes import Pass
from prime_audit.engine.recipe import LoraShape
from prime_audit.engine.trainee import fresh_lora

NORM, ALIGNMENT = "grad_norm", "alignment"


@dataclass(frozen=True)
class Item:
    """One text under one adapter."""

    prompt: str
    gold: str
    adapter: str | None
    """Its name in the bank; None: a fresh LoRA beside the base (A random, B zero), which no item has trained."""


@dataclass(frozen=True)
class Differentiate(Pass[np.ndarray]):
    """One batch, forward and backward; returns float64 [rows, sites]."""

    rows: int
    sites: int
    units: int
    """Padded tokens."""


def gradients(
    engine: Engine, items: Sequence[Item], signal: str, seed: int, tick: Tick = nothing
) -> np.ndarray:
    """Return one signal of each item by site, float64 [items, sites].

    ``grad_norm``: ‖∂L/∂(A, B)‖ of the site's factors, at the adapter. ``alignment``: ⟨∂L/∂ΔW, ΔW⟩ of the site, with the
    derivative at the base: what the whole update adds to L, to first order; below 0 where it makes the item likelier.
    ``seed``: the fresh LoRA's. ``tick`` counts items. Results are cached by content.
    """
    if engine.keeper is None:
        return _gradients(engine, items, signal, seed, tick, NOWHERE)
    hashes = engine.bank.hashes
    named = ((i.prompt, i.gold, i.adapter and hashes[i.adapter]) for i in items)
    asked = (signal, engine.read_tokens, engine.bank.rank, seed)
    key = key_of(engine.base, "gradients", code_sha256("gradients"), asked, named)
    keeper, progress = engine.keeper, Progress(tick)

    def make() -> dict[str, np.ndarray]:
        return {"found": _gradients(engine, items, signal, seed, progress, keeper.partial(key))}

    found = keeper.arrays(key, make)["found"]
    progress.finish(len(items))
    return found


def _gradients(
    engine: Engine, items: Sequence[Item], signal: str, seed: int, tick: Tick, so_far: Partial
) -> np.ndarray:
    base, sites = engine.base, len(engine.base.sites)
    rows = [base.codec.example(item.prompt, item.gold) for item in items]
    factors = _Factors(engine, seed)
    found = Rows[np.ndarray](so_far, stacked, unstacked)
    if found.done:
        tick(len(found.done))

    def length(i: int) -> int:
        return len(rows[i].ids)

    def work(part: Sequence[int]) -> None:
        examples, adapters = [rows[i] for i in part], [items[i].adapter for i in part]

        def differentiate() -> np.ndarray:
            return _batch(base, *factors.of(adapters), engine.bank.scaling, examples, signal)

        units = len(part) * max(map(length, part))
        own = base.worker.do(Differentiate(differentiate, len(part), sites, units))
        for name, values in zip(adapters, own, strict=True):
            if not np.isfinite(values).all():
                raise not_finite(base, alone(name) if name else BASE, "gradients")
        base.spent.requests += len(part)
        base.spent.prompt_tokens += sum(map(length, part))
        found.add(part, list(own))
        tick(len(part))

    room = base.room(engine.read_tokens, "train")
    for batch in batches(range(len(rows)), group=lambda _: 0, length=length, tokens=room, worth=base.worth):
        if left := found.left(batch):
            base.fits["train"].run(work, left, length)
    return np.array(found.all()).reshape(len(items), sites)


class _Factors:
    """Factors of adapters, one copy a row."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self._bank, base = engine.bank, engine.base
        self._fresh = fresh_lora(base, LoraShape(rank=engine.bank.rank), seed)
        self._sites = len(base.sites)

    def of(self, adapters: Sequence[str | None]) -> tuple[list[Tensor], list[Tensor]]:
        """Return A and B of every site, float32 [rows, …] each."""
        sides = [self._site(site, adapters) for site in range(self._sites)]
        return [a for a, _ in sides], [b for _, b in sides]

    def _site(self, site: int, adapters: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        names = list(dict.fromkeys(name for name in adapters if name is not None))
        a, b = self._bank.factors(site, names) if names else self._bank.factors(site)
        fresh_a, fresh_b = self._fresh[site], self._fresh[self._sites + site]
        rows = [(fresh_a, fresh_b) if n is None else (a[names.index(n)], b[names.index(n)]) for n in adapters]
        return (
            torch.stack([x.float() for x, _ in rows]).detach(),
            torch.stack([y.float() for _, y in rows]).detach(),
        )


def _batch(
    base: Base,
    down: Sequence[Tensor],
    up: Sequence[Tensor],
    scaling: float,
    examples: Sequence[Encoded],
    signal: str,
) -> np.ndarray:
    at_base = signal == ALIGNMENT
    by_b = [(torch.zeros_like(b) if at_base else b.clone()).requires_grad_() for b in up]
    by_a = [a if at_base else a.clone().requires_grad_() for a in down]
    leaves = by_b if at_base else [*by_a, *by_b]
    branch = LoraBranch([*by_a, *by_b], torch.arange(len(examples), device=base.device), scaling, None)
    ids, options = base.padded([e.ids for e in examples])
    rows, columns = gold_places(examples)
    with base.mounted(branch):
        logits = base.logits_at(ids, rows, columns, **options)
    golds = torch.tensor([t for e in examples for t in e.ids[len(e.ids) - e.gold :]], device=base.device)
    nll = nn.functional.cross_entropy(logits.float(), golds, reduction="none")
    mean = torch.tensor([1 / e.gold for e in examples for _ in range(e.gold)], device=base.device)
    grads = torch.autograd.grad((nll * mean).sum(), leaves)
    if at_base:
        own = [(g.double() * b.double()).flatten(1).sum(1) for g, b in zip(grads, up, strict=True)]
    else:
        squares = [g.double().square().flatten(1).sum(1) for g in grads]
        own = [(a + b).sqrt() for a, b in zip(squares[: len(down)], squares[len(down) :], strict=True)]
    return torch.stack(own, 1).cpu().numpy()
