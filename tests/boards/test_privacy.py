"""What filing a run publishes: figures, hashes and counts, and neither text nor people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from prime_audit import compare

from .commands import add
from .invented import board_at, run_at, run_record

BOARD = """
name = "toy"
title = "Real text"
tasks = ["LaMP-4"]
games = ["paper", "heldout", "adapter", "target"]
attacks = ["loss"]
[run.set]
extraction = true
shadows = 4
{small}
"""
WORDS = ("zephyrine", "quokkan", "umbrageful", "xylotile", "fjordish", "vexillary", "grumbold", "yttric")


@pytest.mark.slow
def test_no_text_and_no_name_is_filed(tmp_path: Path, llama_folder: Path, small: Sequence[str]) -> None:
    """Unusual words and names of a run's data are in none of the files that a board has of it."""
    rows = [
        {
            "user": f"writer-{person}-kestrel",
            "id": f"piece-{n}-kestrel",
            "input": f"{WORDS[n % 8]} story {n} of {person}",
            "output": f"{WORDS[(n + person) % 8]} title {n}",
            "time": n,
        }
        for person in range(14)
        for n in range(9)
    ]
    data = tmp_path / "items.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    run = compare(
        *("np,rag,oppu,soup",),
        **{"tasks": "LaMP-4", "data": str(data), "model": str(llama_folder), "preset": "laptop"},
        overrides=[*small, "extraction=true", "shadows=4", "targets=3", "heldout=0.4"],
        games="paper,heldout,adapter,target",
        attacks="loss,lira",
        **{"out": tmp_path / "run", "cache": None, "quiet": True},
    )
    private = [*WORDS, "kestrel", str(tmp_path)]
    known = "".join(p.read_text(encoding="utf-8") for p in run.path.glob("*.json*"))
    assert "kestrel" in known  # the run itself has people and answers
    assert any(word in known for word in WORDS)
    text = BOARD.replace(
        "{small}", "\n".join(f'"{k}" = {v}' for k, _, v in (s.partition("=") for s in small))
    )
    home = tmp_path / "boards"
    board_at(home, text.replace("shadows = 4", "shadows = 4\ntargets = 3\nheldout = 0.4"))
    record = replace(run.record, code=run_record(0).code, failures=())
    done = add(home, run_at(tmp_path / "filed", record))
    assert done.exit_code == 0, done.exception
    filed = [p for p in home.rglob("*") if p.is_file()]
    assert len([p for p in filed if p.parent.parent.name == "records"]) == 4
    for path in filed:
        content = path.read_text(encoding="utf-8")
        assert [word for word in private if word in content] == [], path
