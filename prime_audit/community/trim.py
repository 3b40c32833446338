"""Trimming sharers' task vectors and uniting them by elected signs: TIES (Yadav et al. 2023), DARE (Yu et al. 2024).

A LoRA's task vector is its update ΔW = BA, or each of its factors A and B, as in PEFT's ``ties`` and ``dare_*``. Each
sharer's A starts at random numbers of its own, so an entry of A has no common meaning: comparing entries, by size or
between sharers, is sound only on ΔW. A trimmed ΔW has full rank, though, and truncated SVD takes it back to low rank,
as in PEFT's ``*_svd``. That partly undoes DARE, the more the wider the matrix: at density 0.2, dropping changes a
random update of rank 8 by twice its norm, but after SVD to rank 8 only by 0.42 of it (width 512) or 0.20 (2048). DARE
of the factors needs no SVD and preserves rank and mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prime_audit.community.unite import Draws, Uniting
from prime_audit.engine.rules import RULES

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Trim(Uniting):
    """How each sharer's task vector is trimmed before vectors are united by elected signs.

    ``how``: ``ties`` keeps the largest entries; ``dare`` keeps random ones, scaled up so that the mean stays. A sharer
    alone elects their own signs: a set of one gives that sharer's adapter, trimmed.
    """

    density: float
    """Share of entries to keep in each matrix, in (0, 1]."""
    space: str
    """Which vectors, by name in ``SPACES``."""

    @property
    def widens(self) -> bool:
        """Whether the update has more than the adapters' own rank."""
        return SPACES[self.space].widens

    def unite(self, a: Tensor, b: Tensor, rank: int, draws: Draws) -> tuple[Tensor, Tensor]:
        """Trim each sharer's vectors and elect; random drops depend on the sharer, not on the rest of the set."""
        space, trim = SPACES[self.space], WAYS[self.how].trim
        vectors = space.split(a, b)
        return space.join(
            {name: elect(trim(own, self.density, draws(name))) for name, own in vectors.items()}, rank
        )


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
