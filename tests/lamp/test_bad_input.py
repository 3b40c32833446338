"""Whatever is wrong with the input ends in one line that says what, where and what to do."""

from __future__ import annotations

import copy
import gzip
import json
import lzma
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prime_audit.errors import UserError
from prime_audit.lamp.data import Dataset, Defect
from prime_audit.lamp.readers import read

Files = dict[str, Any]
CANDIDATES, TARGETS = "user_anchor_candidate.json", "test_100/user_test_100.json"


def refused(path: Path, task: str | None = None, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, task, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def defects(data: Dataset) -> list[str]:
    return [str(defect) for defect in data.defects]


def candidate(field: str, value: object) -> Callable[[Files], None]:
    def spoil(files: Files) -> None:
        files[CANDIDATES][0]["profile"][1][field] = value

    return spoil


def target_query(field: str, value: object) -> Callable[[Files], None]:
    def spoil(files: Files) -> None:
        files[TARGETS][0]["query"][1][field] = value

    return spoil


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (candidate("text", None), "user c0, item c0-1: no text"),
        (candidate("text", " \n"), "user c0, item c0-1: text is empty"),
        (candidate("text", 3), "user c0, item c0-1: text is a number, not text"),
        (candidate("text", ["a"]), "user c0, item c0-1: text is a list, not text"),
        (
            candidate("text", "\ud800"),
            "user c0, item c0-1: text contains half a character (a lone surrogate)",
        ),
        (candidate("score", "6"), "user c0, item c0-1: score '6' is not one of the labels 1, 2, 3, 4, 5"),
        (candidate("score", 4.5), "user c0, item c0-1: score '4.5' is not one of the labels 1, 2, 3, 4, 5"),
        (candidate("score", True), "user c0, item c0-1: score is true/false, not text"),
        (
            candidate("score", float("nan")),
            "user c0, item c0-1: score is 'nan', a word for a missing value",
        ),
        (candidate("id", "c0-0"), "user c0, item c0-0: its id occurs twice in the profile"),
        (candidate("id", None), "user c0, item number 2: no id"),
        (
            target_query("input", "Rate this."),
            "user t0, query t0-q1: the question does not have LaMP-3's form (its marker is missing or ambiguous)",
        ),
        (
            target_query("gold", "great"),
            "user t0, query t0-q1: gold 'great' is not one of the labels 1, 2, 3, 4, 5",
        ),
        (target_query("gold", "5"), "user t0, query t0-q1: its gold differs from the label file's"),
    ],
)
def test_a_defective_record_is_reported_and_left_out(layouts, tmp_path, spoil, expected: str) -> None:
    files = layouts.perpcs("LaMP-3")
    spoil(files)
    folder = layouts.write(tmp_path, files)
    data = read(folder)
    file = CANDIDATES if "user c0" in expected else TARGETS
    assert defects(data) == [f"{file}: {expected} (skipped)"]
    assert len(data.candidates[0].history) == (2 if "user c0" in expected else 3)
    assert len(data.targets[0].queries) == (1 if "user t0" in expected else 2)
    assert refused(folder, strict=True) == (
        f"{folder}: {file}: {expected} (skipped): correct the data, or read without --strict"
    )


def test_defective_users_are_reported_and_left_out(layouts, tmp_path: Path) -> None:
    files = layouts.perpcs("LaMP-4")
    files[CANDIDATES] += [
        {"user_id": "c0", "profile": []},
        {"user_id": "t0", "profile": []},
        {"user_id": "empty", "profile": []},
        {"user_id": "x"},
        {"profile": []},
        7,
    ]
    files["user_base_LLM.json"].append(layouts.user("LaMP-4", "silent", queries=0))
    files["profile-id2text.json"]["t1"] = 5
    data = read(layouts.write(tmp_path, files))
    assert defects(data) == [
        "profile-id2text.json: user t1: profile text is a number, not text (skipped)",
        "user_base_LLM.json: user silent: no question (skipped)",
        f"{CANDIDATES}: user c0: duplicate user (skipped)",
        f"{CANDIDATES}: user t0: duplicate user (skipped)",
        f"{CANDIDATES}: user empty: no history (skipped)",
        f"{CANDIDATES}: user x: no profile (skipped)",
        f"{CANDIDATES}: user number 8: no user_id (skipped)",
        f"{CANDIDATES}: user number 9: is a number, not an object (skipped)",
    ]
    assert [user.id for user in data.candidates] == ["c0", "c1", "c2"]


