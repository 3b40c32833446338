"""``export-results``: every figure of a run or board in the schema of Every Eval Ever, by its own validator."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from prime_audit.record import Model
from tests.boards.commands import SEEDS, add
from tests.boards.invented import board_at, run_at, run_record

Say = Callable[..., Any]
PAPER = Path(__file__).parents[2] / "leaderboards" / "paper"


def logs(out: Path) -> dict[str, dict[str, Any]]:
    """Read what was exported, by method."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob("data/*/*/*/*.json")]
    assert len(found) == sum(path.is_file() for path in out.rglob("*"))
    return {log["model_info"]["additional_details"]["method"]: log for log in found}


def require_valid(out: Path) -> None:
    """Check all files by the package's schema, and by its validator: neither errors nor warnings."""
    package = resources.files(pytest.importorskip("every_eval_ever"))
    schema = json.loads((package / "schemas" / "eval.schema.json").read_text(encoding="utf-8"))
    for log in logs(out).values():
        jsonschema.Draft7Validator(schema).validate(log)
        assert log["schema_version"] == schema["version"]
    words = ("-m", "every_eval_ever", "validate", "--format", "json", f"{out}/data/*/*/*/*.json")
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads(done.stdout)) == len(logs(out))


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """File two seeds on a board."""
    home = tmp_path / "boards"
    board_at(home)
    for seed in SEEDS:
        assert add(home, run_at(tmp_path / f"run{seed}", run_record(seed))).exit_code == 0
    return home / "toy"


def by_id(log: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {r["evaluation_result_id"]: r for r in log["evaluation_results"]}


def test_every_figure_of_a_run_is_there_with_interval_n_and_verdict(say: Say, tmp_path: Path) -> None:
    record = run_record()
    results = [replace(r, se=0.025, freedom=3) if r.ci else r for r in record.results]
    record = replace(record, results=tuple(results))
    said = say(
        "export-results", run_at(tmp_path / "run", record), "--organization", "A lab", "--out", tmp_path / "o"
    )
    assert said.code == 0, said.err
    found = logs(tmp_path / "o")
    assert set(found) == set(record.methods)
    for r in record.results:
        log = found[r.method]
        key = "/".join(filter(None, (r.task, r.game, r.attack, r.metric)))
        if r.value is None:
            assert key not in by_id(log)
            assert json.loads(log["source_metadata"]["additional_details"]["not_applicable"])[key] == r.reason
            continue
        one = by_id(log)[key]
        score, limits = one["score_details"], one["score_details"]["uncertainty"]["confidence_interval"]
        assert (score["score"], (limits["lower"], limits["upper"])) == (r.value, r.ci)
        assert limits["confidence_level"] == 0.95
        assert score["uncertainty"]["num_samples"] == r.n
        assert score["uncertainty"]["standard_error"]["value"] == r.se
        assert one["metric_config"]["lower_is_better"] == (r.higher_is_better is not True)
    assert sum(len(by_id(log)) for log in found.values()) == sum(r.value is not None for r in record.results)
    for leak in record.leaks:
        details = by_id(found[leak.method])[f"{leak.task}/{leak.game}/{leak.attack}/auc"]["score_details"][
            "details"
        ]
        assert (details["verdict"], details["verdict_reason"]) == (leak.verdict, leak.why)
        assert json.loads(details["q"]) == leak.q
    source = found["prime"]["source_metadata"]
    assert (source["source_type"], source["source_organization_name"]) == ("evaluation_run", "A lab")
    accuracy = by_id(found["prime"])["LaMP-2/accuracy"]
    assert accuracy["source_data"]["additional_details"]["sha256"] == record.data[0].sha256
    settings = record.spec["settings"]["LaMP-2"]
    assert accuracy["generation_config"]["generation_args"]["max_tokens"] == settings["max_new"]


def test_the_communitys_validator_takes_runs_and_boards(say: Say, board: Path, tmp_path: Path) -> None:
    for source in (tmp_path / "run0", board):
        out = tmp_path / "out" / source.name
        assert say("export-results", source, "--format", "eee", "--out", out).code == 0
        require_valid(out)


def test_a_board_exports_what_its_table_has(say: Say, board: Path, tmp_path: Path) -> None:
    assert say("export-results", board, "--out", tmp_path / "out").code == 0
    found = logs(tmp_path / "out")
    with (board / "table.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        key = "/".join(filter(None, (row["task"], row["game"], row["attack"], row["metric"])))
        one = by_id(found.get(row["method"], {"evaluation_results": []})).get(key)
        if one is None:
            assert not row["value"]
            continue
        score = one["score_details"]
        limits = score["uncertainty"]["confidence_interval"]
        assert (score["score"], limits["lower"], limits["upper"]) == (
            float(row["value"]),
            float(row["lo"]),
            float(row["hi"]),
        )
        assert score["uncertainty"]["num_samples"] == int(row["n"]) * len(SEEDS)
        assert score["details"].get("verdict", "") == row["verdict"]
        assert score["details"].get("verdict_reason", "") == row["verdict_reason"]
    assert any(row["verdict"] for row in rows)
    assert {log["source_metadata"]["source_type"] for log in found.values()} == {"documentation"}


def test_a_second_export_has_the_same_names(say: Say, tmp_path: Path) -> None:
    run = run_at(tmp_path / "run", run_record())
    for out in ("one", "two"):
        assert say("export-results", run, "--out", tmp_path / out).code == 0
    one, two = (
        {p.relative_to(tmp_path / out) for p in (tmp_path / out).rglob("*.json")} for out in ("one", "two")
    )
    assert one == two


@pytest.mark.parametrize(
    "name", ["../../../up", "/home/ann/data/secret model", "data/x", "..", "org/name@main", "a\\b"]
)
def test_no_name_of_a_model_becomes_a_path(say: Say, tmp_path: Path, name: str) -> None:
    record = replace(run_record(), model=Model(name, "c" * 64, 1, "float32"))
    before = {*tmp_path.parent.iterdir()}
    assert say("export-results", run_at(tmp_path / "run", record), "--out", tmp_path / "out").code == 0
    assert {*tmp_path.parent.iterdir()} == before
    assert "/home/ann" not in json.dumps(logs(tmp_path / "out"))
    require_valid(tmp_path / "out")


def test_what_cannot_be_exported_is_one_line(say: Say, tmp_path: Path) -> None:
    run = run_at(tmp_path / "run", run_record())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for words, says in (
        ((PAPER, "--out", tmp_path / "out"), "no record has a figure"),
        ((run, "--out", tmp_path / "full"), "is not empty"),
        ((tmp_path / "none", "--out", tmp_path / "out"), "none"),
    ):
        said = say("export-results", *words)
        assert said.code == 2
        assert says in said.err
        assert len(said.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
