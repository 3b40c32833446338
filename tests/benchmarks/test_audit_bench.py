"""Seconds of the permutation test: ``pytest --benchmark-enable tests/benchmarks/test_audit_bench.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prime_audit.audit.mean_auc import TargetScores
from prime_audit.audit.permutation import permutation_test


@pytest.mark.benchmark(group="permutation test, 16 targets x 500 items of 20 sharers")
def test_permutation(benchmark: Any) -> None:
    """Within 2 s at the default number of draws."""
    rng = np.random.default_rng(0)
    owner = [f"s{i}" for i in range(20) for _ in range(25)]
    panels = [TargetScores(f"t{t}", rng.normal(size=500), owner, rng.random(500) < 0.5) for t in range(16)]
    test = benchmark.pedantic(
        permutation_test, (panels,), {"unit": "item-within-sharer", "seed": 0}, rounds=3
    )
    assert 0 < test.p <= 1
    if not benchmark.disabled:
        assert benchmark.stats.stats.min < 2.0
