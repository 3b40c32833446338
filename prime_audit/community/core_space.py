"""Core Space merging (Panariello et al. 2025, NeurIPS): LoRAs merged in the basis that all of them span.

With the singular vectors U_B of [B₁ … B_k] and V_A of [A₁; …; A_k], every update is ΔW_i = U_B M_i V_Aᵀ exactly, with
the small matrix M_i = U_Bᵀ B_i A_i V_A. The M_i are merged instead of the ΔW_i, and U_B M V_Aᵀ has the rank of their
plain sum, so nothing is lost by writing it as a LoRA.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prime_audit.community.unite import Draws, Uniting

if TYPE_CHECKING:
    from torch import Tensor


def isotropic(cores: Tensor) -> Tensor:
    """Give all singular values of the mean of cores [k, p, q] their mean (Iso-C, Marczak et al. 2025)."""
    u, s, vh = _svd(cores.mean(0))
    made: Tensor = s.sum() / max(1, len(s)) * (u @ vh)
    return made


def decorrelated(cores: Tensor) -> Tensor:
    """Merge the first singular vectors of cores [k, p, q], orthogonal between sharers (TSV-M, Gargiulo et al. 2025).

    Each core keeps 1/k of its singular values, one at least. Their singular vectors, side by side, are replaced by the
    nearest orthonormal ones (Procrustes: U V of their SVD). The sum is divided by k, as in a mean.
    """
    import torch

    u, s, vh = torch.linalg.svd(cores, full_matrices=False)
    count = len(cores)
    kept = max(1, s.shape[1] // count)
    left = _orthonormal(u[:, :, :kept].permute(1, 0, 2).flatten(1))
    right = _orthonormal(vh[:, :kept].flatten(0, 1))
    made: Tensor = left @ (s[:, :kept].flatten()[:, None] * right) / count
    return made


def _orthonormal(vectors: Tensor) -> Tensor:
    """Return the nearest matrix with orthonormal rows or columns, of the same rank."""
    u, _, vh = _svd(vectors)
    return u @ vh


def _svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return U [m, r], S [r] and Vᵀ [r, n] of a matrix of rank r: without the directions of no singular value.

    Equal and padded adapters leave such directions; the vectors that an SVD gives for them are arbitrary.
    """
    import torch

    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    kept = s > s[0] * max(matrix.shape) * torch.finfo(torch.float32).eps
    return u[:, kept], s[kept], vh[kept]


VARIANTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda cores: cores.mean(0),
    "iso": isotropic,
    "tsv": decorrelated,
}
"""Cores [k, p, q] → their merge [p, q]."""


@dataclass(frozen=True)
class Core(Uniting):
    """Merging in Core Space."""

    variant: str
    """How the small matrices are merged, by name in ``VARIANTS``."""

    @property
    def widens(self) -> bool:
        """Whether the update has more than the adapters' own rank: that of their sum."""
        return True

    def unite(self, a: Tensor, b: Tensor, rank: int, draws: Draws) -> tuple[Tensor, Tensor]:
        """Merge the small matrices; the factors that return are M V_Aᵀ and U_B, with zeros up to the rank."""
        from torch.nn.functional import pad

        a, b = a.double(), b.double()
        u, v = _svd(b.permute(1, 0, 2).flatten(1))[0], _svd(a.flatten(0, 1))[2].T
        if not (u.shape[1] and v.shape[1]):  # no sharer changes this module
            return a.new_zeros(rank, a.shape[2]).float(), b.new_zeros(b.shape[1], rank).float()
        merged = VARIANTS[self.variant]((u.T @ b) @ (a @ v))
        more = rank - u.shape[1]
        return pad((merged @ v.T).float(), (0, 0, 0, more)), pad(u.float(), (0, more))
