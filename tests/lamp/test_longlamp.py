"""LongLaMP's Parquet files, OPPU's names of files, and what is not public."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prime_audit.errors import UserError
from prime_audit.lamp.check import check
from prime_audit.lamp.data import Dataset
from prime_audit.lamp.prompts import history_examples, query_examples
from prime_audit.lamp.readers import read
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.plan import make_plan

USERS = {"LongLaMP-abstract": "name", "LongLaMP-topic": "author", "LongLaMP-review": "reviewerId"}
INPUTS = {
    "LongLaMP-abstract": 'Generate an abstract for the title "On {} lamps" using the following items: 1. lamp\n2. oil',
    "LongLaMP-topic": "Generate the content for a reddit post On {} lamps",
    "LongLaMP-review": "Generate the review text written by a reviewer who has a given an overall rating of "
    '"5.0" for a product with description "A "new" lamp for {}". The summary of the review text is "Fine".',
}


def profile(task: str, user: int) -> list[dict[str, Any]]:
    if task == "LongLaMP-abstract":
        return [
            {
                "id": f"p{n}",
                "title": f"Title {user} {n}",
                "abstract": f"Abstract {user} {n}",
                "year": 2020 - n,
            }
            for n in range(4)
        ]
    if task == "LongLaMP-topic":
        return [
            {"id": f"p{n}", "author": "x", "summary": f"Summary {user} {n}", "content": f"Post {user} {n}"}
            for n in range(4)
        ]
    return [
        {
            "overall": "4.0",
            "description": f"Lamp {user} {n}",
            "summary": "Good",
            "reviewText": f"Yes {user} {n}",
        }
        for n in range(4)
    ]


def rows(task: str, users: int = 8) -> list[dict[str, Any]]:
    return [
        {
            USERS[task]: f"u{u}",
            "input": INPUTS[task].format(u),
            "output": f"gold {u}",
            "profile": profile(task, u),
        }
        for u in range(users)
    ]


def write(path: Path, content: list[dict[str, Any]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(content), path)
    return path


def bomb(path: Path) -> Path:
    """Write a file of a few kilobytes with one profile of a million empty items."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    many = 1_000_000
    items = pa.StructArray.from_arrays([pa.nulls(many, pa.string())], ["content"])
    own = {"author": ["u"], "input": ["x"], "output": ["y"]}
    pq.write_table(pa.table({**own, "profile": pa.ListArray.from_arrays([0, many], items)}), path)
    return path


def everyone(data: Dataset) -> dict[str, Any]:
    return {user.id: user for user in (*data.adapt, *data.targets, *data.candidates)}


@pytest.mark.parametrize("task", USERS)
def test_the_public_files_are_read(tmp_path: Path, task: str) -> None:
    content = rows(task)
    write(tmp_path / "test-00000-of-00002.parquet", content[:5])
    write(tmp_path / "test-00001-of-00002.parquet", content[5:])
    write(tmp_path / "train-00000-of-00001.parquet", content[:1])
    data = read(tmp_path)
    assert (data.task, data.layout, data.defects) == (task, "longlamp", ())
    assert [len(users) for users in (data.adapt, data.targets, data.candidates)] == [2, 3, 3]
    user, row = everyone(data)["u6"], TASKS[task]
    assert [q.gold for q in user.queries] == ["gold 6"]
    assert len(user.history) == 4
    if task == "LongLaMP-abstract":
        assert [item.id for item in user.history] == ["p3", "p2", "p1", "p0"]  # by year
        assert user.queries[0].fields == {"title": "On 6 lamps", "items": "1. lamp\n2. oil"}
    if task == "LongLaMP-review":
        assert [item.id for item in user.history] == ["1", "2", "3", "4"]
        assert user.queries[0].fields == {
            "overall": "5.0",
            "description": 'A "new" lamp for 6',
            "summary": "Fine",
        }
    (asked,) = query_examples(row, user, k=1)
    assert asked.prompt.startswith("### User History:\n")
    assert len(history_examples(row, user)) == 7
    assert check(tmp_path).unseen_golds == 0


