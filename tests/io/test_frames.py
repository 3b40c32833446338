"""``load_run(dir).frame(name)``: the record's and the files' rows, typed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prime_audit import Run, load_run
from prime_audit.errors import UserError
from prime_audit.io.frames import NAMES

pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def run(
    small_data: Callable[[str], Path],
    small: tuple[str, ...],
    llama_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    from prime_audit import compare

    out = tmp_path_factory.mktemp("frames") / "run"
    words = {"data": str(small_data("LaMP-4")), "model": str(llama_folder), "overrides": list(small)}
    compare("prime,prime:granularity=layer,perpcs", tasks="LaMP-4", out=out, cache=None, quiet=True, **words)
    return load_run(out)


def test_results_are_the_records(run: Run) -> None:
    frame = run.frame("results")
    assert len(frame) == len(run.record.results)
    types = {
        "task": "string",
        "value": "float64",
        "ci_lo": "float64",
        "n": "Int64",
        "higher_is_better": "boolean",
    }
    assert {name: str(frame[name].dtype) for name in types} == types
    for row, result in zip(frame.itertuples(), run.record.results, strict=True):
        assert row.method == result.method
        assert (None if np.isnan(row.value) else row.value) == result.value
        assert (None if np.isnan(row.ci_lo) else (row.ci_lo, row.ci_hi)) == result.ci
        assert (None if pd.isna(row.reason) else row.reason) == result.reason


def test_every_table_has_typed_columns_and_its_rows(run: Run) -> None:
    known = {"string", "float64", "Int64", "boolean"}
    for name in NAMES:
        frame = run.frame(name)
        assert len(frame), name
        assert {str(t) for t in frame.dtypes} <= known, name
    assert len(run.frame("predictions")) == sum(1 for _ in run.predictions())
    scores = run.frame("scores")
    assert len(scores) == sum(1 for _ in run.scores())
    assert scores["member"].dtype == "boolean"
    assert scores.groupby("method")["score"].mean().notna().all()
    leaks = run.frame("leaks")
    assert {"tpr.0.1", "over_control_ci_lo", "epsilon"} <= set(leaks.columns)
    assert leaks["tpr.0.1"].dtype == "float64"
    assert run.frame("data")["users.targets"].tolist() == [3]
    assert set(run.frame("sharers")["user"]) == {s["user"] for s in run.record.community["LaMP-4"]["sharers"]}


def test_models_are_one_row_a_weight(run: Run) -> None:
    frame = run.frame("models")
    rows = [json.loads(line) for line in (run.path / "models.jsonl").read_text().splitlines()]
    for row in rows:
        own = frame[(frame.method == row["method"]) & (frame.target == row["target"])]
        if not row["adapters"]:
            assert own["weight"].isna().all()
            continue
        assert own["weight"].tolist() == np.ravel(row["weights"]).tolist()
        assert own["place"].isna().all() == (np.ndim(row["weights"]) == 1)


def test_an_unknown_name_and_no_pandas(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="did you mean results"):
        run.frame("result")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"pip install 'prime-audit\[pandas\]'"):
        run.frame("results")


def test_an_empty_table_has_its_columns(run: Run) -> None:
    from dataclasses import replace

    bare = Run(run.path, replace(run.record, leaks=(), community={}))
    assert list(bare.frame("leaks").columns)[:5] == ["task", "method", "game", "attack", "auc"]
    assert len(bare.frame("sharers")) == 0
    assert str(bare.frame("sharers")["index"].dtype) == "Int64"
