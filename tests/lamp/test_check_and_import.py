from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prime_audit.errors import UserError
from prime_audit.lamp.check import check
from prime_audit.lamp.importer import import_items
from prime_audit.lamp.readers import read
from prime_audit.lamp.scoring import score_files


@pytest.mark.parametrize("task", ["LaMP-2", "LaMP-3", "LaMP-4", "LaMP-5", "LaMP-7"])
def test_an_import_reads_back_as_the_same_data(layouts, tmp_path: Path, task: str) -> None:
    path = layouts.write_rows(tmp_path / "a.jsonl", layouts.rows(task, users=12, items=9))
    data = import_items(path, task, tmp_path / "out" / "mine", seed=3)
    again = read(tmp_path / "out" / "mine", seed=99)
    assert (again.layout, again.defects) == ("perpcs", ())
    assert (again.sha256, again.split_sha256) == (data.sha256, data.split_sha256)
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["mine"]


def test_an_import_overwrites_nothing(layouts, tmp_path: Path) -> None:
    path = layouts.write_rows(tmp_path / "a.jsonl", layouts.rows("LaMP-4"))
    with pytest.raises(UserError, match="exists and is not empty: pass a new folder"):
        import_items(path, "LaMP-4", tmp_path)
    with pytest.raises(UserError, match="exists and is not empty"):
        import_items(path, "LaMP-4", path)
    (tmp_path / "empty").mkdir()
    import_items(path, "LaMP-4", tmp_path / "empty")
    with pytest.raises(UserError, match="is already in the perpcs layout"):
        import_items(tmp_path / "empty", None, tmp_path / "other")


def test_an_import_that_fails_leaves_nothing(
    layouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = layouts.write_rows(tmp_path / "a.jsonl", layouts.rows("LaMP-4"))
    monkeypatch.setattr("prime_audit.lamp.importer.write_files", fail)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        import_items(path, "LaMP-4", tmp_path / "out" / "mine")
    assert list((tmp_path / "out").iterdir()) == []


def test_check(layouts, tmp_path: Path) -> None:
    rows = layouts.rows("LaMP-3", users=8, items=6)
    rows[8]["input"] = rows[0]["input"]  # u0's own, exactly
    rows[9]["input"] = f"  {rows[0]['input'].upper()}!"  # u1's, of u0's words
    rows.append({"user": "u0", "input": " ", "output": "3"})
    report = check(layouts.write_rows(tmp_path / "a.LaMP-3.jsonl", rows))
    assert (report.task, report.layout, report.searchable, report.short_histories) == (
        "LaMP-3",
        "items",
        True,
        0,
    )
    assert [(role.role, role.users, role.items, role.queries) for role in report.roles] == [
        ("adapt", 2, 10, 2),
        ("targets", 3, 15, 3),
        ("candidates", 3, 18, 0),
    ]
    assert (report.duplicates.exact, report.duplicates.near) == (1, 2)
    assert 1 <= report.duplicates.across_users <= 2  # by who is read first
    assert report.labels == {"1": 0, "2": 0, "3": 0, "4": 48, "5": 0}
    assert report.rows()[1] == ("targets", "3", "15", "3", "5 / 5 / 5 / 5", "4 / 4 / 4 / 4", "1 / 1 / 1 / 1")
    assert len(report.headers()) == len(report.rows()[0])
    content = json.loads(report.to_json())
    assert content["defects"] == [
        {"file": "a.LaMP-3.jsonl", "record": "line 49", "problem": "input is empty", "action": "skipped"}
    ]


def test_check_counts_questions_that_stand_in_other_histories(layouts, tmp_path: Path) -> None:
    files = layouts.perpcs("LaMP-4")
    assert check(layouts.write(tmp_path / "one", files)).shared_questions == 0
    files["user_anchor_candidate.json"][0]["profile"][0]["text"] = "TEXT of t0-q1."
    files["user_anchor_candidate.json"][1]["profile"][0]["text"] = "text of t0-q1"
    files["user_base_LLM.json"][1]["profile"][0]["text"] = "text of t1-q0"
    report = check(layouts.write(tmp_path / "two", files))
    assert report.shared_questions == 2
    assert json.loads(report.to_json())["shared_questions"] == 2


def test_check_of_official_citation_data(layouts, tmp_path: Path) -> None:
    files = layouts.official("LaMP-1")
    for record in files["dev_questions.json"]:
        for item in record["profile"]:
            del item["citation"]
    report = check(layouts.write(tmp_path, files))
    assert not report.searchable
    assert report.rows()[0][-1] == "–"
    assert report.labels == {"[1]": 8, "[2]": 0}


def outputs(path: Path, task: str | None, *pairs: tuple[str, object]) -> Path:
    content = {"task": task, "golds": [{"id": key, "output": output} for key, output in pairs]}
    path.write_text(json.dumps(content))
    return path


def test_files_in_the_official_format_are_scored_by_id(tmp_path: Path) -> None:
    golds = outputs(tmp_path / "golds.json", "LaMP_3", ("a", "1"), ("b", "4"))
    preds = outputs(tmp_path / "preds.json", "product_rating", ("b", 4), ("a", ""))
    assert score_files("LaMP-3", golds, preds).metrics == {"MAE": 2.0, "RMSE": pytest.approx(8**0.5)}
    assert score_files(None, golds, preds).metrics["MAE"] == 2.0


@pytest.mark.parametrize(
    ("task", "pairs", "expected"),
    [
        ("LaMP_3", [("a", "1")], "the ids do not match: 1 missing (first: b)"),
        ("LaMP_3", [("a", "1"), ("b", "1"), ("c", "1")], "1 too many (first: c)"),
        ("LaMP_3", [("a", "1"), ("a", "1")], "preds.json: a: its id occurs twice: correct the record"),
        ("LaMP_3", [("a", "1"), ("b", None)], "preds.json: b: output is null, not text: correct the record"),
        ("LaMP_4", [("a", "1"), ("b", "1")], "is of LaMP-4, not LaMP-3"),
    ],
)
def test_files_that_cannot_be_scored(tmp_path: Path, task: str, pairs, expected: str) -> None:
    golds = outputs(tmp_path / "golds.json", "LaMP_3", ("a", "1"), ("b", "4"))
    preds = outputs(tmp_path / "preds.json", task, *pairs)
    with pytest.raises(UserError) as caught:
        score_files("LaMP-3", golds, preds)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_score_needs_a_task(tmp_path: Path) -> None:
    golds = outputs(tmp_path / "golds.json", None, ("a", "1"))
    with pytest.raises(UserError, match="no task in the file: pass --task"):
        score_files(None, golds, golds)


def test_check_splits_by_the_settings_of_the_datas_task(tmp_path: Path, say: Callable[..., Any]) -> None:
    rows = [
        {
            "user": f"u{person}",
            "id": f"{person}-{n}",
            "input": f"story {n}",
            "output": f"title {n}",
            "time": n,
        }
        for person in range(40)
        for n in range(6)
    ]
    items = tmp_path / "items.LaMP-4.jsonl"
    items.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    for task in ((), ("--task", "LaMP-4"), ("--task", "lamp4")):
        sets = ("--set", "LaMP-4.targets=5", "--set", "temperature=0.5")
        said = say("data", "check", items, *task, *sets, "--preset", "laptop", "--json")
        assert said.code == 0, said.err
        (targets,) = (r["users"] for r in json.loads(said.out)["roles"] if r["role"] == "targets")
        assert targets == 5
        assert said.err.startswith("note: temperature=0.5 has no effect")
