"""White-box signals of single adapters: the gradient of an item's loss with respect to the adapter's own factors.

The loss L is the mean negative log-likelihood of the item's gold tokens. One backward pass gives both signals: with
site i's update ΔW = s·BA, ⟨∂L/∂B, B⟩ = ⟨∂L/∂ΔW, ΔW⟩, because B enters L only by s·BA. All of it is in float32 beside
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
from prime_audit.engine.memo import key_of
from prime_audit.engine.mixture import BASE, alone
from prime_audit.engine.passes import Pass
from prime_audit.engine.recipe import LoraShape
from prime_audit.engine.trainee import fresh_lora


@dataclass(frozen=True)
class Item:
    """One text under one adapter."""

    prompt: str
    gold: str
    adapter: str | None
    """Its name in the bank; None: a fresh LoRA beside the base (A random, B zero), which no item has trained."""


@dataclass(frozen=True)
class Differentiate(Pass[np.ndarray]):
    """One batch, forward and backward; returns float64 [rows, 2, sites]."""

    rows: int
    sites: int
    units: int
    """Padded tokens."""


def gradients(engine: Engine, items: Sequence[Item], seed: int, tick: Tick = nothing) -> np.ndarray:
    """Return each item's gradient norms and alignments by site, float64 [items, 2, sites].

    First ‖∂L/∂(A, B)‖ of a site's factors, then ⟨∂L/∂ΔW, ΔW⟩: the slope of L along the adapter's own scale at full
    weight, so below 0 where more of the adapter would make the item likelier. Of a fresh LoRA ΔW is 0, and so is the
    second. ``seed``: the fresh LoRA's. ``tick`` counts items. Results are cached by content.
    """
    if engine.keeper is None:
        return _gradients(engine, items, seed, tick)
    bank = engine.bank
    named = ((i.prompt, i.gold, i.adapter and bank.hashes[i.adapter]) for i in items)
    key = key_of(
        engine.base, "gradients", code_sha256("gradients"), engine.read_tokens, bank.rank, seed, named
    )
    progress = Progress(tick)
    found = engine.keeper.arrays(key, lambda: {"found": _gradients(engine, items, seed, progress)})["found"]
    progress.finish(len(items))
    return found


def _gradients(engine: Engine, items: Sequence[Item], seed: int, tick: Tick) -> np.ndarray:
    base, sites = engine.base, len(engine.base.sites)
    rows = [base.codec.example(item.prompt, item.gold) for item in items]
    factors = _Factors(engine, seed)
    found = np.zeros((len(items), 2, sites))

    def length(i: int) -> int:
        return len(rows[i].ids)

    def work(part: Sequence[int]) -> None:
        examples, adapters = [rows[i] for i in part], [items[i].adapter for i in part]

        def differentiate() -> np.ndarray:
            return _batch(base, factors.of(adapters), engine.bank.scaling, examples)

        units = len(part) * max(map(length, part))
        own = base.worker.do(Differentiate(differentiate, len(part), sites, units))
        for i, values in zip(part, own, strict=True):
            if not np.isfinite(values).all():
                name = items[i].adapter
                raise not_finite(base, alone(name) if name else BASE, "gradients")
        found[list(part)] = own
        base.spent.requests += len(part)
        base.spent.prompt_tokens += sum(map(length, part))
        tick(len(part))

    room = base.room(engine.read_tokens, "train")
    for batch in batches(range(len(rows)), group=lambda _: 0, length=length, tokens=room):
        base.fits["train"].run(work, batch, length)
    return found


class _Factors:
    """Factors of adapters, one copy a row."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self._bank, base = engine.bank, engine.base
        self._fresh = fresh_lora(base, LoraShape(rank=engine.bank.rank), seed)
        self._sites = len(base.sites)

    def of(self, adapters: Sequence[str | None]) -> list[Tensor]:
        """Return all A, then all B, float32 [rows, …] each, to be differentiated by."""
        sides = [self._site(site, adapters) for site in range(self._sites)]
        stacked = [a for a, _ in sides] + [b for _, b in sides]
        return [s.detach().requires_grad_() for s in stacked]

    def _site(self, site: int, adapters: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        names = list(dict.fromkeys(name for name in adapters if name is not None))
        a, b = self._bank.factors(site, names) if names else self._bank.factors(site)
        fresh_a, fresh_b = self._fresh[site], self._fresh[self._sites + site]
        rows = [(fresh_a, fresh_b) if n is None else (a[names.index(n)], b[names.index(n)]) for n in adapters]
        return torch.stack([x.float() for x, _ in rows]), torch.stack([y.float() for _, y in rows])


def _batch(base: Base, params: Sequence[Tensor], scaling: float, examples: Sequence[Encoded]) -> np.ndarray:
    branch = LoraBranch(params, torch.arange(len(examples), device=base.device), scaling, None)
    ids, options = base.padded([e.ids for e in examples])
    rows, columns = gold_places(examples)
    with base.mounted(branch):
        logits = base.logits_at(ids, rows, columns, **options)
    golds = torch.tensor([t for e in examples for t in e.ids[len(e.ids) - e.gold :]], device=base.device)
    nll = nn.functional.cross_entropy(logits.float(), golds, reduction="none")
    mean = torch.tensor([1 / e.gold for e in examples for _ in range(e.gold)], device=base.device)
    grads = torch.autograd.grad((nll * mean).sum(), params)
    half = len(params) // 2
    by_site = zip(grads[:half], grads[half:], params[half:], strict=True)
    with torch.no_grad():
        pairs = [
            (
                (_squares(by_a) + _squares(by_b)).sqrt(),
                (by_b.double() * b.double()).flatten(1).sum(1),
            )
            for by_a, by_b, b in by_site
        ]
        return torch.stack([torch.stack(pair) for pair in pairs]).permute(2, 1, 0).cpu().numpy()


def _squares(values: Tensor) -> Tensor:
    return values.double().square().flatten(1).sum(1)
