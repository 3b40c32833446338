"""Somebody else's run folder or board: shown, attacked or filed, it is refused in one line or does no harm."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from prime_audit.folder import load_run
from prime_audit.games.exam.stored import FOLDER, _digest, write_exam
from prime_audit.io.markup import visible
from prime_audit.report.from_record import render_all
from tests.boards.invented import BOARD, board_at, run_at, run_record
from tests.games.test_stored import exam

from .helpers import Say, one_line
from .test_hostile_names import require_harmless

EVIL = "<script>alert(1)</script>\x1b[31m`|$\\input{x}\n\n# =1"
Spoil = Callable[[dict[str, Any]], Any]


def texts(content: Any, evil: str, keep: frozenset[str]) -> Any:
    """Replace every text of a record, but those under some keys and all short words that name what is known."""
    if isinstance(content, dict):
        return {k: v if k in keep else texts(v, evil, keep) for k, v in content.items()}
    if isinstance(content, list):
        return [texts(v, evil, keep) for v in content]
    return evil + content if isinstance(content, str) else content


def hostile(folder: Path) -> Path:
    """Write a record whose every text would like to be markup, a command or a formula."""
    record = replace(run_record(tasks=["LaMP-2"]), warnings=("a", "b"))
    keep = frozenset(
        {"schema", "metric", "spec", "methods", "seeds", "plugins", "code", "hardware", "versions"}
    )
    run_at(folder, record)
    content = texts(json.loads((folder / "record.json").read_text()), EVIL, keep)
    (folder / "record.json").write_text(json.dumps(content))
    return folder


def test_a_hostile_record_is_shown_and_written_harmlessly(say: Say, tmp_path: Path) -> None:
    folder = hostile(tmp_path / "run")
    said = say("show", folder)
    assert said.code == 0, said.err
    assert said.out == visible(said.out)
    again = json.loads(say("show", folder, "--json").out)
    assert again["warnings"][0] == EVIL + "a"
    render_all(load_run(folder).record, folder)
    require_harmless(folder)
    ElementTree.parse(folder / "frontier.svg")


def test_formulas_in_a_record_stay_texts_in_its_table(tmp_path: Path) -> None:
    record = run_record(tasks=["LaMP-2"], methods=["np"])
    evil = replace(
        record.results[0], method="=cmd|' /C calc'!A0", reason="@SUM(A1)", game="+1", attack="-1+1"
    )
    render_all(replace(record, results=(evil, *record.results[1:])), tmp_path)
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as stream:
        row = next(csv.DictReader(stream))
    assert (row["method"], row["reason"]) == ("'=cmd|' /C calc'!A0", "'@SUM(A1)")
    assert (row["game"], row["attack"]) == ("'+1", "'-1+1")
    assert float(row["value"]) == evil.value


def put(*path: str | int, value: Any) -> Spoil:
    def spoil(content: dict[str, Any]) -> None:
        at: Any = content
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return spoil


LYING: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "another format": (
        put("schema", value="prime-audit/record/99"),
        ("has format 99", "install a newer version"),
    ),
    "no format": (put("schema", value=None), ("is not a prime-audit record",)),
    "a figure beyond all": (
        put("results", 0, "value", value=10**400),
        ("is damaged (number 1000", "is too large"),
    ),
    "a count beyond all": (put("results", 0, "n", value=10**30), ("results[0]: n: unexpected 1000",)),
    "a count that is true": (put("results", 0, "n", value=True), ("results[0]: n: unexpected true",)),
    "a text for a figure": (put("results", 0, "value", value="0.5"), ("results[0]: value: unexpected",)),
    "an interval of three": (put("results", 0, "ci", value=[0, 1, 2]), ("results[0]: ci: unexpected",)),
    "no method": (lambda c: c["results"][0].pop("method"), ("results[0]: missing method",)),
    "a list for an object": (put("model", value=[]), ("model: expected an object",)),
    "a deep list": (put("results", value=json.loads("[" * 400 + "]" * 400)), ("expected an object",)),
    "a figure twice": (
        lambda c: c["results"].append(c["results"][0]),
        ("duplicate result (LaMP-2 np accuracy)",),
    ),
    "no parameters": (put("methods", "np", "LaMP-2", value=None), ("methods.np: no parameters",)),
    "a rate at no limit": (put("leaks", 0, "tpr", value={"id": 0.1}), ("a key of tpr is not an FPR",)),
    "settings of a list": (put("spec", "settings", value=[1]), ("spec.settings is not a table by task",)),
    "games of a number": (put("spec", "games", value=7), ("spec.games is not a list of names",)),
    "overrides of text": (put("spec", "overrides", value="x"), ("spec.overrides is not a table",)),
    "a plugin of a list": (
        put("plugins", "method np", value=[1]),
        ("plugins.method np is not a flat table",),
    ),
    "a commit of a list": (put("code", "commit", value=[1]), ("code is not a flat table",)),
    "a leak of nobody": (
        put("leaks", 0, "method", value="ghost"),
        ("leaks of ghost on LaMP-2 without its results",),
    ),
    "methods of a list": (put("methods", value=["np"]), ("methods: unexpected",)),
}


@pytest.mark.parametrize("name", LYING)
def test_a_lying_record_is_one_line(say: Say, tmp_path: Path, name: str) -> None:
    folder = run_at(tmp_path / "run", run_record(tasks=["LaMP-2"]))
    board_at(tmp_path / "boards")
    content = json.loads((folder / "record.json").read_text())
    spoil, parts = LYING[name]
    spoil(content)
    (folder / "record.json").write_text(json.dumps(content))
    before = sorted(tmp_path.rglob("*"))
    add = ("leaderboard", "add", folder, "--board", "toy", "--home", tmp_path / "boards")
    for words in (("show", folder), ("attack", folder, "--attacks", "loss"), add):
        one_line(say(*words), "record.json", *parts)
    assert sorted(tmp_path.rglob("*")) == before


RAW: dict[str, tuple[bytes, str]] = {
    "NaN": (b'{"schema": NaN}', "NaN is not JSON"),
    "1e400": (b'{"schema": 1e400}', "number 1e400 is too large"),
    "5000 digits": (b'{"n": ' + b"9" * 5000 + b"}", "is too large"),
    "a key twice": (b'{"schema": "a", "schema": "b"}', "duplicate key 'schema'"),
    "nesting without end": (b"[" * 200_000, "nested too deeply"),
    "UTF-16": ('{"schema": "a"}'.encode("utf-16"), "is damaged"),
    "cut off": (b'{"schema": "prime-audit/rec', "is damaged"),
    "no object": (b"7", "expected a JSON object"),
}


@pytest.mark.parametrize("name", RAW)
def test_a_record_that_is_no_json_is_one_line(say: Say, tmp_path: Path, name: str) -> None:
    content, part = RAW[name]
    (tmp_path / "record.json").write_bytes(content)
    one_line(say("show", tmp_path), "record.json", part)


SPEC: dict[str, tuple[Any, str]] = {
    "tasks that climb": ({"tasks": ["../../x"]}, "unknown entry of spec.tasks"),
    "tasks that are none": ({"tasks": 7}, "spec.tasks is not a list of names; the record is damaged"),
    "no tasks": ({"tasks": []}, "spec names no tasks"),
    "games that are none": ({"games": {"a": 1}}, "spec.games is not a list of names"),
    "an unknown game": ({"games": ["\x1b[31m"]}, "unknown entry of spec.games"),
}


@pytest.mark.parametrize("name", SPEC)
def test_a_specification_that_lies_is_one_line(say: Say, tmp_path: Path, name: str) -> None:
    change, part = SPEC[name]
    record = run_record(tasks=["LaMP-2"])
    folder = run_at(tmp_path / "run", replace(record, spec={**record.spec, **change}))
    before = sorted(tmp_path.rglob("*"))
    one_line(say("attack", folder, "--attacks", "loss"), "record.json", part)
    assert sorted(tmp_path.rglob("*")) == before


POOLS: dict[str, tuple[Spoil, str]] = {
    "a file out of the folder": (
        put("passes", 0, "parts", 0, "file", value="../../secret"),
        "no name of a part",
    ),
    "an absolute file": (put("passes", 0, "parts", 0, "file", value="/etc/passwd"), "no name of a part"),
    "no passes": (lambda c: c.pop("passes"), "KeyError: 'passes'"),
    "models that are too many": (put("passes", 0, "models", value=["a"] * 9), "is inconsistent"),
    "models without a file": (put("passes", 0, "parts", value=[]), "is inconsistent"),
    "a pool of other rows": (lambda c: c["pools"]["sharers"]["ids"].pop(), "ids is not one a row"),
    "a text that is none": (put("pools", "sharers", "golds", 0, value={}), "a text is none"),
    "a row that is not there": (put("pools", "sharers", "sampled", value={"t0": [99]}), "a sampled row"),
    "a mark beyond all": (put("seed", value="x"), "is inconsistent"),
    "a kind that is no word": (put("passes", 1, "kind", value=7), "is inconsistent"),
    "a kind of no game": (put("passes", 1, "kind", value="other"), "holds no signals of game paper"),
    "a pool that is not there": (put("passes", 1, "pool", value="other"), "is inconsistent"),
}


@pytest.mark.parametrize("name", POOLS)
def test_signals_that_somebody_made_up_are_one_line(say: Say, tmp_path: Path, name: str) -> None:
    """Their hash is right: it says that nothing was broken on the way, not who wrote them."""
    folder = run_at(tmp_path / "run", run_record(tasks=["LaMP-2"]))
    write_exam(folder, exam())
    path = folder / FOLDER / "LaMP-2.pool.json"
    content = json.loads(path.read_text())
    content.pop("sha256")
    spoil, part = POOLS[name]
    spoil(content)
    path.write_text(json.dumps({**content, "sha256": _digest(content)}))
    before = sorted(tmp_path.rglob("*"))
    one_line(say("attack", folder, "--attacks", "loss"), "LaMP-2.pool.json", part)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_in_a_run_leads_no_writing_out_of_it(say: Say, tmp_path: Path) -> None:
    folder = run_at(tmp_path / "run", run_record(tasks=["LaMP-2"]))
    (tmp_path / "theirs").mkdir()
    (folder / FOLDER).symlink_to(tmp_path / "theirs", target_is_directory=True)
    one_line(say("attack", folder, "--attacks", "loss"), "signals is a link: delete it")
    assert not list((tmp_path / "theirs").iterdir())


def test_a_record_with_a_hostile_label_is_filed_nowhere_else(say: Say, tmp_path: Path) -> None:
    board_at(tmp_path / "boards")
    folder = run_at(tmp_path / "run", run_record(tasks=["LaMP-2", "LaMP-3"]))
    text = (folder / "record.json").read_text()
    (folder / "record.json").write_text(text.replace('"perpcs"', '"../../../../climbed"'))
    before = sorted(tmp_path.rglob("*"))
    add = ("leaderboard", "add", folder, "--board", "toy", "--home", tmp_path / "boards")
    one_line(say(*add), "has no version of", "rerun with this prime-audit")
    assert sorted(tmp_path.rglob("*")) == before


BOARDS: dict[str, tuple[bytes, str]] = {
    "no TOML": (b"name = ", "is not TOML"),
    "nesting without end": (b"x = " + b"[" * 100_000, "is not TOML (nested too deeply)"),
    "UTF-16": (BOARD.encode("utf-16"), "is not TOML"),
    "a folder's name": (
        BOARD.replace('"toy"', '"../../x"').encode(),
        "name is '../../x', its folder's is 'toy'",
    ),
    "run.set of a list": (
        BOARD.replace("[run.set]\ntargets = 4", "set = [1]").encode(),
        "run.set is not a table",
    ),
    "an unknown entry": (
        BOARD.replace("title", "titel").encode(),
        "unknown entry 'titel': did you mean title",
    ),
}


@pytest.mark.parametrize("name", BOARDS)
def test_a_bad_board_is_one_line(say: Say, tmp_path: Path, name: str) -> None:
    content, part = BOARDS[name]
    folder = board_at(tmp_path / "boards")
    (folder / "board.toml").write_bytes(content)
    one_line(say("leaderboard", "build", "--home", tmp_path / "boards"), "board.toml", part)
    assert [path.name for path in folder.iterdir()] == ["board.toml"]
