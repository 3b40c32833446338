"""Whatever is wrong with the input: one line that says what, where and what to do, exit code 2, nothing left behind."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from prime_audit import load_run

Say = Callable[..., Any]
Make = Callable[[Path], Any]
TARGETS = "test_100/user_test_100.json"
CANDIDATES = "user_anchor_candidate.json"
ADAPT = "user_base_LLM.json"
QUESTION = "Generate a headline for the following article: the bridge"


@pytest.fixture
def folder(small_data: Callable[[str], Path], tmp_path: Path) -> Path:
    """Copy a good LaMP-2 data set, ready to be spoilt."""
    copy = tmp_path / "in" / "movie_tagging"
    shutil.copytree(small_data("LaMP-2"), copy)
    return copy


@pytest.fixture
def attempt(say: Say, small: Sequence[str], llama_folder: Path, tmp_path: Path) -> Say:
    """Run ``compare`` on a tiny model; later words win."""

    def go(*words: object, methods: str = "rag", model: object = llama_folder) -> Any:
        sets = [word for pair in small for word in ("--set", pair)]
        return say(
            *("compare", "--methods", methods, "--model", model, *sets, "--no-cache"),
            *("--out", tmp_path / "runs" / "out", *words),
        )

    return go


def one_line(said: Any, *parts: str) -> None:
    """Check the form of an error: its parts, one line, exit code 2, no traceback, nothing on standard output."""
    assert said.code == 2, said.err
    lines = [line for line in said.err.splitlines() if line.startswith("prime-audit: ")]
    assert len(lines) == 1, said.err
    assert said.err.splitlines()[-1] == lines[0]
    assert "Traceback" not in said.err
    assert said.out == ""
    for part in parts:
        assert part in lines[0], lines[0]


def edit(name: str, change: Callable[[Any], Any]) -> Make:
    def spoil(folder: Path) -> None:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        changed = change(content)
        (folder / name).write_text(json.dumps(content if changed is None else changed), encoding="utf-8")

    return spoil


def overwrite(name: str, content: bytes) -> Make:
    return lambda folder: (folder / name).write_bytes(content)


def cut_off(name: str) -> Make:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-200])


# -- whole files -------------------------------------------------------------------------------------------

WHOLE: dict[str, tuple[Make, tuple[str, ...]]] = {
    "missing file": (lambda f: (f / CANDIDATES).unlink(), (CANDIDATES, "missing: complete the folder")),
    "truncated JSON": (
        cut_off(CANDIDATES),
        (CANDIDATES, "line ", "broken or truncated JSON", "fetch or export"),
    ),
    "broken JSON": (overwrite(ADAPT, b'[{"user_id": }]'), (ADAPT, "line 1", "broken or truncated JSON")),
    "empty file": (overwrite(ADAPT, b""), (ADAPT, "broken or truncated JSON")),
    "wrong encoding": (
        overwrite(TARGETS, '[{"user_id": "zoë"}]'.encode("latin-1")),
        ("user_test_100.json", "not UTF-8 text at byte", "convert it to UTF-8"),
    ),
    "another type": (overwrite(ADAPT, b"{}"), (ADAPT, "holds an object, not a list of records")),
    "no candidates": (
        edit(CANDIDATES, lambda users: []),
        ("no candidate for sharing is left", "give more users"),
    ),
    "no targets": (edit(TARGETS, lambda users: []), ("ids do not match", "use files of the same split")),
    "outputs of other questions": (
        edit("test_100/user_test_100_label.json", lambda c: c["golds"][0].update(id="x")),
        ("user_test_100_label.json", "the ids do not match: 1 missing", "1 too many (first: x)"),
    ),
    "outputs of another task": (
        edit("test_100/user_test_100_label.json", lambda c: c.update(task="LaMP_4")),
        ("user_test_100_label.json", "holds LaMP-4, not LaMP-2"),
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
        ("x.jsonl: line 54: broken or truncated JSON", "fetch"),
    ),
    "truncated gzip": ("x.jsonl.gz", gzip.compress(table(ITEMS))[:-9], ("broken or truncated gzip file",)),
    "no gzip at all": ("x.csv.gz", b"user,input,output\n", ("broken or truncated gzip file",)),
    "truncated CSV": ("x.csv", b'user,input,output\nu,"half', ("x.csv: line 2: broken or truncated CSV",)),
    "CSV without its columns": ("x.csv", b"user,text,output\n", ("no column input", "rename the columns")),
    "broken Parquet": ("x.parquet", b"PAR1 and then nothing", ("broken or truncated Parquet",)),
    "wrong encoding": (
        "x.csv",
        "user,input,output\nu,é,e\n".encode("utf-16"),
        ("not UTF-8 text", "convert it"),
    ),
    "too few users": (
        "x.jsonl",
        table("\n".join(ITEMS.splitlines()[:6])),
        ("no target can be drawn", "give more"),
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
        ("user u005", "this user was there before"),
    ),
    "duplicate question": (
        ADAPT,
        lambda u: first(u)["query"][1].update(id=first(u)["query"][0]["id"]),
        ("u000, query u000-q00", "its id occurs twice in the data set"),
    ),
    "question without its marker": (
        ADAPT,
        lambda u: first(u)["query"][1].update(input="Which tag? a film"),
        ("u000, query u000-q01", "not of LaMP-2's form (its marker is missing"),
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


def official(folder: Path, spoil: Callable[[list[Any], list[Any]], Any]) -> Path:
    items = [{"id": str(i), "text": f"article {i}", "title": f"title {i}"} for i in range(4)]
    questions = [{"id": str(100 + n), "input": QUESTION, "profile": items} for n in range(12)]
    golds = [{"id": q["id"], "output": "a title"} for q in questions]
    spoil(questions, golds)
    folder.mkdir()
    (folder / "dev_questions.json").write_text(json.dumps(questions))
    (folder / "dev_outputs.json").write_text(json.dumps({"task": "LaMP_4", "golds": golds}))
    return folder


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


def outputs(path: Path, records: list[dict[str, object]], task: str = "LaMP_2") -> Path:
    path.write_text(json.dumps({"task": task, "golds": records}))
    return path


@pytest.mark.parametrize(
    ("preds", "parts"),
    [
        ([{"id": "1", "output": "comedy"}], ("the ids do not match", "1 missing (first: 2)")),
        (
            [{"id": "1", "output": "a"}, {"id": "3", "output": "b"}],
            ("1 missing (first: 2), 1 too many (first: 3)",),
        ),
        ([{"id": "1", "output": "a"}, {"id": "1", "output": "b"}], ("preds.json", "1: its id occurs twice")),
        (
            [{"id": "1", "output": None}, {"id": "2", "output": "b"}],
            ("preds.json", "output is null, not text"),
        ),
        ([{"output": "a"}, {"id": "2", "output": "b"}], ("preds.json", "no id")),
    ],
)
def test_predictions_that_do_not_fit(say: Say, tmp_path: Path, preds: Any, parts: tuple[str, ...]) -> None:
    golds = outputs(
        tmp_path / "golds.json", [{"id": "1", "output": "comedy"}, {"id": "2", "output": "action"}]
    )
    made = outputs(tmp_path / "preds.json", preds)
    one_line(say("score", "--task", "LaMP-2", "--golds", golds, "--preds", made), *parts)


def test_scoring_what_is_not_there_or_of_another_task(say: Say, tmp_path: Path) -> None:
    golds = outputs(tmp_path / "golds.json", [{"id": "1", "output": "comedy"}])
    none = tmp_path / "none.json"
    one_line(say("score", "--task", "LaMP-2", "--golds", golds, "--preds", none), f"{none}: no such file")
    one_line(say("score", "--task", "LaMP-4", "--golds", golds, "--preds", golds), "is of LaMP-2, not LaMP-4")
    one_line(say("score", "--task", "LaMP-6", "--golds", golds, "--preds", golds), "unknown task 'LaMP-6'")


# -- names and numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--methods", "prmie"), ("unknown method 'prmie': did you mean prime",)),
        (("--methods", "prime:alfa=1"), ("unknown parameter of prime 'alfa': did you mean alpha?",)),
        (("--methods", "prime:k=three"), ("prime:k=three: 'three' is no whole number",)),
        (("--methods", "prime:optimizer=adam"), ("unknown optimizer of prime 'adam': known: cma",)),
        (("--attacks", "losss"), ("unknown attack 'losss': did you mean loss",)),
        (("--tasks", "LaMP-8"), ("unknown task 'LaMP-8': did you mean",)),
        (("--preset", "papr"), ("unknown preset 'papr': did you mean paper?",)),
        (("--set", "clusterz=3"), ("unknown setting 'clusterz': did you mean clusters?",)),
        (("--set", "clusters=-1"), ("--set clusters=-1: give a finite number, at least 1",)),
        (("--device", "tpu"), ("--device tpu: give one of auto, cpu, cuda",)),
        (("--dtype", "int8"), ("--dtype int8: give one of",)),
        (("--seed", "one"), ("'one' is not a valid integer",)),
        (("--data", "/nowhere/at/all"), ("/nowhere/at/all: no such file or folder: check the path",)),
        (("--plugin", "/nowhere/x.py"), ("--plugin /nowhere/x.py: no such Python file",)),
        (("--model", "/nowhere/model"), ("--model /nowhere/model: no such model folder; give 'mini'",)),
    ],
)
def test_unknown_names_and_numbers(
    attempt: Say, tmp_path: Path, words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    one_line(attempt(*words), *parts)
    assert not (tmp_path / "runs").exists()


def test_fewer_sharers_than_k(attempt: Say, folder: Path, tmp_path: Path) -> None:
    for method in ("prime:k=5", "perpcs:n_sim=5"):
        said = attempt("--data", folder, methods=method)
        one_line(said, "LaMP-2: 5 sharers asked for, but the community has 4; lower k")
        assert not (tmp_path / "runs").exists()


def test_nobody_to_share(attempt: Say, folder: Path, tmp_path: Path) -> None:
    for method in ("prime", "perpcs"):
        said = attempt("--data", folder, "--set", "min_history=99", methods=method)
        one_line(said, "the community has 0", "more than 99 items")
        assert not (tmp_path / "runs").exists()
    # A method that needs no sharer still runs, and says why there is no AUC.
    assert attempt("--data", folder, "--set", "min_history=99", methods="rag,oppu").code == 0
    record = load_run(tmp_path / "runs" / "out").record
    assert {r.reason for r in record.results if r.metric == "auc"} == {"merges nobody: no members"}


def test_a_history_longer_than_the_context_works_with_a_warning(
    attempt: Say, folder: Path, tmp_path: Path
) -> None:
    edit(
        TARGETS, lambda us: [i.update(description="long " * 300) for u in us for i in u["profile"]] and None
    )(folder)
    assert attempt("--data", folder, methods="rag:k=3,oppu").code == 0
    (warning,) = [w for w in load_run(tmp_path / "runs" / "out").record.warnings if "context" in w]
    assert "lost their front" in warning


# -- models ------------------------------------------------------------------------------------------------


def test_a_model_without_a_supported_layer(
    attempt: Say, model_folder: Callable[[str], Path], folder: Path, tmp_path: Path
) -> None:
    said = attempt("--data", folder, model=model_folder("gpt2"))
    one_line(said, "no Linear layer named q_proj", "give a model with Linear attention projections (Llama")
    assert not (tmp_path / "runs").exists()


BROKEN: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "empty folder": (lambda m: [p.unlink() for p in m.iterdir()], ("the folder has no config.json",)),
    "no weights": (lambda m: (m / "model.safetensors").unlink(), ("cannot be loaded",)),
    "truncated weights": (
        lambda m: (m / "model.safetensors").write_bytes((m / "model.safetensors").read_bytes()[:5000]),
        ("cannot be loaded",),
    ),
    "broken configuration": (lambda m: (m / "config.json").write_text("{"), ("cannot be loaded",)),
    "no tokenizer": (lambda m: [p.unlink() for p in m.glob("tokenizer*")], ("tokenizer",)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_model_folder(
    attempt: Say, llama_folder: Path, folder: Path, tmp_path: Path, name: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(llama_folder, model)
    spoil, parts = BROKEN[name]
    spoil(model)
    one_line(attempt("--data", folder, model=model), str(model), *parts)
    assert not (tmp_path / "runs").exists()


def test_cuda_where_there_is_none(attempt: Say, folder: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    one_line(attempt("--data", folder, "--device", "cuda"), "cuda")
    assert not (tmp_path / "runs").exists()


# -- the output folder -------------------------------------------------------------------------------------


def test_an_output_folder_that_holds_another_run(attempt: Say, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "out"
    out.mkdir(parents=True)
    (out / "record.json").write_text("{}")
    one_line(attempt("--data", folder), f"output folder {out} holds another run: choose another --out")
    assert [p.name for p in out.iterdir()] == ["record.json"]


def test_an_output_folder_that_is_a_file(attempt: Say, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("mine")
    one_line(attempt("--data", folder), "cannot make output folder", "choose another --out")
    assert (tmp_path / "runs").read_text() == "mine"


@pytest.mark.skipif(
    not Path("/proc/version").exists(), reason="no folder here that is forbidden to root, too"
)
def test_an_output_folder_that_cannot_be_written(attempt: Say, folder: Path) -> None:
    one_line(
        attempt("--data", folder, "--out", "/proc/nothing/here"),
        "cannot make output folder /proc/nothing/here",
    )


def test_showing_what_is_no_run(say: Say, tmp_path: Path) -> None:
    one_line(say("show", tmp_path), "has no record.json: name the --out folder of a finished run")
    one_line(say("show", tmp_path / "none"), "cannot read", "name the --out folder of a run")
    for text, part in (
        ("{", "is broken"),
        ("[]", "is not a prime-audit file"),
        ("{}", "is not a prime-audit record"),
    ):
        (tmp_path / "record.json").write_text(text)
        one_line(say("show", tmp_path), str(tmp_path / "record.json"), part)


def test_writing_a_world_where_nothing_can_be_written(say: Say, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    one_line(say("data", "world", "--task", "LaMP-2", "--out", tmp_path / "file"), str(tmp_path / "file"))
    assert say("data", "world", "--task", "LaMP-2", "--out", tmp_path / "w").code == 0
    one_line(
        say("data", "world", "--task", "LaMP-2", "--out", tmp_path / "w"),
        "movie_tagging: exists and is not empty",
    )
    one_line(say("data", "world", "--task", "LaMP-9", "--out", tmp_path / "new"), "unknown task 'LaMP-9'")
    assert not (tmp_path / "new").exists()
