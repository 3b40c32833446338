"""Seconds of the permutation test and ``stats``: ``pytest --benchmark-enable tests/benchmarks/test_audit_bench.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prime_audit.audit.mean_auc import TargetScores
from prime_audit.audit.permutation import permutation_test
from prime_audit.scores.report import describe_scores


@pytest.mark.benchmark(group="permutation test, 16 targets x 500 items of 20 sharers")
def test_permutation(benchmark: Any) -> None:
    """Within 2 s at the default number of draws."""
    rng = np.random.default_rng(0)
    owner = [f"s{i}" for i in range(20) for _ in range(25)]
    members = rng.random(500) < 0.5
    panels = [TargetScores(f"t{t}", rng.normal(size=500), owner, members) for t in range(16)]
    test = benchmark.pedantic(
        permutation_test, (panels,), {"unit": "item-within-sharer", "seed": 0}, rounds=3
    )
    assert 0 < test.p <= 1
    if not benchmark.disabled:
        assert benchmark.stats.stats.min < 2.0


@pytest.mark.benchmark(group="stats, 100,000 rows of 20,000 sharers")
def test_scores_of_many_people(benchmark: Any, tmp_path: Path) -> None:
    """Within 30 s; where nothing is measured, a hundredth of it."""
    rng, size = np.random.default_rng(0), 1_000 if benchmark.disabled else 100_000
    people, scores, sides = rng.integers(size // 5, size=size), rng.normal(size=size), rng.random(size)
    lines = [f"u{u},{s:.5f},{int(m < 0.5)}\n" for u, s, m in zip(people, scores, sides, strict=True)]
    (tmp_path / "s.csv").write_text("sharer,score,member\n" + "".join(lines))
    report = benchmark.pedantic(describe_scores, (tmp_path / "s.csv",), rounds=1)
    assert report.attacks[0].sharers == np.unique(people).size
    if not benchmark.disabled:
        assert benchmark.stats.stats.min < 30.0
