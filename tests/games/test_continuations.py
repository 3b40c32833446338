"""What SaMIA reads: sampled second halves, the same in any batch, from the base as from a target's model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prime_audit import Run, compare
from prime_audit.audit.signals import halves
from prime_audit.games.exam.observed import texts_in
from prime_audit.games.exam.queries import NEW_TOKENS, SAMPLES
from prime_audit.games.exam.stored import UNMERGED, read_exam


@pytest.fixture(scope="module")
def run(
    small_data: Callable[[str], Path], small: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> Run:
    words: dict[str, Any] = {"tasks": "LaMP-4", "data": str(small_data("LaMP-4")), "overrides": small}
    root = tmp_path_factory.mktemp("continued")
    return compare(
        "nearest", **words, attacks="samia,loss", games="heldout", out=root / "run", cache=None, quiet=True
    )


def test_a_text_is_cut_after_half_its_words() -> None:
    assert halves("a b  c\nd e") == ("a b", ["c", "d", "e"])
    assert halves("label") == ("", ["label"])
    assert halves(" ") == ("", [])


def test_every_item_has_its_samples_and_the_attack_its_controls(run: Run) -> None:
    exam = read_exam(run.path, "LaMP-4")
    pool, passes = exam.pools["sharers"], {p.method: p for p in exam.passes}
    base, own = passes[None], passes["nearest"]
    for seen in (base.seen[UNMERGED], *own.seen.values()):
        told = [texts_in(row) for row in seen.continuations]
        assert len(told) == len(pool)
        assert all(len(texts) == SAMPLES for texts in told)
    assert NEW_TOKENS == 32
    assert len({tuple(t) for t in told}) > 1
    found = {(r.attack, r.metric): r.value for r in run.record.results if r.game == "heldout"}
    assert found["samia", "auc"] is not None
    assert found["samia", "auc_base"] is not None
    costs = {c.stage: c.requests for c in run.record.costs}
    sampled = {stage: n for stage, n in costs.items() if stage.endswith("sampled")}
    assert sampled["signals (base), sampled"] == SAMPLES * len(pool)
    assert np.isclose(sum(sampled.values()), SAMPLES * len(pool) * (1 + len(own.seen)))
