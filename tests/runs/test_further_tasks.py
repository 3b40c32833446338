"""Whole runs on the tasks that the built-in world does not simulate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prime_audit import compare


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def item(user: int, n: int) -> dict[str, object]:
        return {
            "overall": n % 5 + 1,
            "description": f"Lamp {user}/{n}",
            "summary": "Good",
            "reviewText": f"Yes {n}",
        }

    rows = [
        {
            "reviewerId": f"A{user}",
            "input": 'Generate the review text written by a reviewer who has given an overall rating of "4.0" for a '
            f'product with description "Oil {user}". The summary of the review text is "Fine".',
            "output": f"It burns {user}",
            "profile": [item(user, n) for n in range(8)],
        }
        for user in range(12)
    ]
    folder = tmp_path / "product_review_user"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "test-00000-of-00001.parquet")
    return folder


def test_product_reviews_run(
    small: tuple[str, ...], llama_folder: Path, reviews: Path, tmp_path: Path, say: Callable[..., object]
) -> None:
    sets = [*small, "targets=3", "LongLaMP-review.max_new=6"]
    run = compare(
        "rag,pag,prime", data=str(reviews), model=str(llama_folder), overrides=sets, games="paper",
        out=tmp_path / "run", cache=None, quiet=True,
    )  # fmt: skip
    assert [(d.task, d.layout, d.defects) for d in run.record.data] == [("LongLaMP-review", "longlamp", 0)]
    assert {r.metric for r in run.record.results if r.game is None} == {"rouge-1", "rouge-L"}
    assert not run.record.failures
