"""Random adapters of the same size as sharers' adapters: what merging gives when the adapters hold nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prime_audit.community.unite import Draws, Uniting

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Noise(Uniting):
    """A sharer's adapter replaced by a random one; united are sets of one sharer."""

    how: str = "random"

    @property
    def widens(self) -> bool:
        """Whether the update has more than the adapter's own rank."""
        return False

    def unite(self, a: Tensor, b: Tensor, rank: int, draws: Draws) -> tuple[Tensor, Tensor]:
        """Draw Gaussian factors with the Frobenius norms of A and of ΔW = BA, in each module.

        ΔW is what changes the model. Random factors with the norms of A *and B* would give a smaller one: a trained
        B is aligned with its A. The norm of A decides how ΔW is split into factors, for rules that sum these.
        """
        random_a, random_b = (_drawn(one, draws(name)) for one, name in ((a, " A"), (b, " B")))
        random_a = random_a * _ratio(a, random_a)
        return random_a[0], (random_b * _ratio(b @ a, random_b @ random_a))[0]


def _drawn(like: Tensor, rngs: list[np.random.Generator]) -> Tensor:
    import torch

    drawn = [rng.standard_normal(tuple(like.shape[1:]), dtype="float32") for rng in rngs]
    return torch.stack([like.new_tensor(one) for one in drawn])


def _ratio(one: Tensor, other: Tensor) -> Tensor:
    """Norm of each matrix [k, …] by the other's: [k, 1, 1]; a Gaussian matrix's is above 0 unless both are."""
    own, others = one.norm(dim=(1, 2), keepdim=True), other.norm(dim=(1, 2), keepdim=True)
    ratio: Tensor = own / others.clamp(min=1e-30)
    return ratio
