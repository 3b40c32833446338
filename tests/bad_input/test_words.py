"""Predictions that do not fit, unknown names, numbers that cannot be: one line, exit code 2, nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prime_audit import load_run

from .helpers import TARGETS, Say, edit, one_line


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
        (("--methods", "prime:k=three"), ("prime:k=three: 'three' is not a whole number",)),
        (("--methods", "prime:optimizer=adam"), ("prime:optimizer=adam: known: cma",)),
        (("--attacks", "losss"), ("unknown attack 'losss': did you mean loss",)),
        (("--tasks", "LaMP-8"), ("unknown task 'LaMP-8': known: LaMP-1",)),
        (("--preset", "papr"), ("unknown preset 'papr': did you mean paper?",)),
        (("--set", "clusterz=3"), ("unknown setting 'clusterz': did you mean clusters or clustered?",)),
        (("--set", "clusters=-1"), ("--set clusters=-1: give a finite number, at least 1",)),
        (("--device", "tpu"), ("--device tpu: give one of auto, cpu, cuda",)),
        (("--dtype", "int8"), ("--dtype int8: give one of",)),
        (("--seed", "one"), ("'one' is not a valid integer",)),
        (("--data", "/nowhere/at/all"), ("/nowhere/at/all: no such file or folder: check the path",)),
        (("--plugin", "/nowhere/x.py"), ("--plugin /nowhere/x.py: no such Python file",)),
        (("--model", "/nowhere/model"), ("--model /nowhere/model: no such model folder; pass 'mini'",)),
    ],
)
def test_unknown_names_and_numbers(
    attempt: Say, tmp_path: Path, words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    one_line(attempt(*words), *parts)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "words", [("--model",), ("--encoder",), ("--profiler",), ("--preset", "small", "--model")]
)
def test_a_models_path_is_checked_before_any_data(attempt: Say, words: tuple[str, ...]) -> None:
    said = attempt("--data", "/nowhere/at/all", "--tasks", "LaMP-2", *words, "/nowhere/model")
    one_line(said, f"{words[-1]} /nowhere/model: no such model folder")


def test_data_check_refuses_a_models_path_as_compare_does(say: Say, folder: Path) -> None:
    one_line(
        say("data", "check", folder, "--task", "LaMP-2", "--model", "/no/such"), "--model /no/such: no such"
    )


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
