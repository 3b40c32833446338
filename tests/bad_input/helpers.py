"""What the tests of bad input share: how a good input is spoilt, and what an error must look like."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Say = Callable[..., Any]
Make = Callable[[Path], Any]
TARGETS = "test_100/user_test_100.json"
CANDIDATES = "user_anchor_candidate.json"
ADAPT = "user_base_LLM.json"
QUESTION = "Generate a headline for the following article: the bridge"


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


def official(folder: Path, spoil: Callable[[list[Any], list[Any]], Any]) -> Path:
    items = [{"id": str(i), "text": f"article {i}", "title": f"title {i}"} for i in range(4)]
    questions = [{"id": str(100 + n), "input": QUESTION, "profile": items} for n in range(12)]
    golds = [{"id": q["id"], "output": "a title"} for q in questions]
    spoil(questions, golds)
    folder.mkdir()
    (folder / "dev_questions.json").write_text(json.dumps(questions))
    (folder / "dev_outputs.json").write_text(json.dumps({"task": "LaMP_4", "golds": golds}))
    return folder
