"""Per-Pcs assembly: merge weights chosen module by module during one forward pass (Tan et al. 2024a)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from prime_audit.engine.bank import flatten_factors
from prime_audit.engine.base import Branch
from prime_audit.engine.batches import Tick, batches, nothing
from prime_audit.engine.codec import Encoded, gold_places
from prime_audit.engine.engine import Engine
from prime_audit.engine.finite import not_finite
from prime_audit.engine.lastlayer import Places
from prime_audit.engine.lora import hash_of
from prime_audit.engine.memo import NOWHERE, Arrays, Partial, Rows, key_of
from prime_audit.engine.mixture import Mixture
from prime_audit.engine.passes import Pass
from prime_audit.engine.rules import ASSEMBLED, RULES

Gates = Mapping[str, tuple[Tensor, ...]]
"""Adapter name → one gate vector [d_in] per site."""


@dataclass(frozen=True)
class Unit:
    """One batch of one target's history, and the adapters to choose from."""

    target: str
    pool: tuple[str, ...]
    examples: tuple[tuple[str, str], ...]
    """(prompt, gold) pairs."""


def assemble(
    engine: Engine, units: Sequence[Unit], gates: Gates, top_k: int, tick: Tick = nothing
) -> list[np.ndarray]:
    """Return for each unit its weights [sites, pool], to be merged by the rule ``ASSEMBLED``.

    Each unit depends on its own examples alone, though several share a pass. ``tick`` counts units.
    """
    if engine.keeper is None:
        return _assemble(engine, units, gates, top_k, tick, NOWHERE)
    known = {name: (engine.bank.hashes[name], hash_of(gate)) for name, gate in gates.items()}
    asked = (([known[name] for name in unit.pool], unit.examples) for unit in units)
    key, keeper = key_of(engine.base, "assemble", top_k, engine.read_tokens, asked), engine.keeper

    def make() -> Arrays:
        return _numbered(_assemble(engine, units, gates, top_k, tick, keeper.partial(key)))

    return _listed(keeper.arrays(key, make))


def _numbered(weights: Sequence[np.ndarray]) -> Arrays:
    return {f"{n:06d}": own for n, own in enumerate(weights)}


def _listed(found: Arrays) -> list[np.ndarray]:
    return [found[name] for name in sorted(found) if name.isdigit()]


@torch.inference_mode()
def _assemble(
    engine: Engine, units: Sequence[Unit], gates: Gates, top_k: int, tick: Tick, so_far: Partial
) -> list[np.ndarray]:
    base = engine.base
    encoded = [[base.codec.example(p, g) for p, g in unit.examples] for unit in units]
    weights = Rows[np.ndarray](so_far, _numbered, _listed)
    if weights.done:
        tick(len(weights.done))
    many = max((len(unit.examples) for unit in units), default=1)

    def length(i: int) -> int:
        return many * max(len(e.ids) for e in encoded[i])

    def work(part: Sequence[int]) -> None:
        rows = [encoded[i] for i in part]
        pool = units[part[0]].pool
        choose = partial(_choose, engine, pool, gates, rows, top_k)
        chosen = base.worker.do(Assemble(choose, rows, len(base.sites), len(pool), top_k))
        if not np.isfinite(chosen).all():
            raise not_finite(base, Mixture(pool, np.ones(len(pool))), "hidden states")
        base.spent.requests += sum(map(len, rows))
        base.spent.prompt_tokens += sum(len(e.ids) for own in rows for e in own)
        weights.add(part, list(chosen))
        tick(len(part))

    plan = batches(
        range(len(units)),
        group=lambda i: units[i].pool,
        length=length,
        tokens=base.room(engine.read_tokens, "read"),
        worth=base.worth,
    )
    for part in plan:
        if left := weights.left(part):
            base.fits["observe"].run(work, left, length)
    return weights.all()


@dataclass(frozen=True)
class Assemble(Pass[np.ndarray]):
    """Choose the weights of some units with one pool: float64 [units, sites, pool]."""

    examples: Sequence[Sequence[Encoded]]
    """Per unit."""
    sites: int
    pool: int
    top_k: int


def _choose(
    engine: Engine, pool: tuple[str, ...], gates: Gates, examples: Sequence[Sequence[Encoded]], top_k: int
) -> np.ndarray:
    base, rows = engine.base, [e for own in examples for e in own]
    branch = _Assembly(engine, pool, gates, examples, top_k)
    with base.mounted(branch):
        ids, options = base.padded([e.ids for e in rows])
        base.pass_by(ids, *gold_places(rows), **options)
    # A layer that the model never runs (it reads another layer's keys) adds nothing, whatever its weights.
    blank = torch.full((len(examples), len(pool)), 1 / len(pool), device=base.device)
    chosen = torch.stack([branch.chosen.get(i, blank) for i in range(len(base.sites))], 1)
    return chosen.double().cpu().numpy()


class _Assembly(Branch):
    """The branch that chooses sharers by each module's input, and continues with them."""

    def __init__(
        self,
        engine: Engine,
        pool: tuple[str, ...],
        gates: Gates,
        examples: Sequence[Sequence[Encoded]],
        top_k: int,
    ) -> None:
        self._bank, self._pool, self._gates = engine.bank, pool, gates
        self._top = min(top_k, len(pool))
        rows = [e for own in examples for e in own]
        unit_of_row = [unit for unit, own in enumerate(examples) for _ in own]
        self.chosen: dict[int, Tensor] = {}
        """Site → weights [units, pool], for the sites passed so far (a model may run them in any order)."""
        device = engine.base.device
        self._places = gold_places(rows)
        self._width = max(len(e.ids) for e in rows)
        self._picked = Places.of(len(rows), *self._places, device)
        self._unit = torch.tensor(list(unit_of_row), device=device)
        # Weight of one gold position in its unit: every example counts the same, however long its gold.
        each = [1 / (e.gold * unit_of_row.count(u)) for u, e in zip(unit_of_row, rows, strict=True)]
        of_place = torch.tensor(self._places[0], device=device)
        counted = torch.tensor(each, device=device, dtype=torch.float32)[of_place]
        self._share = torch.zeros(max(unit_of_row) + 1, len(of_place), device=device)
        self._share[self._unit[of_place], torch.arange(len(of_place), device=device)] = counted

    def __call__(self, site: int, x: Tensor) -> Tensor:
        # The last layer's queries and output are computed at the gold positions alone (``lastlayer``).
        places = self._places if x.shape[1] == self._width else self._picked.flat
        scores = self._share @ self._scores(site, x[places])
        top, who = scores.sort(dim=-1, descending=True, stable=True)  # ties go to the pool's first
        top, who = top[:, : self._top], who[:, : self._top]
        weights = torch.zeros_like(scores).scatter(-1, who, torch.softmax(top, -1))
        self.chosen[site] = weights
        a, b = self._bank.factors(site, self._pool)
        flat_a, flat_b = flatten_factors(a, b)
        return (
            RULES[ASSEMBLED].mix(x @ flat_a.T, weights[self._unit], a.shape[1])
            @ flat_b.T
            * self._bank.scaling
        )

    def _scores(self, site: int, x: Tensor) -> Tensor:
        """⟨LN(x), LN(g)⟩/√d of inputs x [places, d] with every gate of the pool, [places, pool]."""
        d = x.shape[-1]
        gates = torch.stack([self._gates[name][site] for name in self._pool]).to(x.device)
        normal = [torch.nn.functional.layer_norm(t.float(), (d,), eps=1e-5) for t in (x, gates)]
        return normal[0] @ normal[1].T / math.sqrt(d)
