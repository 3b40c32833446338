"""``prime-audit prompts``: what it shows is what is sent, and a note says where a run would send something else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prime_audit.lamp.bm25 import Index
from prime_audit.lamp.prompts import item_text
from prime_audit.lamp.tasks import TASKS
from prime_audit.lamp.world.world import world

Say = Callable[..., Any]

USER = "### User Instruction:\n"
TAG = (
    "Which tag does this movie relate to among the following tags? Just answer with the tag name without "
    "further explanation. tags: [sci-fi, based on a book, comedy, action, twist ending, dystopia, dark comedy, "
    "classic, psychology, fantasy, romance, thought-provoking, social commentary, violence, true story]"
)


def told(
    say: Say, method: str, task: str = "LaMP-2", user: str = "u012", **more: str
) -> list[dict[str, str]]:
    words = [word for key, value in more.items() for word in (f"--{key}", value)]
    said = say("prompts", "--task", task, "--user", user, "--method", method, *words, "--json")
    assert said.code == 0, said.err
    rows = json.loads(said.out)
    assert all(set(row) == {"id", "prompt", "gold"} for row in rows)
    return list(rows)


def test_prompts_of_questions(say: Say) -> None:
    user = next(u for u in world("LaMP-2").targets if u.id == "u012")
    plain = [f"{USER}{TAG}\nDescription: {q.fields['description']} Tag:" for q in user.queries]
    rows = told(say, "np")
    assert [r["prompt"] for r in rows] == plain
    assert [r["id"] for r in rows] == [q.id for q in user.queries]
    assert [r["gold"] for r in rows] == [q.gold for q in user.queries]
    for method, k, profiled in (
        ("rag", 1, False),
        ("rag:k=2", 2, False),
        ("pag", 0, True),
        ("prime+rag", 1, False),
        ("prime+pag", 1, True),
        ("pag:k=2", 2, True),
        ("perpcs+rag:k=3", 3, False),
    ):
        lines = [f"Description: {i.fields['description']} Tag: {i.fields['tag']}\n" for i in user.history]
        index = Index(lines)
        for row, query, end in zip(told(say, method), user.queries, plain, strict=True):
            ask = TAG.partition(" tags: [")[0] + f"\n Description: {query.fields['description']}"
            best = "".join(lines[i] for i in index.top(ask, k)) if k else ""
            head, _, rest = row["prompt"].partition("### User History:\n" if k else USER)
            assert (("### User History:\n" if k else USER) + rest) == (
                f"### User History:\n{best}\n\n{end}" if k else end
            )
            if profiled:
                assert head.startswith("### User Profile:\nmost popular tag: ")
                assert head.endswith("\n\n")
                assert head.count("\n") == 3
            else:
                assert head == ""


def test_prompts_of_the_history_do_not_depend_on_the_method(say: Say) -> None:
    user = next(u for u in world("LaMP-2").targets if u.id == "u012")
    rows = told(say, "np", split="history")
    assert rows == told(say, "prime+pag", split="history")
    assert len(rows) == 2 * len(user.history) - 1  # each item but the first has a second example
    for number, item in enumerate(user.history):
        end = f"{USER}{TAG}\nDescription: {item.fields['description']} Tag:"
        own = [r for r in rows if f"/{item.id}/" in r["id"]]
        assert own[0]["prompt"] == end
        assert {r["gold"] for r in own} == {item.fields["tag"]}
        if number:
            assert own[1]["prompt"].startswith("### User Profile:\nmost popular tag: ")
            assert own[1]["prompt"].endswith(f"\n\n\n{end}")
            shown = own[1]["prompt"].partition("### User History:\n")[2].partition("\n")[0] + "\n"
            assert shown in {item_text(TASKS["LaMP-2"], earlier) for earlier in user.history[:number]}


@pytest.mark.parametrize(
    ("task", "start", "end"),
    [
        ("LaMP-1", "Paper Title: ", " Reference:"),
        ("LaMP-5", "Generate a title for the following abstract of a paper.\n abstract: ", " title:"),
        ("LaMP-7", "Tweet:", "Tweet:"),
    ],
)
def test_training_prompts_that_differ_from_the_questions(say: Say, task: str, start: str, end: str) -> None:
    rows = told(say, "np", task=task, split="history")
    plain = [r for r in rows if r["id"].endswith("/plain")]
    assert all(r["prompt"].startswith(start) and r["prompt"].endswith(end) for r in plain)
    assert all(r["gold"] and r["gold"] == r["gold"].strip() for r in rows)
    assert len(plain) == len(rows) or task == "LaMP-5"


def test_prompts_use_the_datas_own_profile_texts(
    say: Say, small_data: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "movie_tagging"
    shutil.copytree(small_data("LaMP-2"), folder)
    (folder / "profile-id2text.json").write_text(json.dumps({"u002": "likes old films"}))
    said = say("prompts", "--data", folder, "--user", "u002", "--method", "pag", "--json")
    assert all(
        r["prompt"].startswith("### User Profile:\nlikes old films\n\n###") for r in json.loads(said.out)
    )
    plain = say("prompts", "--data", folder, "--user", "u002", "--method", "pag")
    assert "likes old films" in plain.out


def test_prompts_of_a_user_who_adapts_the_base(say: Say) -> None:
    user = next(u for u in world("LaMP-2").adapt if u.id == "u003")
    rows = told(say, "np", user="u003")
    assert rows == told(say, "rag:k=3", user="u003")  # one base serves every method
    assert [(r["id"], r["gold"]) for r in rows] == [(q.id, q.gold) for q in user.queries]
    for row in rows:
        assert row["prompt"].startswith("### User Profile:\nmost popular tag: ")
        assert row["prompt"].count("Description: ") == 2  # the best item, and the question
    refused = say("prompts", "--task", "LaMP-2", "--user", "u040", "--method", "np")
    assert (refused.code, "unknown target or adapting user 'u040'" in refused.err) == (
        2,
        True,
    )  # she may share, and asks nothing


def test_notes_say_where_a_run_sends_something_else(say: Say) -> None:
    words = ("prompts", "--task", "LaMP-2", "--user", "u012", "--json")
    assert say(*words, "--method", "pag", "--preset", "laptop").err == ""
    paper = ("--preset", "paper")
    written = say(*words, "--method", "pag", *paper)
    assert "note: profile texts are" in written.err
    assert "mistralai/Mistral-7B-Instruct-v0.2 writes them" in written.err
    assert len(json.loads(written.out)) == 9
    assert say(*words, "--method", "rag", *paper).err == ""  # no profile is shown
    short = say(*words, "--method", "rag", "--preset", "laptop", "--set", "max_items=20")
    left_out = sum(
        max(0, len(u.history) - 20)
        for users in (world("LaMP-2").adapt, world("LaMP-2").targets, world("LaMP-2").candidates)
        for u in users
    )
    assert short.err.startswith(f"note: {left_out} older history items of all users are left out")
    assert "(max_items = 20)" in short.err


def test_the_preset_is_that_of_the_runs_model(say: Say, llama_folder: Path) -> None:
    words = ("prompts", "--task", "LaMP-2", "--user", "u012", "--method", "rag", "--json")
    assert say(*words).err.startswith("note: preset laptop, which is sized for the model mini")
    found = say(*words, "--model", llama_folder).err
    assert found.startswith("note: preset small, which is sized for real models")
    assert found == say(*words, "--model", llama_folder, "--preset", "auto").err


def test_a_parameter_may_be_set(say: Say) -> None:
    words = ("prompts", "--task", "LaMP-2", "--user", "u012", "--method", "rag", "--json", "--set")
    for key, k in (("rag.k=3", 3), ("LaMP-2.rag.k=2", 2), ("LaMP-4.rag.k=2", 1)):
        rows = json.loads(say(*words, key).out)
        assert {r["prompt"].count("Description: ") for r in rows} == {k + 1}
