"""A board whose tasks have data, settings and seeds of their own."""

from __future__ import annotations

import csv
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prime_audit.boards.config import read_board
from prime_audit.commands.compare import command as compare
from prime_audit.errors import UserError
from prime_audit.record import Record

from .commands import add, check
from .invented import BOARD, board_at, run_at, run_record

OWN = """
[run.tasks.LaMP-3]
data = "ratings.jsonl"
seeds = [2]
[run.tasks.LaMP-3.set]
targets = 3
"prime.budget" = 7
"""
APART = BOARD.replace("prime-audit compare --seed {seed}", "prime-audit compare {run} --seed {seed}") + OWN


def ratings(seed: int = 2, **given: Any) -> Record:
    """Make a run of LaMP-3 on its own data, with its own settings."""
    due = {"data": "/home/me/ratings.jsonl", "overrides": ["targets=3", "prime.budget=7"]}
    return run_record(seed, tasks=("LaMP-3",), given={**due, **given})


def tags(seed: int) -> Record:
    return run_record(seed, tasks=("LaMP-2",))


def test_each_task_has_its_own_data_settings_and_seeds(tmp_path: Path) -> None:
    home = tmp_path / "boards"
    board_at(home, APART)
    for number, record in enumerate([tags(0), tags(1), ratings()]):
        done = add(home, run_at(tmp_path / f"{number}", record))
        assert done.exit_code == 0, done.exception
    assert check(home).exit_code == 0
    with (home / "toy" / "table.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["method"] == "prime" and not row["game"]]
    assert {row["task"]: len(row["records"].split()) for row in rows} == {"LaMP-2": 2, "LaMP-3": 1}
    assert all(row["value"] for row in rows)


def test_one_run_may_have_a_setting_for_one_of_its_tasks(tmp_path: Path) -> None:
    home = tmp_path / "boards"
    board_at(home, BOARD.replace("targets = 4", 'targets = 4\n"LaMP-3.targets" = 3'))
    overrides = ["targets=4", "LaMP-3.targets=3"]
    done = add(home, run_at(tmp_path / "run", run_record(0, given={"overrides": overrides})))
    assert done.exit_code == 0, done.exception
    done = add(home, run_at(tmp_path / "other", run_record(1)))
    assert "LaMP-3.targets is 4, the board's 3" in str(done.exception)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (lambda: ratings(data="world"), 'data is "world", the board\'s is "ratings.jsonl"'),
        (lambda: ratings(overrides=["targets=4", "prime.budget=7"]), "LaMP-3.targets is 4, the board's 3"),
        (lambda: ratings(overrides=["targets=3"]), "LaMP-3.prime.budget is 15, the board's 7"),
        (lambda: ratings(0), "seed 0 is not among those of LaMP-3"),
        (lambda: run_record(0, tasks=("LaMP-2",), given={"overrides": ["targets=3"]}), "LaMP-2.targets is 3"),
    ],
)
def test_what_another_task_may_is_refused(tmp_path: Path, record: Any, message: str) -> None:
    home = tmp_path / "boards"
    board_at(home, APART)
    done = add(home, run_at(tmp_path / "run", record()))
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)


def test_the_command_of_a_task_is_one_that_the_board_takes(tmp_path: Path) -> None:
    """Each command has all that the board requires, and no more."""
    commands = read_board(board_at(tmp_path, APART)).commands()
    assert len(commands) == 2
    for task, command in zip(("LaMP-2", "LaMP-3"), commands, strict=True):
        words = shlex.split(command.replace("{seed}", "0"))
        options = compare.make_context("compare", words[2:]).params
        assert (options["tasks"], options["games"], options["attacks"]) == (task, "paper", "loss")
        assert options["data"] == ("ratings.jsonl" if task == "LaMP-3" else "world")
        assert options["overrides"] == (
            ("targets=3", "prime.budget=7") if task == "LaMP-3" else ("targets=4",)
        )


@pytest.mark.parametrize(
    "record",
    [
        lambda: ratings(data="world"),
        lambda: ratings(0, overrides=["targets=3"]),
        lambda: ratings(overrides=["targets=3", "prime.budget=7", "prime.alpha=9"]),
        lambda: replace(ratings(), spec=ratings().spec | {"games": []}),
    ],
)
def test_a_refusal_ends_with_a_command_whose_run_is_taken(tmp_path: Path, record: Any) -> None:
    home = tmp_path / "boards"
    board_at(home, APART)
    said = str(add(home, run_at(tmp_path / "refused", record())).exception)
    assert "\n" not in said
    words = shlex.split(said.partition("the board's command is: ")[2])
    options = compare.make_context("compare", words[2:]).params
    given = {
        key: options[key] for key in ("methods", "data", "overrides", "games", "attacks", "preset", "model")
    }
    taken = run_record(options["seed"], tasks=(options["tasks"],), given=given)
    done = add(home, run_at(tmp_path / "taken", taken))
    assert done.exit_code == 0, done.exception


def test_a_command_keeps_an_option_that_is_empty(tmp_path: Path) -> None:
    """No encoder is not the preset's encoder; an empty list is nothing."""
    text = APART.replace('preset = "laptop"', 'preset = "laptop"\nencoder = ""')
    text = text.replace('games = ["paper"]', "games = []")
    (words, *_) = (shlex.split(c) for c in read_board(board_at(tmp_path, text)).commands())
    assert words[words.index("--encoder") + 1] == ""
    assert "--games" not in words


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[run.tasks.LaMP-3]", "[run.tasks.LaMP-4]", "run.tasks: unknown task 'LaMP-4'"),
        ("seeds = [2]", "seeds = []", "run.tasks.LaMP-3.seeds is no list of seeds"),
        ("seeds = [2]", "seeds = [2, 2]", "names a seed more than once"),
        ("seeds = [2]", "sees = [2]", "run.tasks.LaMP-3: unknown entry 'sees': did you mean seeds"),
        ("[run.tasks.LaMP-3.set]\ntargets = 3", "set = 3", "run.tasks.LaMP-3.set is not a table"),
        (OWN, "tasks = 3", "run.tasks is not a table"),
    ],
)
def test_a_broken_table_of_a_task_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = APART.replace("[run.set]\ntargets = 4\n", "") if old == OWN else APART
    with pytest.raises(UserError) as caught:
        read_board(board_at(tmp_path, text.replace(old, new, 1)))
    assert message in str(caught.value)
