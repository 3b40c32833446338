"""What a board refuses: each refusal is one line, and nothing is filed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prime_audit.boards.filed import dumped
from prime_audit.errors import UserError
from prime_audit.record import Record

from .commands import add, check
from .invented import BOARD, board_at, run_at, run_record


def refused(home: Path, tmp_path: Path, record: Record) -> str:
    """File a record that must be refused; nothing may be left of it."""
    before = sorted(home.rglob("*"))
    done = add(home, run_at(tmp_path / "refused", record))
    assert isinstance(done.exception, UserError), done.output
    assert sorted(home.rglob("*")) == before
    message = str(done.exception)
    assert "\n" not in message
    return message


def _first(record: Record, **changes: Any) -> Record:
    results = (replace(record.results[0], **changes), *record.results[1:])
    return replace(record, results=results)


def _data(record: Record, **changes: Any) -> Record:
    return replace(record, data=tuple(replace(d, **changes) for d in record.data))


def _tpr(record: Record) -> Record:
    return replace(record, leaks=tuple(replace(x, tpr={"0.001": 0.1}) for x in record.leaks))


FRESH = 7
"""A seed that is not filed yet."""
REFUSALS: dict[str, tuple[Callable[[], Record], str]] = {
    "dirty": (
        lambda: run_record(FRESH, code=run_record(0).code | {"dirty": True}),
        "a dirty run: files that decide numbers differed from the commit",
    ),
    "of unknown code": (lambda: run_record(FRESH, code={}), "has no version of the code"),
    "limited": (
        lambda: run_record(FRESH, spec=run_record(FRESH).spec | {"preset": "paper"}),
        'a limited run: preset is "paper", the board\'s is "laptop"',
    ),
    "limited by a setting": (
        lambda: run_record(FRESH, spec=_with_setting("last_items", 2)),
        "a limited run: LaMP-2.last_items is 2, the board's 12",
    ),
    "older than a setting that was otherwise": (
        lambda: run_record(FRESH, spec=_without_setting("clustered")),
        'a limited run: LaMP-2.clustered is "candidates", the board\'s "eligible"',
    ),
    "another override": (
        lambda: run_record(
            FRESH, spec=run_record(FRESH).spec | {"overrides": {"targets": 4, "prime.alpha": 9}}
        ),
        "a limited run: --set prime.alpha",
    ),
    "without a game": (
        lambda: run_record(FRESH, spec=run_record(FRESH).spec | {"games": []}),
        "lacks games paper",
    ),
    "stale": (
        lambda: run_record(
            FRESH,
            plugins=run_record(0).plugins
            | {"method prime": {"version": 0, "origin": "prime_audit.prime.prime"}},
        ),
        "method prime has version 0, now it is 1: a stale run",
    ),
    "backwards": (lambda: _first(run_record(FRESH), higher_is_better=False), "higher_is_better is false"),
    "too fine": (
        lambda: _tpr(run_record(FRESH)),
        "TPR at FPR 0.001 is finer than 90 non-members for each target allow",
    ),
    "of a seed that is not the board's": (
        lambda: run_record(FRESH),
        "seed 7 is not among those of LaMP-2 in",
    ),
    "with a figure twice": (
        lambda: replace(run_record(FRESH), results=run_record(FRESH).results * 2),
        "duplicate result (LaMP-2 np accuracy)",
    ),
    "with figures of no data": (
        lambda: replace(run_record(FRESH), data=run_record(FRESH).data[:1]),
        "on LaMP-3, which is not its method and data",
    ),
    "without its plugins": (lambda: run_record(FRESH, plugins={}), "has no version of method np"),
    "without a seed": (lambda: run_record(FRESH, seeds={}), "has no seed"),
    "of a checkout with unknown git state": (
        lambda: run_record(FRESH, code=run_record(0).code | {"dirty": None}),
        "a dirty run",
    ),
    "judged again by changed code": (
        lambda: run_record(
            FRESH, code=run_record(0).code | {"judged_commit": "c" * 40, "judged_dirty": True}
        ),
        "a dirty run",
    ),
}


def _without_setting(key: str) -> dict[str, Any]:
    spec = run_record(FRESH).spec
    old = {task: {k: v for k, v in own.items() if k != key} for task, own in spec["settings"].items()}
    return {**spec, "settings": old}


def _with_setting(key: str, value: Any) -> dict[str, Any]:
    spec = run_record(FRESH).spec
    return {**spec, "settings": {task: {**own, key: value} for task, own in spec["settings"].items()}}


@pytest.mark.parametrize("what", REFUSALS)
def test_refused(home: Path, tmp_path: Path, what: str) -> None:
    make, message = REFUSALS[what]
    assert message in refused(home, tmp_path, make())


def test_refused_where_the_split_disagrees(home: Path, tmp_path: Path) -> None:
    """Another method, the same seed, other people."""
    said = refused(home, tmp_path, _data(run_record(0, ("np", "rag")), split_sha256="d" * 64))
    assert re.search(r"split hash d{64} differs from \w{64} of records/\S+\.json", said), said


def test_refused_where_the_questions_are_not_as_many(home: Path, tmp_path: Path) -> None:
    record = run_record(0, ("np", "rag"))
    other = replace(record, results=tuple(replace(r, n=r.n + 1) if not r.game else r for r in record.results))
    said = refused(home, tmp_path, replace(other, spec={**other.spec, "note": "another id"}))
    assert "questions (37,) differs from (36,)" in said


def test_refused_where_other_figures_are_filed_of_the_same_specification(home: Path, tmp_path: Path) -> None:
    said = refused(home, tmp_path, _first(run_record(0), value=0.123))
    assert "has other figures for the same specification" in said


def test_refused_where_a_method_and_seed_are_filed_twice(home: Path, tmp_path: Path) -> None:
    record = run_record(0)
    said = refused(home, tmp_path, replace(record, model=replace(record.model, sha256="f" * 64)))
    assert f'model "{"f" * 64}" differs from' in said
    other = {**record.spec, "note": "the same, typed otherwise"}
    said = refused(home, tmp_path / "again", replace(record, spec=other))
    assert "with seed 0 is filed already" in said


def test_a_nan_is_refused_in_memory_and_in_a_file(home: Path) -> None:
    (folder,) = (home / "toy" / "records").glob("prime")
    path = sorted(folder.glob("*.json"))[0]
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r'"value":0\.\d+', '"value":NaN', text, count=1), encoding="utf-8")
    said = str(check(home).exception)
    assert str(path) in said
    assert "NaN is not JSON" in said
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumped(_first(run_record(0), value=math.nan))


def test_a_record_that_was_changed_is_not_in_its_place(home: Path) -> None:
    path = sorted((home / "toy" / "records" / "prime").glob("*.json"))[0]
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"LaMP-2"', '"LaMP-4"'), encoding="utf-8")
    assert "was changed or moved" in str(check(home).exception)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "toy"', 'name = "boy"', "name is 'boy', its folder's is 'toy'"),
        ('"LaMP-2"', '"LaMP-9"', "unknown task 'LaMP-9'"),
        ('"higher"', '"up"', "unknown direction 'up'"),
        ("seeds = [0, 1]", 'seeds = "two"', 'seeds: unexpected "two"'),
        ("seeds = [0, 1]", "seeds = []", "seeds is empty"),
        ("seeds = [0, 1]", "seeds = [0, 1, 0]", "seeds names '0' more than once"),
        ('tasks = ["LaMP-2"', 'tasks = ["LaMP-2", "LaMP-2"', "tasks names 'LaMP-2' more than once"),
        ('tasks = ["LaMP-2"', "tasks = [1", "tasks[0]: unexpected 1"),
        ('preset = "laptop"', "preset = 3", "unknown preset"),
        ("seeds = [0, 1]", "sedes = 2", "unknown entry 'sedes': did you mean seeds"),
        ("seeds = [0, 1]", "seeds =", "is not TOML"),
        ('title = "A toy board"', "", "missing title"),
    ],
)
def test_a_broken_board_file_is_refused(home: Path, old: str, new: str, message: str) -> None:
    board_at(home, BOARD.replace(old, new, 1))
    said = str(check(home).exception)
    assert message in said
    assert str(home / "toy" / "board.toml") in said
