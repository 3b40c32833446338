"""The comparison of two records: alike, and each way in which they can differ."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from tests.boards.invented import run_record
from tests.same_record import main


def test_records_are_compared_figure_by_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(json.dumps(run_record().to_json()))
    assert content["leaks"]
    others = {"same": copy.deepcopy(content), "other": copy.deepcopy(content), "less": copy.deepcopy(content)}
    others["same"]["times"] = {}
    others["other"]["leaks"][0]["auc"] += 1e-12
    others["less"]["results"].pop()
    for name, text in {"one": content, **others}.items():
        (tmp_path / name).write_text(json.dumps(text), encoding="utf-8")
    assert main([str(tmp_path / "one"), str(tmp_path / "same")]) == 0
    assert capsys.readouterr().out.startswith("identical: ")
    assert main([str(tmp_path / "one"), str(tmp_path / "other")]) == 1
    assert ": auc 0." in capsys.readouterr().out
    assert main([str(tmp_path / "less"), str(tmp_path / "one")]) == 1
    assert "only in the second" in capsys.readouterr().out
