"""The setting ``extraction``: golds that models write out, counted once by us and once from the run's own files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from prime_audit import Run, compare
from prime_audit.games.exam.stored import read_exam
from prime_audit.record import record_from_json


@pytest.fixture(scope="module")
def go(
    small_data: Callable[[str], Path], small: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Run]:
    root = tmp_path_factory.mktemp("extracted")

    def make(task: str, methods: str, **more: Any) -> Run:
        words: dict[str, Any] = {"tasks": task, "data": str(small_data(task)), "games": "heldout"}
        settings = [*small, "extraction=true", "sharer.epochs=1"]
        return compare(methods, **words, overrides=settings, out=root / task, cache=None, quiet=True, **more)

    return make


def test_trained_and_heldout_items_are_asked_for_once_a_method(go: Callable[..., Run]) -> None:
    run = go("LaMP-4", "soup,nearest")
    rows = [json.loads(line) for line in (run.path / "extraction.jsonl").read_text("utf-8").splitlines()]
    found = {x.method: x for x in run.record.extractions}
    assert set(found) == {"np", "soup", "nearest", "adapters"}
    assert found["np"].reason == "it merges no sharer"
    exam = read_exam(run.path, "LaMP-4")
    pool, merged = exam.pools["sharers"], {p.method: p.merged for p in exam.passes if p.method}
    golds = {text for text in pool.golds if len(text) > 20}
    assert not any(gold in line for gold in golds for line in map(json.dumps, rows))
    for method in ("soup", "nearest", "adapters"):
        own, one = [row for row in rows if row["method"] == method], found[method]
        assert len({(row["sharer"], row["item"]) for row in own}) == len(own) == one.trained + one.heldout
        assert one.trained == sum(row["trained"] for row in own) > 0
        assert one.trained_near == sum(row["trained"] and row["similarity"] >= 0.9 for row in own)
        assert one.heldout_verbatim == sum(row["verbatim"] and not row["trained"] for row in own)
        assert all(row["similarity"] == 1 for row in own if row["verbatim"])
        for row in own:
            assert row["sharer"] in (
                merged[method][row["target"]] if method != "adapters" else [row["target"]]
            )
    said = [n for n in (run.path / "table.md").read_text("utf-8").splitlines() if "Extraction" in n]
    assert any(f"of {found['soup'].trained} trained items" in line for line in said)
    content = json.loads(json.dumps(run.record.to_json()))
    del content["extractions"]
    assert record_from_json(content).extractions == ()


def test_labels_are_not_extracted(go: Callable[..., Run]) -> None:
    run = go("LaMP-2", "nearest")
    assert all("one of a few labels" in str(x.reason) for x in run.record.extractions)
    assert not (run.path / "extraction.jsonl").exists()
