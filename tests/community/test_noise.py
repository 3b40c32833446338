"""The control of random adapters: what it takes of the sharers' adapters."""

from __future__ import annotations

import numpy as np
import torch

from prime_audit.community.noise import Noise


def test_nothing_but_norms_is_taken() -> None:
    """Two communities whose adapters share their norms and nothing else have the same random adapters."""
    rng = np.random.default_rng(0)

    def drawn(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        def draws(matrix: str) -> list[np.random.Generator]:
            return [np.random.default_rng(len(matrix) * 10)]

        return Noise().unite(a, b, 4, draws)

    a, b = (torch.from_numpy(rng.normal(size=shape)) for shape in ((1, 4, 12), (1, 10, 4)))
    left, right = (torch.linalg.qr(torch.from_numpy(rng.normal(size=(n, n))))[0] for n in (10, 12))
    one, other = drawn(a, b), drawn(a @ right, left @ b)  # rotations keep the norms of A and of BA
    assert not torch.allclose(b @ a, left @ b @ a @ right)
    for mine, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close((one[1] @ one[0]).norm(), (b @ a).norm())
    torch.testing.assert_close(one[0].norm(), a.norm())
