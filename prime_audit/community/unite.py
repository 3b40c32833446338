"""Adapters made from sharers' adapters, module by module: made once, cached, and put into the bank."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from prime_audit.cache.numeric import code_sha256
from prime_audit.community.sharers import bank_name
from prime_audit.community.store import content_key
from prime_audit.engine.lora import Adapter
from prime_audit.seeds import rng_of

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from prime_audit.community.build import Community
    from prime_audit.community.training import Stage

Draws = Callable[[str], "list[np.random.Generator]"]
"""Matrix of a module, as `` A`` or empty for ΔW → the random numbers of each sharer, the same in every set."""


@dataclass(frozen=True)
class Uniting(ABC):
    """A way to make one update from the updates of a set of sharers; its fields are all that decides it."""

    how: str
    """What it is called in the bank's names, and in its random numbers."""

    @property
    @abstractmethod
    def widens(self) -> bool:
        """Whether the update has more than the adapters' own rank."""

    @abstractmethod
    def unite(self, a: Tensor, b: Tensor, rank: int, draws: Draws) -> tuple[Tensor, Tensor]:
        """Turn A [k, r, d_in] and B [k, d_out, r] of a module into A [rank, d_in] and B [d_out, rank]."""


def united(
    community: Community, stage: Stage, sets: Iterable[Iterable[str]], way: Uniting, rank: int = 0
) -> dict[frozenset[str], tuple[str, ...]]:
    """Unite sharers' adapters, set by set; a known set is not united again.

    The community has to be ready (``Community.ready``); ``stage`` shows progress (``scene.stage`` in a method);
    ``sets`` hold sharers' ids. ``rank`` is left of an update that is wider than the adapters, rounded up to a multiple
    of theirs; 0: that of the set's plain sum.

    Returns set → its adapters in the bank, whose sum is what was united: one, or as many as the rank takes.
    """
    bank = community.engine.bank
    found: dict[frozenset[str], tuple[str, ...]] = {}
    made: dict[str, Adapter] = {}
    of: dict[str, list[str]] = {}
    for one in map(frozenset, sets):
        parts = (math.ceil(rank / bank.rank) or len(one)) if way.widens else 1
        key = content_key({**asdict(way), "sharers": sorted(one), "parts": parts})
        found[one] = tuple(f"{way.how}:{key[:16]}:{n}" for n in range(parts))
    missing = {one: names for one, names in found.items() if names[0] not in bank.names}
    with stage("unite", len(missing)) as tick:
        for one, names in missing.items():
            for name, adapter in _cached(community, sorted(one), way, names).items():
                made[name], of[name] = adapter, [bank_name(s) for s in sorted(one)]
            tick(1)
    bank.add(made, of)
    return found


def _cached(
    community: Community, sharers: Sequence[str], way: Uniting, names: Sequence[str]
) -> dict[str, Adapter]:
    """Unite a set of sharers, or read what an earlier run united."""
    bank = community.engine.bank
    what = {
        **asdict(way),
        "of": [(s, bank.hashes[bank_name(s)]) for s in sharers],
        "seed": [community.seed, community.task.name],
        "code": code_sha256("united"),
    }

    def make() -> dict[str, Adapter]:
        return dict(zip(names, _unite(community, sharers, way, len(names)), strict=True))

    made = community.keep("unite", what, names, make)
    # On the disk the scaling is alpha / rank, which may differ in the last bit.
    return {name: replace(adapter, scaling=bank.scaling) for name, adapter in made.items()}


def _unite(community: Community, sharers: Sequence[str], way: Uniting, parts: int) -> list[Adapter]:
    base, bank = community.engine.base, community.engine.bank
    factors: list[tuple[Tensor, Tensor]] = []
    for number, site in enumerate(base.sites):

        def draws(matrix: str, site: str = site.name) -> list[np.random.Generator]:
            task = community.task.name
            return [rng_of(community.seed, way.how, task, s, f"{site}{matrix}") for s in sharers]

        a, b = (f.float() for f in bank.factors(number, [bank_name(s) for s in sharers]))
        a, b = way.unite(a, b, parts * bank.rank, draws)
        factors.append((a.to(base.dtype), b.to(base.dtype)))
    sites = tuple(site.name for site in base.sites)
    cuts = [slice(n * bank.rank, (n + 1) * bank.rank) for n in range(parts)]
    return [
        Adapter(sites, tuple(a[c] for a, _ in factors), tuple(b[:, c] for _, b in factors), bank.scaling)
        for c in cuts
    ]
