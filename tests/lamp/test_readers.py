"""Each layout is read as it was written, and plain data gets seeded roles."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from prime_audit.errors import UserError
from prime_audit.lamp.data import Dataset, Item, Query
from prime_audit.lamp.readers import read, require_searchable, searchable
from prime_audit.lamp.tasks import TASKS


def roles(data: Dataset) -> list[list[str]]:
    return [[user.id for user in users] for users in (data.adapt, data.targets, data.candidates)]


@pytest.mark.parametrize("task", TASKS)
def test_perpcs(layouts, tmp_path: Path, task: str) -> None:
    data = read(layouts.write(tmp_path, layouts.perpcs(task)))
    assert (data.task, data.layout, data.source, data.defects) == (task, "perpcs", str(tmp_path), ())
    assert roles(data) == [["a0", "a1"], ["t0", "t1"], ["c0", "c1", "c2"]]
    first = data.targets[0]
    raw = layouts.item(task, "t0-0")
    assert first.history[0] == Item(raw.pop("id"), raw)
    fields = {name: f"{name} of t0-q0" for name in TASKS[task].query_fields}
    assert first.queries[0] == Query("t0-q0", fields, layouts.GOLDS[task])
    assert [user.profile for user in (*data.targets, *data.candidates)] == [
        "likes lamps",
        None,
        None,
        "likes chairs",
        None,
    ]
    assert searchable(data)


def test_perpcs_golds_may_be_in_the_label_file_only(layouts, tmp_path: Path) -> None:
    files = layouts.perpcs("LaMP-4")
    for user in files["test_100/user_test_100.json"]:
        for query in user["query"]:
            del query["gold"]
    data = read(layouts.write(tmp_path, files))
    assert {query.gold for user in data.targets for query in user.queries} == {"A headline"}


def test_perpcs_does_without_optional_files(layouts, tmp_path: Path) -> None:
    files = layouts.perpcs("LaMP-4")
    del files["profile-id2text.json"], files["test_100/user_test_100_label.json"]
    folder = layouts.write(tmp_path / "news_headline", files)
    assert read(folder).task == "LaMP-4"
    assert read(tmp_path).task == "LaMP-4"
    assert {user.profile for user in read(folder).targets} == {None}


def test_numbers_serve_as_ids_and_scores(layouts, tmp_path: Path) -> None:
    files = layouts.perpcs("LaMP-3")
    user = files["user_anchor_candidate.json"][0]
    user["user_id"], user["profile"][0]["id"], user["profile"][0]["score"] = 12, 7, 4
    files["user_anchor_candidate.json"][1]["profile"][0]["score"] = "4.0"
    data = read(layouts.write(tmp_path, files))
    assert data.defects == ()
    assert (data.candidates[0].id, data.candidates[0].history[0].id) == ("12", "7")
    assert [user.history[0].fields["score"] for user in data.candidates] == ["4", "4", "4"]


def test_oppu(layouts, tmp_path: Path) -> None:
    data = read(layouts.write(tmp_path, layouts.oppu("LaMP-5")), "scholarly_title")
    assert (data.layout, data.defects) == ("oppu", ())
    assert roles(data)[1] == ["t0", "t1"]
    assert [len(users) for users in roles(data)] == [2, 2, 4]
    people = {user.id: user.profile for user in (*data.adapt, *data.targets, *data.candidates)}
    assert (people["t0"], people["t1"], people["o3"]) == ("likes lamps", None, "likes chairs")


@pytest.mark.parametrize("task", TASKS)
def test_official(layouts, tmp_path: Path, task: str) -> None:
    data = read(layouts.write(tmp_path, layouts.official(task)))
    assert (data.task, data.layout, data.defects) == (task, "official", ())
    assert [len(users) for users in roles(data)] == [2, 3, 3]
    everyone = {user.id: user for user in (*data.adapt, *data.targets, *data.candidates)}
    assert everyone["5"].queries[0].gold == layouts.GOLDS[task]
    assert [item.id for item in everyone["5"].history] == ["5-0", "5-1", "5-2"]


def test_official_splits_prefer_dev_and_a_file_may_be_named(layouts, tmp_path: Path) -> None:
    dev, train = layouts.official("LaMP-4", 5), layouts.official("LaMP-4", 9)
    test = {"test_questions.json": train["dev_questions.json"]}
    files = {name.replace("dev", "train"): content for name, content in train.items()}
    folder = layouts.write(tmp_path, dev | files | test)
    assert sum(map(len, roles(read(folder)))) == 5
    assert sum(map(len, roles(read(folder / "train_questions.json")))) == 9
    with pytest.raises(UserError, match=r"LaMP publishes none of its test split: read dev_questions"):
        read(folder / "test_questions.json")


def test_official_records_of_one_user_are_one_user(layouts, tmp_path: Path) -> None:
    files = layouts.official("LaMP-4", 8)
    records = files["dev_questions.json"]
    for record in records[:2]:
        record["user_id"] = "anna"
    # The second record's profile: an item known already, a new one, and the answer to the first question.
    answer = {"id": "x", "text": "text of 0", "title": "A headline"}
    records[1]["profile"] = [records[0]["profile"][0], records[1]["profile"][0], answer]
    data = read(layouts.write(tmp_path, files))
    (anna,) = [user for user in (*data.adapt, *data.targets, *data.candidates) if user.id == "anna"]
    assert [query.id for query in anna.queries] == ["0", "1"]
    assert [item.id for item in anna.history] == ["0-0", "0-1", "0-2", "1-0"]
    (defect,) = data.defects
    assert str(defect) == (
        "dev_questions.json: user anna, item x: is also one of the user's questions (skipped)"
    )


def test_a_question_in_its_own_users_history_is_taken_out_of_it(layouts, tmp_path: Path) -> None:
    """In every layout, for targets and adapting users, with one record or more; the rest stays."""
    official = layouts.official("LaMP-4", 8)
    official["dev_questions.json"][3]["profile"][1]["text"] = "Text of 3!"  # its own question, other case
    perpcs = layouts.perpcs("LaMP-4")
    perpcs["test_100/user_test_100.json"][0]["profile"][1]["text"] = "text of t0-q1"
    perpcs["user_base_LLM.json"][0]["profile"][0]["text"] = "text of a0-q0"
    perpcs["user_anchor_candidate.json"][0]["profile"][0]["text"] = "text of t0-q1"  # another's question
    oppu = layouts.oppu("LaMP-4")
    oppu["user_top_100_history.json"][1]["profile"][2]["text"] = "text of t1-q0"
    found = {}
    for name, files in (("official", official), ("perpcs", perpcs), ("oppu", oppu)):
        path = layouts.write(tmp_path / name, files)
        data = read(path, "LaMP-4")
        users = {user.id: user for user in (*data.adapt, *data.targets, *data.candidates)}
        found[name] = {key: [i.id for i in user.history] for key, user in users.items()}
        assert {d.problem for d in data.defects} == {"is also one of the user's questions"}
        with pytest.raises(UserError, match="is also one of the user's questions"):
            read(path, "LaMP-4", strict=True)
    assert found["official"]["3"] == ["3-0", "3-2"]
    assert found["perpcs"]["t0"] == ["t0-0", "t0-2"]
    assert found["perpcs"]["a0"] == ["a0-1", "a0-2"]
    assert found["perpcs"]["c0"] == ["c0-0", "c0-1", "c0-2"]
    assert found["oppu"]["t1"] == ["t1-0", "t1-1"]


def test_plain_duplicates_of_a_question_leave_the_history(layouts, tmp_path: Path) -> None:
    rows = layouts.rows("LaMP-3")
    for row in rows:
        if row["user"] == "u0":
            row["input"] = "always the same"
        elif row["time"] in (2, 5):
            row["input"] = f"twice by {row['user']}"
    data = read(layouts.write_rows(tmp_path / "a.LaMP-3.jsonl", rows))
    asking = (*data.adapt, *data.targets)
    assert all(len(user.history) == 4 for user in asking if user.id != "u0")
    assert len(data.defects) >= len(asking)
    for seed in range(20):  # until u0 asks: nothing of her history is left
        data = read(tmp_path / "a.LaMP-3.jsonl", seed=seed)
        if "u0" not in {u.id for u in data.candidates}:
            break
    assert "u0" not in {u.id for u in (*data.adapt, *data.targets)}
    assert "a.LaMP-3.jsonl: user u0: no history (skipped)" in map(str, data.defects)


def test_where_duplicates_leave_no_target_the_error_says_so(layouts, tmp_path: Path) -> None:
    rows = [row | {"input": f"all alike of {row['user']}"} for row in layouts.rows("LaMP-3")]
    path = layouts.write_rows(
        tmp_path / "a.LaMP-3.jsonl", [{"user": "u0", "input": "", "output": "3"}, *rows]
    )
    with pytest.raises(UserError, match="no target is left") as fault:
        read(path)
    assert "line 1: input is empty (skipped); 25 of them: is also one of the user's questions" in str(
        fault.value
    )
    assert "\n" not in str(fault.value)


def test_a_tweet_that_is_the_answer_leaves_the_history(layouts, tmp_path: Path) -> None:
    files = layouts.perpcs("LaMP-7")
    files["test_100/user_test_100.json"][0]["profile"][0]["text"] = "A tweet"  # the gold of her questions
    data = read(layouts.write(tmp_path, files))
    assert [i.id for i in data.targets[0].history] == ["t0-1", "t0-2"]


def test_official_histories_are_sorted_by_date_where_every_item_has_one(layouts, tmp_path: Path) -> None:
    files = layouts.official("LaMP-4", 8)
    dated, partly = files["dev_questions.json"][:2]
    for item, date in zip(dated["profile"], ["2019-05-01", "2017-01-01", "2018"], strict=True):
        item["date"] = date
    partly["profile"][0]["date"] = "2020-01-01"
    data = read(layouts.write(tmp_path, files))
    everyone = {user.id: user for user in (*data.adapt, *data.targets, *data.candidates)}
    assert [item.id for item in everyone["0"].history] == ["0-1", "0-2", "0-0"]
    assert [item.id for item in everyone["1"].history] == ["1-0", "1-1", "1-2"]


def test_official_citation_data_cannot_be_searched(layouts, tmp_path: Path) -> None:
    files = layouts.official("LaMP-1")
    for record in files["dev_questions.json"]:
        for item in record["profile"]:
            del item["citation"]
    data = read(layouts.write(tmp_path, files))
    assert data.defects == ()
    assert not searchable(data)
    with pytest.raises(UserError, match="without citation cannot be trained on or searched") as caught:
        require_searchable(data)
    assert "\n" not in str(caught.value)


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("\n\n".join(map(json.dumps, rows)), encoding="utf-8-sig")


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: list[dict[str, object]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)


WRITERS = {"jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "jsonl.gz", "csv.gz"])
def test_plain_items(layouts, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"shop.LaMP-3.{form}"
    rows = layouts.rows("LaMP-3")
    rows[0]["input"] = 'two\nlines, "quoted"'
    WRITERS[form.removesuffix(".gz")](path, [{"id": f"r{n}", **row} for n, row in enumerate(rows)])
    if form.endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    data = read(path)
    assert (data.task, data.layout, data.defects) == ("LaMP-3", "items", ())
    assert [len(users) for users in roles(data)] == [2, 3, 3]
    target, candidate = data.targets[0], data.candidates[0]
    assert (len(target.history), len(candidate.history), len(candidate.queries)) == (5, 6, 0)
    user = int(target.id[1:])
    assert target.queries == (Query(f"{target.id}/r{40 + user}", {"text": f"text 5 of {user}"}, "4"),)
    everyone = {user.id: user for user in (*data.adapt, *data.targets, *data.candidates)}
    assert everyone["u0"].history[0] == Item("r0", {"text": 'two\nlines, "quoted"', "score": "4"})


def test_plain_items_without_ids_are_called_by_their_line(layouts, tmp_path: Path) -> None:
    data = read(layouts.write_rows(tmp_path / "a.jsonl", layouts.rows("LaMP-2")), "LaMP-2")
    assert {item.id for user in data.candidates for item in user.history if user.id == "u0"} <= {
        str(line) for line in range(1, 49, 8)
    }


def test_a_tweets_neutral_wording_is_shown_by_questions_only(layouts, tmp_path: Path) -> None:
    data = read(layouts.write_rows(tmp_path / "tweets.LaMP-7.jsonl", layouts.rows("LaMP-7")))
    target = data.targets[0]
    assert all(item.fields["text"].startswith("tweet ") for item in target.history)
    assert target.queries[0].fields["text"].startswith("text 5 of ")
    assert target.queries[0].gold.startswith("tweet 5 of ")


def test_questions_are_a_fifth_of_the_history_and_ten_at_most(layouts, tmp_path: Path) -> None:
    rows = [
        row for row in layouts.rows("LaMP-4", users=6, items=80) if row["user"] > "u2" or row["time"] < 20
    ]
    path = layouts.write_rows(tmp_path / "a.LaMP-4.jsonl", rows)
    asking = [user for data in (read(path), read(path, seed=1)) for user in (*data.adapt, *data.targets)]
    assert {(user.id > "u2", len(user.queries), len(user.history)) for user in asking} == {
        (True, 10, 70),
        (False, 4, 16),
    }
    assert {len(user.queries) for user in read(path, queries=0).targets} == {1}


def test_users_with_little_are_never_targets_nor_adapt(layouts, tmp_path: Path) -> None:
    rows = layouts.rows("LaMP-4", users=6, items=6)
    rows += [{"user": f"short{n}", "input": "x", "output": "y"} for n in range(30)]
    data = read(layouts.write_rows(tmp_path / "a.LaMP-4.jsonl", rows))
    assert not any(user.id.startswith("short") for user in (*data.adapt, *data.targets))
    assert [len(users) for users in roles(data)] == [2, 2, 32]


def test_roles_follow_the_seed_and_not_the_order_of_the_file(layouts, tmp_path: Path) -> None:
    rows = layouts.rows("LaMP-4", users=30)
    path = layouts.write_rows(tmp_path / "a.LaMP-4.jsonl", rows)
    other = layouts.write_rows(tmp_path / "b.LaMP-4.jsonl", sorted(rows, key=lambda row: row["user"]))
    assert read(path).sha256 == read(path).sha256
    assert [set(ids) for ids in roles(read(path))] == [set(ids) for ids in roles(read(other))]
    assert read(path, seed=1).split_sha256 != read(path).split_sha256
    assert [len(ids) for ids in roles(read(path))] == [8, 12, 10]
    assert [len(ids) for ids in roles(read(path, targets=3, adapt_share=0.1))] == [3, 3, 24]
    # With fewer targets the same people adapt: a recipe that is tuned on them is tuned on no target.
    (adapt, targets, _), (same, few, _) = roles(read(path)), roles(read(path, targets=3))
    assert set(same) == set(adapt)
    assert set(few) < set(targets)


def test_a_folder_of_plain_files_or_of_tasks(layouts, tmp_path: Path) -> None:
    layouts.write_rows(tmp_path / "a.LaMP-4.jsonl", layouts.rows("LaMP-4"))
    layouts.write_rows(tmp_path / "b.LaMP-3.jsonl", layouts.rows("LaMP-3"))
    layouts.write(tmp_path / "LaMP_2", layouts.official("LaMP-2"))
    assert read(tmp_path, "LaMP-3").task == "LaMP-3"
    assert read(tmp_path, "movie_tagging").layout == "official"
    with pytest.raises(UserError, match="several data sets"):
        read(tmp_path)
    with pytest.raises(UserError, match="no data of LaMP-7"):
        read(tmp_path, "LaMP-7")


def test_profile_texts_of_numbered_users(layouts, tmp_path: Path) -> None:
    files = layouts.perpcs("LaMP-4")
    files["user_anchor_candidate.json"][0]["user_id"] = 5.0
    files["profile-id2text.json"] = {"5.0": "likes lamps", "7": "nobody's"}
    data = read(layouts.write(tmp_path, files))
    assert (data.candidates[0].id, data.candidates[0].profile) == ("5", "likes lamps")
    assert data.notes == ("profile-id2text.json: 1 of 2 profile texts fit no user (the first is of user 7)",)


def test_where_records_are_of_another_task_the_error_says_so(layouts, tmp_path: Path) -> None:
    path = layouts.write_rows(tmp_path / "a.jsonl", layouts.rows("LaMP-2N"))
    with pytest.raises(UserError, match=r": check --task: they are labels of LaMP-2N$"):
        read(path, "LaMP-2")
    files = layouts.official("LaMP-2")
    files["dev_outputs.json"]["task"] = "LaMP_2N"
    with pytest.raises(UserError, match=r"check --task and the task in dev_outputs.json: .* of LaMP-2$"):
        read(layouts.write(tmp_path / "official", files))
    with pytest.raises(UserError, match="add more users"):
        read(layouts.write_rows(path, [*layouts.rows("LaMP-2", 1), *layouts.rows("LaMP-2N", 1, 1)]), "LaMP-2")


def test_a_folders_only_table_is_of_the_task_that_is_passed(layouts, tmp_path: Path) -> None:
    for name in ("a.NDJSON", "a.JSON"):
        folder = tmp_path / name[2:]
        folder.mkdir()
        path = layouts.write_rows(folder / name, layouts.rows("LaMP-4"))
        assert read(folder, "LaMP-4").sha256 == read(path, "LaMP-4").sha256
    with pytest.raises(UserError, match=r"pass a.JSON itself if it has plain items"):
        read(folder)
    layouts.write_rows(folder / "b.csv", [])
    with pytest.raises(UserError, match=r"several data sets of LaMP-4 \(a.JSON, b.csv\): pass one of them$"):
        read(folder, "LaMP-4")


def test_files_of_layouts_under_other_spellings(layouts, tmp_path: Path) -> None:
    files = layouts.official("LaMP-4")
    due = read(layouts.write(tmp_path / "due", files)).sha256
    assert (
        read(layouts.write(tmp_path / "a", {n.replace(".json", ".JSON"): f for n, f in files.items()})).sha256
        == due
    )
    for path in (tmp_path / "due").iterdir():
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert read(tmp_path / "due" / "dev_questions.json.gz").sha256 == read(tmp_path / "due").sha256 == due
    with pytest.raises(UserError, match="is one file of the official layout: pass its folder"):
        read(tmp_path / "due" / "dev_outputs.json.gz", "LaMP-4")
    own = layouts.write(tmp_path / "p", layouts.perpcs("LaMP-4"))
    with pytest.raises(UserError, match=f"is one file of the Per-Pcs layout: pass its folder, {own}$"):
        read(own / "test_100" / "user_test_100.json", "LaMP-4")
    (own / "user_base_LLM.json").rename(own / "user_base_llm.JSON")
    with pytest.raises(
        UserError, match=r"the Per-Pcs layout has it as user_base_LLM.json: unpack and rename it"
    ):
        read(own)


def test_emails_are_not_public(layouts, tmp_path: Path) -> None:
    files = {"test_questions.json": layouts.official("LaMP-4")["dev_questions.json"]}
    folder = layouts.write(tmp_path / "LaMP-6", files)
    for path in (folder, tmp_path):
        with pytest.raises(UserError, match="not public"):
            read(path)
