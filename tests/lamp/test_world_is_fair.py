"""The built-in world is an instrument: where personalisation helps by construction, it must be seen to help."""

from __future__ import annotations

from pathlib import Path

import pytest

from prime_audit import compare


@pytest.mark.slow
@pytest.mark.parametrize(("task", "metric"), [("LaMP-2", "accuracy"), ("LaMP-4", "rouge-1")])
def test_a_model_of_ones_own_beats_none_on_the_defaults(task: str, metric: str, tmp_path: Path) -> None:
    run = compare("oppu", tasks=task, games="", out=tmp_path / "run", cache=None, quiet=True)
    (gain,) = [c for c in run.record.comparisons if (c.method, c.metric) == ("oppu", metric)]
    assert gain.ci is not None
    assert gain.ci[0] > 0
