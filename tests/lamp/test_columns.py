"""Ids are the same person whichever way they are written, and columns may have any name."""

from __future__ import annotations

import csv
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prime_audit.errors import UserError
from prime_audit.io.adapter_files import CONFIG, WEIGHTS
from prime_audit.io.tables import BadRecordError
from prime_audit.lamp.check import check
from prime_audit.lamp.columns import read_columns
from prime_audit.lamp.data import words_of
from prime_audit.lamp.given import with_sharers
from prime_audit.lamp.readers import read
from prime_audit.lamp.records import as_id


def numbered(layouts: Any, value: Any) -> list[dict[str, Any]]:
    return [{**row, "user": value(int(row["user"][1:]))} for row in layouts.rows("LaMP-4")]


def people(path: Path, **options: Any) -> set[str]:
    data = read(path, "LaMP-4", **options)
    return {user.id for user in (*data.adapt, *data.targets, *data.candidates)}


@pytest.mark.parametrize("value", [int, float, str, lambda n: f"{n}.0", lambda n: f" {n} "])
def test_one_person_whichever_way_the_id_is_written(layouts, tmp_path: Path, value: Any) -> None:
    path = layouts.write_rows(tmp_path / "a.jsonl", numbered(layouts, value))
    assert people(path) == {str(n) for n in range(8)}
    assert read(path, "LaMP-4").defects == ()


def test_ids_of_any_length(layouts, tmp_path: Path) -> None:
    path = layouts.write_rows(tmp_path / "a.jsonl", numbered(layouts, lambda n: 13 * 10**40 + n))
    assert people(path) == {str(13 * 10**40 + n) for n in range(8)}


def test_decimals_of_parquet(layouts, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = numbered(layouts, lambda n: Decimal(13 * 10**20 + n))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert people(tmp_path / "a.parquet") == {str(13 * 10**20 + n) for n in range(8)}


def test_numbers_of_numpy() -> None:
    np = pytest.importorskip("numpy")
    assert [as_id({"id": kind(7)}) for kind in (np.int64, np.uint8, np.float64)] == ["7"] * 3


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (1.3e18, "has lost digits"),
        (float(2**53), "has lost digits"),
        ("1.23457E+18", "has lost digits"),
        ("1,23457E+18", "has lost digits"),
        ("1300000000000000000.0", "has lost digits"),
        (1.5, "not a whole number"),
        (Decimal("1.5"), "not a whole number"),
        (float("nan"), "not a whole number"),
        ("nan", "a word for a missing value"),
        ("None", "a word for a missing value"),
        ("#NAME?", "a spreadsheet's error"),
        (True, "is true/false, not text"),
    ],
)
def test_ids_that_would_merge_people(value: object, problem: str) -> None:
    with pytest.raises(BadRecordError, match=problem):
        as_id({"id": value})


@pytest.mark.parametrize("id", ["00123", "1e5", "5E-10", "12.50", "1.0.0", "x", "MAR1", "ナンシー"])
def test_text_stays_as_it_is(id: str) -> None:
    assert as_id({"id": id}) == id


def test_dates_instead_of_ids_are_reported(layouts, tmp_path: Path) -> None:
    rows = numbered(layouts, lambda n: f"{n + 1}-Mar")
    data = read(layouts.write_rows(tmp_path / "a.jsonl", rows), "LaMP-4")
    (defect,) = data.defects
    assert "8 user ids look like dates that a spreadsheet made of them (the first is 1-Mar)" in str(defect)
    assert defect.action == "kept"


@pytest.mark.parametrize("task", ["LaMP-2", "LaMP-4"])
def test_words_for_missing_values_are_no_golds(layouts, tmp_path: Path, task: str) -> None:
    rows = layouts.rows(task)
    for row, word in zip(rows, ("NaN", "None", "null", "nan", " <NA> "), strict=False):
        row["output"] = word
    report = check(layouts.write_rows(tmp_path / "a.jsonl", rows), task)
    assert len(report.defects) == 5
    assert all("a word for a missing value" in defect.problem for defect in report.defects)


