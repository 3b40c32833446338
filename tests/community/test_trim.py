"""The arithmetic of TIES and DARE, entry by entry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from prime_audit.community.trim import drop, elect, largest
from prime_audit.engine.rules import low_rank

NUMBERS = st.floats(-8, 8, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)
STACKS = arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=6), elements=NUMBERS)


@given(STACKS, st.floats(0.01, 1))
def test_the_largest_entries_are_kept_as_they_are(stack: np.ndarray, density: float) -> None:
    kept = largest(torch.tensor(stack), density).numpy()
    for before, after in zip(stack, kept, strict=True):
        wanted = max(1, int(density * before.size))
        edge = np.sort(np.abs(before), axis=None)[-wanted]
        np.testing.assert_array_equal(after, np.where(np.abs(before) >= edge, before, 0))


@given(STACKS)
def test_signs_are_elected_by_the_sum_and_those_who_agree_are_averaged(stack: np.ndarray) -> None:
    merged = elect(torch.tensor(stack).double()).numpy()
    for place in np.ndindex(stack.shape[1:]):
        column = stack[(slice(None), *place)].astype(np.float64)
        with_sign = column[column > 0] if column.sum() >= 0 else column[column < 0]
        assert merged[place] == pytest.approx(with_sign.mean() if with_sign.size else 0.0, abs=1e-12)


@given(
    arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=NUMBERS), st.integers(1, 9)
)
def test_low_rank_is_the_truncated_svd(matrix: np.ndarray, rank: int) -> None:
    a, b = low_rank(torch.tensor(matrix), rank)
    assert (a.shape, b.shape) == ((rank, matrix.shape[1]), (matrix.shape[0], rank))
    values = np.linalg.svd(matrix, compute_uv=False)
    # Eckart and Young: nothing of this rank comes nearer (where singular values are equal, several come as near).
    error = np.linalg.norm(matrix - (b @ a).numpy())
    assert error == pytest.approx(np.sqrt((values[rank:] ** 2).sum()), abs=1e-6)


def test_dropping_keeps_the_mean_and_scales_what_is_left() -> None:
    vector = torch.linspace(-2, 3, 60).reshape(6, 10) + 0.01
    drawn = torch.stack([drop(vector, 0.3, np.random.default_rng(seed)) for seed in range(4000)])
    kept = drawn != 0
    torch.testing.assert_close(drawn[kept], (vector / 0.3).expand_as(drawn)[kept])
    assert kept.float().mean().item() == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / kept.numel()))
    error = vector.abs() * np.sqrt((1 / 0.3 - 1) / 4000)  # standard error of each entry's mean
    assert ((drawn.mean(0) - vector).abs() < 5 * error).all()
    assert torch.equal(drop(vector, 1.0, np.random.default_rng(0)), vector)
