"""Whatever is wrong with a data set: one line, exit code 2, nothing left behind; records are reported and counted."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prime_audit import load_run

from .helpers import ADAPT, CANDIDATES, TARGETS, Make, Say, cut_off, edit, official, one_line, overwrite

# -- whole files -------------------------------------------------------------------------------------------

WHOLE: dict[str, tuple[Make, tuple[str, ...]]] = {
    "missing file": (lambda f: (f / CANDIDATES).unlink(), (CANDIDATES, "missing: add the missing files")),
    "truncated JSON": (
        cut_off(CANDIDATES),
        (CANDIDATES, "line ", "damaged or truncated JSON", "fetch or export"),
    ),
    "broken JSON": (overwrite(ADAPT, b'[{"user_id": }]'), (ADAPT, "line 1", "damaged or truncated JSON")),
    "empty file": (overwrite(ADAPT, b""), (ADAPT, "damaged or truncated JSON")),
    "wrong encoding": (
        overwrite(TARGETS, '[{"user_id": "zoë"}]'.encode("latin-1")),
        ("user_test_100.json: line 1", "not UTF-8 text", "convert it to UTF-8"),
    ),
    "another type": (overwrite(ADAPT, b"{}"), (ADAPT, "contains an object, not a list of records")),
    "no candidates": (
        edit(CANDIDATES, lambda users: []),
        ("no candidate for sharing is left", "add more users"),
    ),
    "no targets": (edit(TARGETS, lambda users: []), ("ids do not match", "use files of the same split")),
    "outputs of other questions": (
        edit("test_100/user_test_100_label.json", lambda c: c["golds"][0].update(id="x")),
        ("user_test_100_label.json", "the ids do not match: 1 missing", "1 too many (first: x)"),
    ),
    "outputs of another task": (
        edit("test_100/user_test_100_label.json", lambda c: c.update(task="LaMP_4")),
        ("user_test_100_label.json", "contains LaMP-4, not LaMP-2"),
    ),
    "all targets without history": (
        edit(TARGETS, lambda users: [u.update(profile=[]) for u in users] and None),
        ("no target is left (first of 3 defects", "user u002: no history"),
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_fault_of_a_whole_file(attempt: Say, say: Say, folder: Path, tmp_path: Path, name: str) -> None:
    spoil, parts = WHOLE[name]
    spoil(folder)
    one_line(attempt("--data", folder, "--tasks", "LaMP-2"), *parts)
    assert not (tmp_path / "runs").exists()
    one_line(say("data", "check", folder, "--task", "LaMP-2"), *parts)


def table(text: str) -> bytes:
    return text.encode()


ITEMS = "\n".join(
    json.dumps({"user": f"u{u}", "input": f"text {u} {i}", "output": "a title"})
    for u in range(9)
    for i in range(6)
)
TABLES: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "truncated JSONL": (
        "x.jsonl",
        table(ITEMS)[:-5],
        ("x.jsonl: line 54: damaged or truncated JSON", "fix line 54"),
    ),
    "truncated gzip": ("x.jsonl.gz", gzip.compress(table(ITEMS))[:-9], ("damaged or truncated gzip file",)),
    "no gzip at all": ("x.csv.gz", b"user,input,output\n", ("damaged or truncated gzip file",)),
    "truncated CSV": ("x.csv", b'user,input,output\nu,"half', ("x.csv: line 2: damaged or truncated CSV",)),
    "CSV without its columns": (
        "x.csv",
        b"user,text,output\n",
        ("no column input", "pass --columns input=text"),
    ),
    "broken Parquet": ("x.parquet", b"PAR1 and then nothing", ("damaged or truncated Parquet",)),
    "wrong encoding": (
        "x.csv",
        "user,input,output\nu,é,e\n".encode("utf-16"),
        ("is UTF-16 text", "save it as UTF-8"),
    ),
    "too few users": (
        "x.jsonl",
        table("\n".join(ITEMS.splitlines()[:6])),
        ("no target can be drawn", "add more"),
    ),
    "an unknown layout": ("x.txt", b"hello", ("x.txt: no layout is known by this name", "*.jsonl")),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_fault_of_a_table(attempt: Say, say: Say, tmp_path: Path, name: str) -> None:
    file, content, parts = TABLES[name]
    (tmp_path / file).write_bytes(content)
    one_line(attempt("--data", tmp_path / file, "--tasks", "LaMP-4"), *parts)
    assert not (tmp_path / "runs").exists()
    said = say("data", "import", tmp_path / file, "--task", "LaMP-4", "--out", tmp_path / "news_headline")
    one_line(said, *parts)
    assert [p.name for p in tmp_path.iterdir()] == [file]


# -- some records: reported by id and counted, an error under --strict --------------------------------------


def first(users: Any) -> Any:
    return users[0]


RECORDS: dict[str, tuple[str, Callable[[Any], Any], tuple[str, ...]]] = {
    "missing field": (
        CANDIDATES,
        lambda u: first(u)["profile"][1].pop("tag"),
        ("u005, item u005-001", "no tag"),
    ),
    "empty text": (
        CANDIDATES,
        lambda u: first(u)["profile"][1].update(description=" "),
        ("u005, item u005-001", "description is empty"),
    ),
    "gold outside the labels": (
        CANDIDATES,
        lambda u: first(u)["profile"][2].update(tag="western"),
        ("u005, item u005-002", "western"),
    ),
    "duplicate item": (
        CANDIDATES,
        lambda u: first(u)["profile"][1].update(id="u005-000"),
        ("u005, item u005-000", "its id occurs twice in the profile"),
    ),
    "duplicate user": (
        CANDIDATES,
        lambda u: u.append(first(u)),
        ("user u005", "duplicate user"),
    ),
    "duplicate question": (
        ADAPT,
        lambda u: first(u)["query"][1].update(id=first(u)["query"][0]["id"]),
        ("u000, query u000-q00", "its id occurs twice in the data set"),
    ),
    "question without its marker": (
        ADAPT,
        lambda u: first(u)["query"][1].update(input="Which tag? a film"),
        ("u000, query u000-q01", "does not have LaMP-2's form (its marker is missing"),
    ),
    "target without history": (TARGETS, lambda u: first(u).update(profile=[]), ("user u002", "no history")),
    "target without questions": (
        TARGETS,
        lambda u: first(u)["query"][0].update(input="?") or first(u)["query"][1].update(input="?"),
        ("u002, query u002-q00", "marker is missing"),
    ),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_fault_of_some_records(attempt: Say, say: Say, folder: Path, tmp_path: Path, name: str) -> None:
    file, change, parts = RECORDS[name]
    edit(file, lambda users: (change(users), None)[1])(folder)
    report = json.loads(say("data", "check", folder, "--json").out)
    assert report["defects"]
    reported = report["defects"][0]
    assert reported["file"] == file
    for part in parts:
        assert part in f"{reported['record']} {reported['problem']}"
    strict = attempt("--data", folder, "--strict")
    one_line(strict, file, *parts, "correct the data, or read without --strict")
    assert not (tmp_path / "runs").exists()
    checked = say("data", "check", folder, "--strict")
    assert checked.code == 2
    assert checked.err.count("\n") == 1


def test_defects_are_counted_in_the_record(attempt: Say, folder: Path, tmp_path: Path) -> None:
    for name in ("target without history", "question without its marker", "empty text"):
        file, change, _ = RECORDS[name]
        edit(file, lambda users, change=change: (change(users), None)[1])(folder)
    said = attempt("--data", folder, methods="prime,perpcs,oppu")
    assert said.code == 0, said.err
    run = load_run(tmp_path / "runs" / "out")
    (data,) = run.record.data
    assert data.defects == 3
    assert any("u000-q01" in defect for defect in data.first_defects)
    assert data.users["targets"] == 2
    assert any("3 defective records" in warning for warning in run.record.warnings)
    assert "u002" not in {row["target"] for row in run.predictions()}


def test_the_question_without_its_marker_is_reported_by_its_id(say: Say, tmp_path: Path) -> None:
    folder = official(tmp_path / "LaMP_4", lambda questions, _: questions[10].update(input="the bridge"))
    (defect,) = json.loads(say("data", "check", folder, "--json").out)["defects"]
    assert "110" in defect["record"]
    assert "marker" in defect["problem"]
    strict = say("data", "check", folder, "--strict")
    assert strict.code == 2
    assert "110" in strict.err


def test_outputs_that_do_not_match_their_questions(attempt: Say, say: Say, tmp_path: Path) -> None:
    folder = official(tmp_path / "LaMP_4", lambda _, golds: golds.pop())
    parts = (
        "dev_outputs.json",
        "the ids do not match: 1 missing (first: 111)",
        "use files of the same split",
    )
    one_line(say("data", "check", folder), *parts)
    one_line(attempt("--data", folder), *parts)
