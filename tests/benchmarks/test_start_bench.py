"""How long a command takes to start: ``pytest --benchmark-enable tests/benchmarks/test_start_bench.py``."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest


@pytest.mark.benchmark(group="a fresh process")
@pytest.mark.parametrize("words", [("-c", "pass"), ("-m", "prime_audit", "--help")], ids=["python", "--help"])
def test_help(benchmark: Any, words: tuple[str, ...]) -> None:
    """``--help`` within 0.3 s on an idle machine, Python's own start included."""

    def start() -> None:
        subprocess.run([sys.executable, *words], capture_output=True, check=True)

    benchmark.pedantic(start, rounds=10, warmup_rounds=1)
    if not benchmark.disabled and "--help" in words:
        assert benchmark.stats.stats.min < 0.3
