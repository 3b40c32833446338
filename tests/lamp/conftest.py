"""Small data sets in every layout, as plain values that a test may spoil before it writes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from prime_audit.lamp.tasks import TASKS

GOLDS = {
    "LaMP-1": "[1]",
    "LaMP-2": "comedy",
    "LaMP-3": "4",
    "LaMP-4": "A headline",
    "LaMP-5": "A title",
    "LaMP-7": "a tweet",
    "LaMP-2N": "food & drink",
    "LongLaMP-abstract": "an abstract",
    "LongLaMP-topic": "a post",
    "LongLaMP-review": "a review",
}


@pytest.fixture(scope="session")
def layouts() -> ModuleType:
    """Give tests the functions of this file, which they cannot import."""
    return sys.modules[__name__]


def item(task: str, key: str) -> dict[str, Any]:
    fields = {name: f"{name} of {key}" for name in (*TASKS[task].item_fields, *TASKS[task].optional_fields)}
    if task in ("LaMP-2", "LaMP-3", "LaMP-2N"):
        fields[TASKS[task].gold_field] = GOLDS[task]
    return {"id": key, **fields}


def question(task: str, key: str) -> str:
    return TASKS[task].format_question({name: f"{name} of {key}" for name in TASKS[task].query_fields})


def user(task: str, name: str, *, items: int = 3, queries: int = 1) -> dict[str, Any]:
    asked = [
        {"id": f"{name}-q{n}", "input": question(task, f"{name}-q{n}"), "gold": GOLDS[task]}
        for n in range(queries)
    ]
    return {"user_id": name, "profile": [item(task, f"{name}-{n}") for n in range(items)], "query": asked}


def perpcs(task: str) -> dict[str, Any]:
    """Return the files of a Per-Pcs folder, by their path in it."""
    targets = [user(task, f"t{n}", queries=2) for n in range(2)]
    golds = [{"id": query["id"], "output": query["gold"]} for one in targets for query in one["query"]]
    return {
        "user_base_LLM.json": [user(task, f"a{n}") for n in range(2)],
        "user_anchor_candidate.json": [user(task, f"c{n}", queries=0) for n in range(3)],
        "test_100/user_test_100.json": targets,
        "test_100/user_test_100_label.json": {"task": TASKS[task].official, "golds": golds},
        "profile-id2text.json": {"t0": "likes lamps", "c1": "likes chairs"},
    }


def oppu(task: str) -> dict[str, Any]:
    return {
        "user_top_100_history.json": [user(task, f"t{n}") for n in range(2)],
        "user_others.json": [user(task, f"o{n}") for n in range(6)],
        "profile_user_100.json": [{"id": "t0", "output": "likes lamps"}],
        "profile_user_others.json": [{"id": "o3", "output": "likes chairs"}],
    }


def official(task: str, users: int = 8) -> dict[str, Any]:
    records = [
        {"id": str(n), "input": question(task, str(n)), "profile": [item(task, f"{n}-{i}") for i in range(3)]}
        for n in range(users)
    ]
    golds = [{"id": str(n), "output": GOLDS[task]} for n in range(users)]
    return {"dev_questions.json": records, "dev_outputs.json": {"task": TASKS[task].official, "golds": golds}}


def rows(task: str, users: int = 8, items: int = 6) -> list[dict[str, Any]]:
    """Return the rows of plain items, the users' items interleaved."""
    return [
        {
            "user": f"u{u}",
            "input": f"text {n} of {u}",
            "output": f"tweet {n} of {u}" if task == "LaMP-7" else GOLDS[task],
            "time": n,
        }
        for n in range(items)
        for u in range(users)
    ]


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def write_rows(path: Path, content: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in content), encoding="utf-8")
    return path
