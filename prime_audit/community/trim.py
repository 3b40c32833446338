"""Trimming sharers' task vectors and uniting them by elected signs: TIES (Yadav et al. 2023), DARE (Yu et al. 2024).

A LoRA's task vector is its update ΔW = BA, or each of its factors A and B, as in PEFT's ``ties`` and ``dare_*``. Each
sharer's A starts at random numbers of its own, so an entry of A has no common meaning: comparing entries, by size or
between sharers, is sound only on ΔW. A trimmed ΔW has full rank, though, and truncated SVD takes it back to low rank,
as in PEFT's ``*_svd``. That partly undoes DARE, the more the wider the matrix: at density 0.2, dropping changes a
random update of rank 8 by twice its norm, but after SVD to rank 8 only by 0.42 of it (width 512) or 0.20 (2048). DARE
of the factors needs no SVD and preserves rank and mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from prime_audit.cache.numeric import code_sha256
from prime_audit.community.sharers import bank_name
from prime_audit.community.store import content_key
from prime_audit.engine.lora import Adapter
from prime_audit.engine.rules import RULES
from prime_audit.seeds import rng_of

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from prime_audit.community.build import Community
    from prime_audit.community.training import Stage


@dataclass(frozen=True)
class Trim:
    """How each sharer's task vector is trimmed before vectors are united."""

    how: str
    """``ties`` keeps the largest entries; ``dare`` keeps random ones, scaled up so that the mean stays."""
    density: float
    """Share of entries to keep in each matrix, in (0, 1]."""
    space: str
    """Which vectors, by name in ``SPACES``."""


# -- on plain tensors ----------------------------------------------------------------------------------------


def largest(vectors: Tensor, density: float) -> Tensor:
    """Keep the ⌊density·n⌋ largest of each vector's n entries, one at least, the others 0: [k, …], the same shape."""
    sizes = vectors.flatten(1).abs()
    kept = max(1, int(density * sizes.shape[1]))
    least = sizes.kthvalue(sizes.shape[1] - kept + 1, dim=1).values
    # By a threshold: a sort does not promise which of equal entries it would keep.
    return vectors * (sizes >= least[:, None]).view_as(vectors)


def drop(vector: Tensor, density: float, rng: np.random.Generator) -> Tensor:
    """Keep each entry with probability ``density``, divided by it, the others 0."""
    kept = rng.random(tuple(vector.shape), dtype="float32") < density
    return vector * vector.new_tensor(kept) / density


def dropped(vectors: Tensor, density: float, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Drop entries of vectors [k, …], each with random numbers of its own."""
    import torch

    return torch.stack([drop(v, density, rng) for v, rng in zip(vectors, rngs, strict=True)])


def elect(vectors: Tensor) -> Tensor:
    """Average, entry by entry, those of the vectors [k, …] that have the sign of their sum (+ where that is 0)."""
    agreeing = vectors.sign() == 2 * (vectors.sum(0) >= 0) - 1
    return (vectors * agreeing).sum(0) / agreeing.sum(0).clamp(min=1)


# -- ways and spaces -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """One way to trim."""

    density: float
    """Default share of entries that remain."""
    space: str
    """Where one sharer is trimmed alone, which vectors, by name in ``SPACES``; empty: what the merge rule sums."""
    trim: Callable[[Tensor, float, Sequence[np.random.Generator]], Tensor]
    """Vectors [k, …], the density and each one's random numbers → the vectors trimmed."""


WAYS = {
    "ties": Way(0.2, "", lambda vectors, density, _: largest(vectors, density)),
    "dare": Way(0.5, "factor", dropped),
}
"""``ties``: 20 % remain, as in the paper; ``dare``: half, which leaves a quarter of the products b·a in ΔW (its authors
drop 20 to 90 % of ΔW)."""
SPACES = {rule.space.name: rule.space for rule in RULES.values()}


# -- in the bank ---------------------------------------------------------------------------------------------


def united(
    community: Community, stage: Stage, sets: Iterable[Iterable[str]], trim: Trim, rank: int = 0
) -> dict[frozenset[str], tuple[str, ...]]:
    """Trim sharers' adapters and unite each set of them by elected signs; a known set is not united again.

    A sharer alone elects their own signs: a set of one gives that sharer's adapter, trimmed. The community has to be
    ready (``Community.ready``); ``stage`` shows progress (``scene.stage`` in a method); ``sets`` hold sharers' ids.
    ``rank`` is left in ``delta`` space, rounded up to a multiple of the adapters'; 0: that of the set's plain sum.

    Returns set → its adapters in the bank, whose sum is what was united: one, or as many as the rank takes.
    """
    bank = community.engine.bank
    found: dict[frozenset[str], tuple[str, ...]] = {}
    made: dict[str, Adapter] = {}
    of: dict[str, list[str]] = {}
    for one in map(frozenset, sets):
        parts = (math.ceil(rank / bank.rank) or len(one)) if SPACES[trim.space].widens else 1
        key = content_key({**asdict(trim), "sharers": sorted(one), "parts": parts})
        found[one] = tuple(f"{trim.how}:{key[:16]}:{n}" for n in range(parts))
    missing = {one: names for one, names in found.items() if names[0] not in bank.names}
    with stage("unite", len(missing)) as tick:
        for one, names in missing.items():
            for name, adapter in _cached(community, sorted(one), trim, names).items():
                made[name], of[name] = adapter, [bank_name(s) for s in sorted(one)]
            tick(1)
    bank.add(made, of)
    return found


def _cached(
    community: Community, sharers: Sequence[str], trim: Trim, names: Sequence[str]
) -> dict[str, Adapter]:
    """Unite a set of sharers, or read what an earlier run united."""
    bank = community.engine.bank
    what = {
        **asdict(trim),
        "of": [(s, bank.hashes[bank_name(s)]) for s in sharers],
        "seed": [community.seed, community.task.name],
        "code": code_sha256("trim"),
    }

    def make() -> dict[str, Adapter]:
        return dict(zip(names, _unite(community, sharers, trim, len(names)), strict=True))

    made = community.keep("unite", what, names, make)
    # On the disk the scaling is alpha / rank, which may differ in the last bit.
    return {name: replace(adapter, scaling=bank.scaling) for name, adapter in made.items()}


def _unite(community: Community, sharers: Sequence[str], trim: Trim, parts: int) -> list[Adapter]:
    base, bank, space = community.engine.base, community.engine.bank, SPACES[trim.space]
    factors: list[tuple[Tensor, Tensor]] = []
    for number, site in enumerate(base.sites):
        a, b = (f.float() for f in bank.factors(number, [bank_name(s) for s in sharers]))
        found = {
            name: elect(_trimmed(community, vectors, sharers, trim, f"{site.name}{name}"))
            for name, vectors in space.split(a, b).items()
        }
        a, b = space.join(found, parts * bank.rank)
        factors.append((a.to(base.dtype), b.to(base.dtype)))
    sites = tuple(site.name for site in base.sites)
    cuts = [slice(n * bank.rank, (n + 1) * bank.rank) for n in range(parts)]
    return [
        Adapter(sites, tuple(a[c] for a, _ in factors), tuple(b[:, c] for _, b in factors), bank.scaling)
        for c in cuts
    ]


def _trimmed(
    community: Community, vectors: Tensor, sharers: Sequence[str], trim: Trim, matrix: str
) -> Tensor:
    """Trim one matrix of each sharer [k, …]; random drops depend on the sharer, not on the rest of the set."""
    rngs = [rng_of(community.seed, trim.how, community.task.name, s, matrix) for s in sharers]
    return WAYS[trim.how].trim(vectors, trim.density, rngs)