# -- columns ---------------------------------------------------------------------------------------------------

OTHER = {"user": "author_id", "input": "Text", "output": "label", "time": "created_at"}
WORDS = "user=author_id,input=Text,output=label"


def renamed(layouts: Any) -> list[dict[str, Any]]:
    return [{OTHER[key]: value for key, value in row.items()} for row in layouts.rows("LaMP-4")[::-1]]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as stream:
        if path.suffix == ".jsonl":
            stream.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(stream, rows[0], delimiter=";")
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_columns_of_other_names(layouts, tmp_path: Path, name: str) -> None:
    due = read(layouts.write_rows(tmp_path / "due.jsonl", layouts.rows("LaMP-4")), "LaMP-4")
    path = write(tmp_path / name, renamed(layouts))
    with pytest.raises(UserError) as refused:
        read(path, "LaMP-4")
    assert f"pass --columns {WORDS},time=created_at" in str(refused.value)
    data = read(path, "LaMP-4", columns=f"{WORDS},time=created_at")
    assert {u.id: [i.fields for i in u.history] for u in data.targets} == {
        u.id: [i.fields for i in u.history] for u in due.targets
    }
    (note,) = read(path, "LaMP-4", columns=WORDS).notes
    assert note.startswith(f"{name}: column created_at is not read")
    assert note.endswith("pass --time-column created_at")
    with pytest.raises(
        UserError,
        match=r"no column titel .*pass --columns .*,output=label,time=created_at",
    ):
        read(path, "LaMP-4", columns="user=author_id,input=Text,output=titel")


def test_rows_without_a_column_are_one_line(layouts, tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "output"} for row in layouts.rows("LaMP-4")]
    with pytest.raises(
        UserError, match=r"no column output .found: user, input, time.: rename the columns, or pass"
    ):
        read(layouts.write_rows(tmp_path / "a.jsonl", rows), "LaMP-4")


@pytest.mark.parametrize(
    ("names", "options", "hint"),
    [
        ({}, {"time_column": "nope"}, "rename the columns, or pass --time-column …"),
        ({"user": "author", "output": "xyz"}, {}, "pass --columns user=author,output=…"),
        ({"output": "xyz"}, {}, "rename the columns, or pass --columns output=…"),
    ],
)
def test_hints_name_what_is_missing(layouts, tmp_path: Path, names: Any, options: Any, hint: str) -> None:
    rows = [{names.get(key, key): value for key, value in row.items()} for row in layouts.rows("LaMP-4")]
    with pytest.raises(UserError) as fault:
        read(layouts.write_rows(tmp_path / "a.jsonl", rows), "LaMP-4", **options)
    assert str(fault.value).endswith(f": {hint}")


def test_other_layouts_have_fixed_names(layouts, tmp_path: Path) -> None:
    folder = layouts.write(tmp_path, layouts.official("LaMP-4"))
    with pytest.raises(UserError, match="has the official layout, whose columns have fixed names"):
        read(folder, columns="user=x")


# -- items of sharers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["items.csv", "Items.JSONL"])
def test_sharers_items_in_any_format(layouts, tmp_path: Path, name: str) -> None:
    data = read(layouts.write_rows(tmp_path / "a.jsonl", layouts.rows("LaMP-4")), "LaMP-4")
    home = tmp_path / "sharers" / "ann"
    home.mkdir(parents=True)
    for file in (CONFIG, WEIGHTS):
        (home / file).write_bytes(b"{}")
    rows: list[dict[str, Any]] = [
        {"text_": f"text {n}", "label": f"title {n}", "when": f"{9 - n}.1.2020", "heldout": n == 2}
        for n in range(4)
    ]
    write(home / name if name.endswith("csv") else home / name.lower(), rows)
    columns = {"input": "text_", "output": "label", "time": "when"}
    found = with_sharers(data, home.parent, None, columns=columns)
    (sharer,) = found.given.sharers if found.given else ()
    assert [i.fields["text"] for i in sharer.user.history] == [f"text {n}" for n in (3, 2, 1, 0)]
    assert len(sharer.heldout) == 1
    assert found.defects == ()
    assert "the rows of 1 of 1 users are not in the order of when" in " ".join(found.notes)
    with pytest.raises(UserError, match=r"or pass --columns input=…,output=…"):
        with_sharers(data, home.parent, None)
    (home / "items.json").write_text("[]")
    with pytest.raises(UserError, match="are both items; keep one of them"):
        with_sharers(data, home.parent, None)


