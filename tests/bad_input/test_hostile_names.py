"""Names that would like to be paths, markup or commands to a terminal: a run with them ends well, and does no harm."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt  # rich brings it

from prime_audit import load_run
from prime_audit.authoring.scaffold import new_plugin
from prime_audit.boards.filed import folder_of
from prime_audit.errors import UserError, unknown
from prime_audit.games.exam.stored import read_exam
from prime_audit.io.markup import csv_text, visible
from prime_audit.io.terminal import error_line

from .helpers import ADAPT, CANDIDATES, TARGETS, Say, edit, one_line

NAMES = (
    *("../../../climbed", "/tmp/climbed", "a\x00b", "y" * 10_240, "😀👩\u200d👩\u200d👧", "\u202egpj.exe"),
    *("<script>alert(1)</script>", "\x1b[2J\x1b]0;owned\x07", "two\nlines", "=cmd|' /C calc'!A0"),
    *("$(touch climbed)", "`|\\"),
)
"""Ids of the twelve users, and of their items and questions."""
PLAIN = re.compile(r"[A-Za-z0-9._=,+-]{1,100}")


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.handlers: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def require_harmless(folder: Path) -> None:
    """Check what a run's folder shows: no script but the page's own three, nothing that steers a terminal."""
    tags = Tags((folder / "index.html").read_text(encoding="utf-8"))
    assert tags.found.count("script") == 3
    assert not tags.handlers
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table")
    shown = Tags(rendered.render((folder / "table.md").read_text(encoding="utf-8")))
    assert not {"script", "iframe"} & {*shown.found}
    assert (shown.found.count("img"), shown.found.count("h1")) == (1, 1)
    assert not shown.handlers
    for name in ("table.md", "table.csv"):
        text = (folder / name).read_text(encoding="utf-8")
        assert text == visible(text), name
    assert "<script" not in (folder / "frontier.svg").read_text(encoding="utf-8")


def renamed(folder: Path) -> None:
    """Call the users of a small data set, their items and questions by hostile names."""
    names = iter(NAMES)

    def rename(users: list[Any]) -> None:
        for user in users:
            user["user_id"] = name = next(names)
            for n, record in enumerate([*user["profile"], *user.get("query", [])]):
                record["id"] = f"{name}{n}"

    for file in (TARGETS, ADAPT, CANDIDATES):
        edit(file, rename)(folder)
    (folder / "profile-id2text.json").unlink(missing_ok=True)
    (folder / "test_100" / "user_test_100_label.json").unlink()


@pytest.fixture
def hostile(folder: Path) -> Path:
    renamed(folder)
    return folder


def test_a_run_over_hostile_ids_is_a_run_like_any(
    say: Say, small: Sequence[str], llama_folder: Path, hostile: Path, tmp_path: Path
) -> None:
    outside = sorted(hostile.rglob("*"))
    sets = [word for pair in small for word in ("--set", pair)]
    words = [
        "--data",
        hostile,
        "--tasks",
        "LaMP-2",
        "--methods",
        "rag,prime",
        "--games",
        "paper,heldout,target",
    ]
    room = tmp_path / "room"
    said = say(
        *("compare", *words, "--model", llama_folder, *sets, "--cache", room / "cache", "--out", room / "out")
    )
    assert said.code == 0, said.err
    assert said.out == visible(said.out)
    assert said.err == visible(said.err)
    assert sorted(hostile.rglob("*")) == outside
    made = [path for path in tmp_path.rglob("*") if path not in outside]
    assert all(PLAIN.fullmatch(part) for path in made for part in path.relative_to(tmp_path).parts)
    assert {path.relative_to(tmp_path).parts[0] for path in made} == {"room", "in"}
    assert not Path("climbed").exists()
    require_harmless(room / "out")
    run = load_run(room / "out")
    assert {row["target"] for row in run.predictions()} <= {name.strip() for name in NAMES}
    assert {row["sharer"] for row in run.scores()} - {None} <= {name.strip() for name in NAMES}
    again = say("attack", room / "out", "--attacks", "loss_mean", "--no-cache")
    assert again.code == 0, again.err
    assert again.out == visible(again.out)


def test_defects_of_hostile_records_steer_no_terminal(say: Say, hostile: Path) -> None:
    edit(
        CANDIDATES,
        lambda users: [item.update(tag="\x1b[31mred") for u in users for item in u["profile"][:1]] and None,
    )(hostile)
    said = say("data", "check", hostile, "--task", "LaMP-2")
    assert said.code == 0
    assert said.out == visible(said.out)
    assert max(map(len, said.out.splitlines())) < 400
    # Each of them, and one line that counts them.
    assert len([line for line in said.out.splitlines() if "not one of the labels" in line]) == 7 + 1
    strict = say("data", "check", hostile, "--task", "LaMP-2", "--strict")
    assert strict.code == 2
    assert strict.err.count("\n") == 1
    assert strict.err == visible(strict.err)
    listed = json.loads(say("data", "check", hostile, "--task", "LaMP-2", "--json").out)
    assert len(listed["defects"]) == 7


def test_prompts_of_a_hostile_user_steer_no_terminal(say: Say, hostile: Path) -> None:
    users = json.loads((hostile / TARGETS).read_text())
    words = ("prompts", "--data", hostile, "--task", "LaMP-2", "--method", "rag", "--user")
    for user in users:
        if "\x00" in user["user_id"]:
            continue  # no command line holds one
        said = say(*words, user["user_id"])
        assert said.code == 0, said.err
        assert said.out == visible(said.out)
        json.loads(say(*words, user["user_id"], "--json").out)
    one_line(say(*words, "\x1b[2Jnobody"), "nobody")


@pytest.mark.parametrize("name", NAMES[:2] + NAMES[3:])
def test_a_hostile_word_is_shown_as_what_it_is(attempt: Say, tmp_path: Path, name: str) -> None:
    for word in (
        "--methods",
        "--attacks",
        "--tasks",
        "--games",
        "--set",
        "--preset",
        "--against",
        "--sharer-dp",
    ):
        said = attempt(word, name)
        one_line(said)
        assert said.err == visible(said.err)
        assert len(said.err) < 2_200
    assert not (tmp_path / "runs").exists()


PLUGIN = '''"""Says <b>nothing</b>\x1b[31m."""
from prime_audit.plugins import attack
@attack(source="x", needs=())
def f(s): pass
'''


@pytest.mark.parametrize("name", ["\x1b[31mred", "two\nlines", "<script>", "😀", "..", "x" * 200, "[bold]"])
def test_a_plugin_with_a_hostile_name_is_listed_harmlessly(say: Say, tmp_path: Path, name: str) -> None:
    file = tmp_path / f"{name}.py"
    file.write_text(PLUGIN, encoding="utf-8")
    said = say("list", "attacks", "--plugin", file)
    assert said.code == 0, said.err
    assert said.out == visible(said.out)
    rows = json.loads(say("list", "attacks", "--plugin", file, "--json").out)
    assert file.stem in {row["attack"] for row in rows}


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "", "A", "x\n", "x\x00", "import", "test_x", "x" * 5 + "/../y", "é"]
)
def test_a_new_plugin_takes_plain_names_alone(say: Say, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="use small letters"):
        new_plugin("attack", name, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@given(st.text() | st.sampled_from(["../../x", "/etc/passwd", "..", ".", "~", "CON", "a\\..\\b"]))
def test_no_label_becomes_a_path(label: str) -> None:
    folder = folder_of(label)
    assert PLAIN.fullmatch(folder)
    assert folder.strip(".")
    assert Path(folder).parts == (folder,)


@given(st.text(), st.text())
def test_two_labels_share_no_folder(one: str, other: str) -> None:
    assert (folder_of(one) == folder_of(other)) is (one == other)


@pytest.mark.parametrize("task", ["../../x", "LaMP-2/../../x", "/etc/passwd", "LaMP-2\x00", 7, None])
def test_a_task_that_a_record_names_is_no_path(tmp_path: Path, task: Any) -> None:
    with pytest.raises(UserError, match="unknown task of stored signals"):
        read_exam(tmp_path, task)


# -- the two ways out --------------------------------------------------------------------------------------


@given(st.text())
def test_what_is_printed_steers_nothing(text: str) -> None:
    shown = visible(text)
    assert all(c in "\t\n" or c.isprintable() or ord(c) > 0x9F for c in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")
    shown.encode()  # half a character would end the program
    assert visible(shown) == shown
    written = json.dumps({"text": text}, ensure_ascii=False)
    assert json.loads(visible(written)) == {"text": text}  # JSON stays the same JSON


@given(st.text())
def test_an_error_is_one_line_of_bounded_length(text: str) -> None:
    line = error_line(text)
    assert len(line.splitlines()) <= 1
    assert len(error_line(text * 500)) < 2_010
    assert len(str(unknown("thing", text * 500, ["a", "b"]))) < 800


@given(st.text())
def test_no_cell_of_a_table_is_a_formula(text: str) -> None:
    cell = csv_text(text)
    assert cell is not None
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert cell in (visible(text), f"'{visible(text)}")


def test_markup_of_rich_in_names_is_text(say: Say, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("attack,score,member\n[red]x[/red],1,1\n[red]x[/red],0,0\n")
    said = say("stats", tmp_path / "s.csv")
    assert said.code == 0
    assert "[red]x[/red]" in said.out
    shutil.rmtree(tmp_path)
