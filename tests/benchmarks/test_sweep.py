"""The sweep's points on a tiny model: what names a point, and what a table may compare."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prime_audit.lamp.world.world import write_world

from .sweep import main, read


def test_another_setting_is_another_point_and_no_table_compares_them(
    tmp_path: Path, llama_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_world("LaMP-4", tmp_path, users=20, adapt=8, targets=3, history=(6, 7), queries=2)
    out = tmp_path / "points.jsonl"

    def sweep(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["sweep", *words])
        main()

    def run(*sets: str) -> int:
        words = [word for text in ("max_new=2", "lora.rank=2", *sets) for word in ("--set", text)]
        given = ("--model", str(llama_folder), "--data", str(data), "--task", "LaMP-4", "--out", str(out))
        sweep("run", "adaptation", *given, "--lr", "1e-3", "--epochs", "1", *words)
        return len(read(out))

    assert run() == 2  # the base as it is, and one point
    assert run() == 2
    sweep("table", str(out))
    assert "LaMP-4 | 0.001 | 1 |" in capsys.readouterr().out
    for number, changed in enumerate(("adaptation.batch=2", "max_new=3", "lora.rank=3"), start=2):
        assert run(changed) == 2 * number
    with pytest.raises(SystemExit):
        sweep("table", str(out))
    assert "adaptation on LaMP-4: the points differ in settings" in capsys.readouterr().err