def test_a_question_id_occurs_once_in_the_data_set(layouts, tmp_path: Path) -> None:
    files = layouts.perpcs("LaMP-4")
    files["user_base_LLM.json"][1]["query"][0]["id"] = "a0-q0"
    files["user_base_LLM.json"][1]["query"].append({"id": "a1-q1", "input": "x"})
    data = read(layouts.write(tmp_path, files))
    assert defects(data)[0] == (
        "user_base_LLM.json: user a1, query a0-q0: its id occurs twice in the data set (skipped)"
    )


def test_the_official_question_without_marker_is_reported_by_id(layouts, tmp_path: Path) -> None:
    files = layouts.official("LaMP-2")
    files["dev_questions.json"][3]["input"] = "Which tag does this movie relate to? A lamp."
    files["dev_questions.json"][4]["profile"] = []
    files["dev_outputs.json"]["golds"][5]["output"] = None
    data = read(layouts.write(tmp_path, files))
    assert defects(data) == [
        "dev_outputs.json: 5: output is null, not text (skipped)",
        "dev_questions.json: user 3, query 3: the question does not have LaMP-2's form (its marker is missing or "
        "ambiguous) (skipped)",
        "dev_questions.json: user 5, query 5: no gold (skipped)",
        "dev_questions.json: user 4: no history (skipped)",
    ]
    assert data.defects[1] == Defect("dev_questions.json", "user 3, query 3", data.defects[1].problem)


def test_defective_rows(layouts, tmp_path: Path) -> None:
    rows: list[Any] = layouts.rows("LaMP-3")
    rows[3:3] = [
        {"user": "u1", "input": "", "output": "3"},
        ["u1"],
        {"user": None, "input": "a", "output": "1"},
    ]
    rows.append({"user": "u1", "input": "a", "output": "11"})
    data = read(layouts.write_rows(tmp_path / "a.LaMP-3.jsonl", rows))
    assert defects(data) == [
        "a.LaMP-3.jsonl: line 4: input is empty (skipped)",
        "a.LaMP-3.jsonl: line 5: is a list, not an object (skipped)",
        "a.LaMP-3.jsonl: line 6: no user (skipped)",
        "a.LaMP-3.jsonl: line 52: output '11' is not one of the labels 1, 2, 3, 4, 5 (skipped)",
    ]
    assert refused(tmp_path / "a.LaMP-3.jsonl", strict=True).endswith(
        "input is empty (skipped) and 3 more defects: correct the data, or read without --strict"
    )


def test_rows_with_the_same_id(layouts, tmp_path: Path) -> None:
    rows = [{**row, "id": row["time"]} for row in layouts.rows("LaMP-4")]
    rows[-1]["id"] = 0
    data = read(layouts.write_rows(tmp_path / "a.LaMP-4.jsonl", rows))
    assert defects(data) == ["a.LaMP-4.jsonl: line 48: its id '0' occurs twice for this user (skipped)"]


def test_rows_with_cells_too_many_or_too_few(tmp_path: Path) -> None:
    good = [f"u{n % 4},text {n},head {n}" for n in range(24)]
    path = tmp_path / "a.LaMP-4.csv"
    path.write_text("\n".join(["user,input,output", "u1,a", "u1,a,b,c", "", *good]), encoding="utf-8")
    assert defects(read(path)) == [
        "a.LaMP-4.csv: line 2: 2 cells under 3 columns (skipped)",
        "a.LaMP-4.csv: line 3: 4 cells under 3 columns (skipped)",
    ]


