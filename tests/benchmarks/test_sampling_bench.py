"""What sampling non-members costs in precision: ``pytest --benchmark-enable tests/benchmarks/test_sampling_bench.py``.

Simulated scores that carry nothing, 3 merged of 40 sharers of 40 items each: the share of non-member rows scored, and
the mean width of the interval over sharers and targets against that with all rows. Without ``--benchmark-enable`` a
few small games run once, as a smoke test.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prime_audit.calibration.trials import trials
from tests.games.sampling import Sampling, sampling

SIZES = (0, 20, 10, 5, 3)
REPETITIONS, TARGETS = 60, 20


@pytest.mark.benchmark(group="widths of intervals by items drawn of each other sharer")
@pytest.mark.parametrize("correlation", [0.1, 0.5])
def test_widths(benchmark: Any, capsys: pytest.CaptureFixture[str], correlation: float) -> None:
    repetitions, targets = (2, 3) if benchmark.disabled else (REPETITIONS, TARGETS)

    def measure() -> list[dict[int, Sampling]]:
        return [
            sampling(SIZES, rng, correlation=correlation, targets=targets) for rng in trials(repetitions, 0)
        ]

    found = benchmark.pedantic(measure, rounds=1)
    rows = {each: np.mean([one[each].others for one in found]) for each in SIZES}
    widths = {each: np.mean([one[each].width for one in found]) for each in SIZES}
    with capsys.disabled():
        print(f"\n{repetitions} games of {targets} targets, correlation {correlation}")
        print("items of each  non-member rows  mean width  to all rows'")
        for each in SIZES:
            share, ratio = rows[each] / rows[0], widths[each] / widths[0]
            print(f"{each or 'all':>13}  {share:>15.1%}  {widths[each]:>10.4f}  {ratio:>12.3f}")
    assert [rows[each] / rows[0] for each in SIZES] == [1, 0.5, 0.25, 0.125, 0.075]