def test_a_file_alone_several_rows_of_a_user_and_defects(tmp_path: Path) -> None:
    content = rows("LongLaMP-topic")
    content.append(
        {**content[0], "input": "Generate the content for a reddit post Another", "output": "more"}
    )
    content[1]["input"] = "Write a post."
    content[2]["profile"][0]["content"] = None
    content[3]["profile"].append(content[3]["profile"][0])
    data = read(write(tmp_path / "val-00000-of-00001.parquet", content), "topic_writing")
    assert [q.gold for q in everyone(data)["u0"].queries] == ["gold 0", "more"]
    assert len(everyone(data)["u0"].history) == 4
    assert "u1" not in everyone(data)
    assert len(everyone(data)["u2"].history) == 3
    assert sorted(defect.problem for defect in data.defects) == [
        "its id occurs twice in the profile",
        "no content",
        "the question does not have LongLaMP-topic's form (its marker is missing or ambiguous)",
    ]


def test_an_abstract_without_a_year_is_reported_and_the_others_are_sorted(tmp_path: Path) -> None:
    content = rows("LongLaMP-abstract")
    content[0]["profile"][1]["year"] = None
    data = read(write(tmp_path / "test-0.parquet", content))
    (defect,) = data.defects
    assert "1 of 32 items have no year that can be read" in str(defect)
    assert [item.id for item in everyone(data)["u0"].history if item.id != "p1"] == ["p3", "p2", "p0"]
    assert [item.id for item in everyone(data)["u1"].history] == ["p3", "p2", "p1", "p0"]


def test_what_is_no_such_file_is_refused_in_one_line(tmp_path: Path) -> None:
    content = rows("LongLaMP-topic")
    path = write(tmp_path / "abstract" / "test-00000-of-00001.parquet", content)
    with pytest.raises(UserError, match="contains LongLaMP-topic, not LongLaMP-abstract"):
        read(path, "LongLaMP-abstract")
    for row in content:
        del row["output"]
    with pytest.raises(UserError, match="has no column output, so nothing can be scored"):
        read(write(tmp_path / "bare.parquet", content))
    with pytest.raises(UserError, match="expands to more than 64 MiB, far more than its size"):
        read(bomb(tmp_path / "bomb.parquet"))
    (tmp_path / "cut.parquet").write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UserError, match="damaged or truncated Parquet"):
        read(tmp_path / "cut.parquet", "LongLaMP-topic")
    items = tmp_path / "items.jsonl"
    items.write_text('{"user": "a", "input": "b", "output": "c"}\n')
    with pytest.raises(UserError, match="plain items cannot contain LongLaMP-review's overall, desc"):
        read(items, "LongLaMP-review")


def test_long_answers_by_default() -> None:
    plan = make_plan(tasks="LongLaMP-topic,LaMP-4")
    assert [plan.settings.get("max_new", task) for task in plan.tasks] == [512, 40]


def test_oppu_tweets(layouts, tmp_path: Path) -> None:
    files = layouts.oppu("LaMP-7")
    targets = files.pop("user_top_100_history.json")
    golds = [{"id": q["id"], "output": q["gold"]} for one in targets for q in one["query"]]
    for one in targets:
        for query in one["query"]:
            del query["gold"]
    files |= {
        "user_more_100_history.json": targets,
        "user_more_100_history_label.json": {"task": "LaMP_7", "golds": golds},
    }
    folder = layouts.write(tmp_path, files)
    data = read(folder)
    assert (data.task, data.layout, data.defects) == ("LaMP-7", "oppu", ())
    assert [user.id for user in data.targets] == ["t0", "t1"]
    (folder / "user_top_100_history.json").write_text("[]")
    with pytest.raises(UserError, match=r"user_top_100_history\.json: each holds the targets"):
        read(folder)


def test_an_older_lamp_2_is_the_news_task(layouts, tmp_path: Path) -> None:
    files = layouts.official("LaMP-2N")
    files["dev_outputs.json"]["task"] = "LaMP_2"
    folder = layouts.write(tmp_path, files)
    assert read(folder, "LaMP-2N").task == "LaMP-2N"
    with pytest.raises(UserError, match=r"the question does not have LaMP-2's form \(it has LaMP-2N's\)"):
        read(folder)