ROW = b'{"user": "a", "input": "b", "output": "c"}\n'


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", ROW + b'{"user": "a", "inp', "line 2: damaged or truncated JSON (Unterminated string"),
        ("a.jsonl", ROW + b"\xff", "line 2: not UTF-8 text: convert it"),
        ("a.jsonl", b"[" * 100_000, "line 1: unreadable JSON"),
        ("a.jsonl", b'{"user": ' + b"9" * 5000 + b"}", "line 1: unreadable JSON"),
        ("a.jsonl", b"", "no target can be drawn: 0 of 0 users have the required 5 items"),
        ("a.jsonl", ROW * 3, "no target can be drawn: 0 of 1 users have the required 5 items"),
        ("a.jsonl.gz", ROW, "damaged or truncated gzip file"),
        ("a.jsonl.gz", gzip.compress(ROW * 1000)[:-20], "damaged or truncated gzip file"),
        ("a.csv", b'user,input,output\na,"b', "line 2: damaged or truncated CSV"),
        ("a.csv", b"", "no column user, input, output (found: none): rename the columns"),
        ("a.csv", b"user,text,output\n", "no column input (found: user, text, output)"),
        ("a.csv", b"user,input,output,user\n", "column user occurs twice"),
        ("a.parquet", b"PAR1 not really", "damaged or truncated Parquet"),
        ("a.parquet", b"", "damaged or truncated Parquet"),
        ("a.jsonl.bz2", ROW, "damaged or truncated bz2 file"),
        ("a.jsonl.xz", lzma.compress(ROW * 1000)[:-20], "damaged or truncated xz file"),
        ("a.json", b"[]", "no target can be drawn: 0 of 0 users"),
        ("a.json", b'{"a": 1}', "contains no list of records: write a list of objects"),
        ("a.txt", b"[]", "no layout is known by this name"),
        ("a_questions.json", b"[]", "its golds are missing: add a_outputs.json beside it"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = refused(path, "LaMP-4")
    assert message.startswith(str(path))
    assert expected in message


@pytest.mark.parametrize("strict", [False, True])
def test_rows_that_are_all_defective_are_named(tmp_path: Path, strict: bool) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"user": "a", "input": "", "output": "x"}\n' * 7)
    message = refused(path, "LaMP-4", strict=strict)
    assert "a.jsonl: line 1: input is empty (skipped)" in message
    assert ("and 6 more defects" if strict else "(first of 7 defects: ") in message
    assert ("without --strict" in message) is strict


def test_a_long_cell_is_read(tmp_path: Path) -> None:
    path, long = tmp_path / "a.LaMP-4.csv", "word " * 30_000
    rows = [
        f"u{u},{long if (u, n) == (0, 0) else f'text {n} of {u}'},title" for n in range(6) for u in range(8)
    ]
    path.write_text("\n".join(["user,input,output", *rows]))
    data = read(path)
    everyone = (*data.adapt, *data.targets, *data.candidates)
    assert {u.id: u for u in everyone}["u0"].history[0].fields["text"] == long


def test_a_parquet_file_without_the_columns(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"user": ["a"], "text": ["b"]}), tmp_path / "a.parquet")
    assert "no column input, output (found: user, text)" in refused(tmp_path / "a.parquet", "LaMP-4")


def without(name: str) -> Callable[[Files], None]:
    return lambda files: files.pop(name)


def holding(name: str, content: object) -> Callable[[Files], None]:
    return lambda files: files.update({name: content})


LABELS = "test_100/user_test_100_label.json"


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (without(CANDIDATES), "user_anchor_candidate.json missing: add the missing files"),
        (without(TARGETS), "test_100/user_test_100.json missing: add the missing files"),
        (holding(TARGETS, {}), "user_test_100.json: contains an object, not a list of records"),
        (holding(CANDIDATES, "x"), "user_anchor_candidate.json: contains text, not a list of records"),
        (holding(CANDIDATES, []), "no candidate for sharing is left: add more users"),
        (holding(TARGETS, [1]), "ids do not match: 4 too many (first: t0-q0)"),
        (holding(LABELS, []), "user_test_100_label.json: contains a list, not an object"),
        (holding(LABELS, {"task": "LaMP_3"}), "golds is null, not a list of id and output"),
        (holding(LABELS, {"task": "LaMP_4", "golds": []}), "contains LaMP-4, not LaMP-3"),
        (holding(LABELS, {"task": 3, "golds": []}), "task is a number, not a task's name"),
        (holding(LABELS, {"task": "LaMP_9", "golds": []}), "unknown task 'LaMP_9': known: LaMP-1"),
        (
            holding(LABELS, {"golds": [{"id": "t0-q0", "output": "4"}, {"id": "?", "output": "4"}]}),
            "3 missing",
        ),
        (holding("profile-id2text.json", 5), "contains a number, not texts by user"),
    ],
)
def test_a_folder_that_does_not_hold_together(layouts, tmp_path, spoil, expected: str) -> None:
    files = layouts.perpcs("LaMP-3")
    spoil(files)
    assert expected in refused(layouts.write(tmp_path, files), "LaMP-3")