def sharer(folder: Path, rows: list[dict[str, Any]], name: str = "items.jsonl") -> Path:
    home = folder / "sharers" / "ann"
    home.mkdir(parents=True)
    for file in (CONFIG, WEIGHTS):
        (home / file).write_bytes(b"{}")
    write(home / name, rows)
    return home.parent


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("name", ["items.jsonl", "items.csv"])
def test_the_named_column_of_two_wins(layouts, tmp_path: Path, name: str, turn: int) -> None:
    data = read(layouts.write_rows(tmp_path / "a.jsonl", layouts.rows("LaMP-4")), "LaMP-4")
    rows = [
        dict(list({"text": f"mine {n}", "input": f"other {n}", "output": f"title {n}"}.items())[::turn])
        for n in range(3)
    ]
    found = with_sharers(data, sharer(tmp_path, rows, name), None, columns={"user": "who", "input": "text"})
    (ann,) = found.given.sharers if found.given else ()
    assert [item.fields["text"] for item in ann.user.history] == ["mine 0", "mine 1", "mine 2"]
    assert found.notes == data.notes


def test_one_column_is_not_two_roles(layouts, tmp_path: Path) -> None:
    path = layouts.write_rows(tmp_path / "a.jsonl", layouts.rows("LaMP-4"))
    with pytest.raises(UserError, match="--columns input=output: output is read as output too; name the col"):
        read(path, "LaMP-4", columns="input=output")
    assert read_columns("input=output,output=input", None) == {"input": "output", "output": "input"}


@pytest.mark.parametrize("yes", [True, 1, 1.0, "yes", "TRUE"])
def test_held_out_in_any_form_and_never_by_another_name(layouts, tmp_path: Path, yes: object) -> None:
    data = read(layouts.write_rows(tmp_path / "a.jsonl", layouts.rows("LaMP-4")), "LaMP-4")
    rows = [{"id": f"i{n}", "input": f"text {n}", "output": f"title {n}"} for n in range(3)]
    rows[2]["heldout"] = yes
    folder = sharer(tmp_path, rows)
    given_ones = with_sharers(data, folder, None).given
    assert given_ones is not None
    assert given_ones.sharers[0].heldout == ("i2",)
    rows[2]["held_out"] = rows[2].pop("heldout")
    write(folder / "ann" / "items.jsonl", rows)
    with pytest.raises(UserError, match="column held_out is not read: rename it to heldout"):
        with_sharers(data, folder, None)


def test_a_sharer_without_a_named_column_or_with_one_twice(layouts, tmp_path: Path) -> None:
    data = read(layouts.write_rows(tmp_path / "a.jsonl", layouts.rows("LaMP-4")), "LaMP-4")
    rows = [{"input": f"text {n}", "output": f"title {n}", "created_at": f"2020-1-{n + 1}"} for n in range(3)]
    folder = sharer(tmp_path, rows)
    found = with_sharers(data, folder, None, columns={"user": "who", "input": "body"})
    assert [note for note in found.notes if note not in data.notes] == [
        "ann/items.jsonl: column created_at is not read; if it is the time of the rows, "
        "pass --time-column created_at"
    ]
    (folder / "ann" / "items.jsonl").unlink()
    (folder / "ann" / "items.csv").write_text("input,output,input\na,b,c\n")
    with pytest.raises(UserError, match="column input occurs twice"):
        with_sharers(data, folder, None)


@given(st.text() | st.text(st.characters(max_codepoint=127)))
def test_words_of_ascii_are_those_of_any_text(text: str) -> None:
    assert words_of(text) == " ".join(re.findall(r"\w+", text.casefold()))
