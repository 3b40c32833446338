"""Real people's text, where it lies: beside the checkout, or where PRIME_AUDIT_SHARED says."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from prime_audit.lamp.check import check
from prime_audit.lamp.importer import import_items
from prime_audit.lamp.prompts import history_examples, query_examples
from prime_audit.lamp.readers import read
from prime_audit.lamp.tasks import TASKS

SHARED = Path(os.environ.get("PRIME_AUDIT_SHARED", Path(__file__).parents[3] / "shared")) / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data beside the checkout")

FILES = {
    "headlines.LaMP-4.jsonl.gz": (10_012, 132, 0),
    "tags.LaMP-2.jsonl.gz": (684, 42, 0),
    "ratings.LaMP-3.jsonl.gz": (2_258, 145, 151),
}


@pytest.mark.parametrize("name", FILES)
def test_every_row_is_an_item_a_question_or_a_defect(name: str, tmp_path: Path) -> None:
    rows, users, empty = FILES[name]
    data = import_items(SHARED / name, None, tmp_path / "out")
    everyone = (*data.adapt, *data.targets, *data.candidates)
    kept = sum(len(user.history) + len(user.queries) for user in everyone)
    problems = Counter(defect.problem for defect in data.defects)
    assert problems.keys() <= {"input is empty", "is also one of the user's questions"}
    assert (kept, problems["input is empty"]) == (rows - len(data.defects), empty)
    assert len(everyone) == users
    assert len(data.candidates) >= users / 3
    assert read(tmp_path / "out").sha256 == data.sha256


def test_duplicates_are_counted() -> None:
    report = check(SHARED / "duplicates.LaMP-3.jsonl.gz")
    items = sum(role.items for role in report.roles)
    assert report.duplicates.near >= report.duplicates.exact > 0.7 * items


@pytest.mark.parametrize("seed", range(3))
def test_no_question_stands_in_its_own_users_history(seed: int) -> None:
    """In near-total duplication hardly a history survives; what does is clean, and the rest is accounted for."""
    data = read(SHARED / "duplicates.LaMP-3.jsonl.gz", seed=seed)
    for user in (*data.targets, *data.adapt):
        assert user.history
        assert not {i.fields["text"] for i in user.history} & {q.fields["text"] for q in user.queries}
    gone = {d.record for d in data.defects if d.problem == "no history"}
    kept = len(data.targets) + len(data.adapt) + len(data.candidates)
    assert kept + len(gone) == 361  # 2 of 363 have empty rows only


def test_examples_of_a_long_history() -> None:
    data = read(SHARED / "headlines.LaMP-4.jsonl.gz")
    task, user = TASKS["LaMP-4"], max(data.targets, key=lambda user: len(user.history))
    examples = history_examples(task, user, profile="P")
    assert len(examples) == 2 * len(user.history) - 1
    assert all(example.prompt.endswith(" Headline:") for example in query_examples(task, user, k=4))