def test_truncated_json(layouts, tmp_path: Path) -> None:
    folder = layouts.write(tmp_path, layouts.perpcs("LaMP-3"))
    content = (folder / CANDIDATES).read_bytes()
    (folder / CANDIDATES).write_bytes(content[: len(content) // 2])
    assert "line 1: damaged or truncated JSON" in refused(folder)


def test_outputs_of_another_split(layouts, tmp_path: Path) -> None:
    files = layouts.official("LaMP-4")
    files["dev_outputs.json"]["golds"][0]["id"] = "999"
    message = refused(layouts.write(tmp_path, files))
    assert (
        "the ids do not match: 1 missing (first: 0), 1 too many (first: 999): use files of the same split"
        in message
    )


def test_what_is_not_there_or_not_known(layouts, tmp_path: Path) -> None:
    assert "no such file or folder" in refused(tmp_path / "nothing")
    assert "no data in a known layout" in refused(tmp_path)
    path = layouts.write_rows(tmp_path / "a.jsonl", layouts.rows("LaMP-4"))
    assert "neither the data nor its name has the task" in refused(path)
    assert "unknown task" in refused(path, "LaMP-6")
    assert "cannot contain LaMP-1's two references" in refused(path, "LaMP-1")
    assert "targets: 0" in refused(path, "LaMP-4", targets=0)
    assert "adapt_share: 1.5 is not a share" in refused(path, "LaMP-4", adapt_share=1.5)
    three = layouts.write_rows(tmp_path / "b.jsonl", layouts.rows("LaMP-4", users=1))
    assert "no target can be drawn: 1 of 1 users" in refused(three, "LaMP-4")


JUNK: list[Any] = [
    None,
    True,
    0,
    -1.5,
    float("nan"),
    10**30,
    "",
    "\ud800",
    "\x00",
    "x",
    [],
    [1],
    {},
    {"id": 1},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the way to every value inside a JSON value."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


def spoiled(value: Any, place: tuple[Any, ...], junk: Any) -> Any:
    if not place:
        return junk
    value = copy.copy(value)
    value[place[0]] = spoiled(value[place[0]], place[1:], junk)
    return value


def outcome(path: Path, task: str) -> list[str]:
    """Return what a user sees: the error, or every defect of data that can be hashed."""
    try:
        data = read(path, task)
    except UserError as error:
        return [str(error)]
    return [data.sha256, *defects(data)]


@pytest.mark.parametrize("layout", ["perpcs", "oppu", "official"])
@pytest.mark.parametrize("task", ["LaMP-1", "LaMP-3", "LaMP-4"])
def test_junk_anywhere_is_a_defect_or_one_line(layouts, tmp_path: Path, layout: str, task: str) -> None:
    files = getattr(layouts, layout)(task)
    folder = layouts.write(tmp_path, files)
    rng = random.Random(f"{layout} {task}")
    for name, content in files.items():
        everywhere = [(place, junk) for place in places(content) for junk in JUNK]
        for place, junk in rng.sample(everywhere, min(60, len(everywhere))):
            (folder / name).write_text(json.dumps(spoiled(content, place, junk)))
            lines = outcome(folder, task)
            assert not any("\n" in line for line in lines)
            "".join(lines).encode()
        (folder / name).write_text(json.dumps(content))


def test_junk_in_rows_is_a_defect_or_one_line(layouts, tmp_path: Path) -> None:
    rows = [{"id": str(n), **row} for n, row in enumerate(layouts.rows("LaMP-3"))]
    for place in places(rows)[1:12]:
        for junk in JUNK:
            path = layouts.write_rows(tmp_path / "a.jsonl", spoiled(rows, place, junk))
            assert len(outcome(path, "LaMP-3")[0]) == 64


def test_bytes_at_random_are_one_line(tmp_path: Path) -> None:
    rng = random.Random(0)
    for suffix in (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet"):
        for _ in range(20):
            path = tmp_path / f"a{suffix}"
            path.write_bytes(rng.randbytes(rng.randint(0, 80)))
            refused(path, "LaMP-4")
