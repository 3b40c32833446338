"""Adapters, merge weights and scores of others: each fault is one line, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from .files import ADAPTERS, SCORES, WORDS, adapter_at
from .helpers import Say, one_line


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_bad_adapter(say: Say, tmp_path: Path, name: str) -> None:
    spoil, parts = ADAPTERS[name]
    good, bad = adapter_at(tmp_path / "good"), adapter_at(tmp_path / "bad")
    spoil(bad)
    before = sorted(tmp_path.rglob("*"))
    one_line(say("merge", good, bad, "--weights", "0.5,0.5", "--out", tmp_path / "out"), str(bad), *parts)
    assert sorted(tmp_path.rglob("*")) == before  # no result, nothing half-written, no trap sprung


def test_the_adapters_are_good_before_they_are_spoilt(say: Say, tmp_path: Path) -> None:
    folders = [adapter_at(tmp_path / name) for name in "ab"]
    assert say("merge", *folders, "--weights", "0.5,0.5", "--out", tmp_path / "out").code == 0


@pytest.mark.parametrize("name", WORDS)
def test_bad_merge_weights(say: Say, tmp_path: Path, name: str) -> None:
    text, parts = WORDS[name]
    folders = [adapter_at(tmp_path / name) for name in "ab"]
    one_line(say("merge", *folders, "--weights", text, "--out", tmp_path / "out"), "--weights", *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", SCORES)
def test_bad_scores(say: Say, tmp_path: Path, name: str) -> None:
    file, content, parts = SCORES[name]
    if file:
        (tmp_path / file).write_bytes(content)
    one_line(say("stats", tmp_path / (file or "none.csv")), file or "none.csv", *parts)
