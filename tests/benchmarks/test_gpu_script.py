"""The GPU script without a GPU: a part that fails, or takes too long, is reported, and the rest goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from . import gpu


def parts(device: str, shapes: Sequence[str], out: Path) -> Iterator[gpu.Part]:
    finished = "import json, os; open(os.environ['PRIME_AUDIT_FINISHED'], 'a').write(json.dumps("
    told = (
        finished + "{'test': 't', 'outcome': 'passed', 'found': {'ratio': 2}, 'lines': ['2 | 1']}) + '\\n')"
    )
    for name, seconds, does in (
        ("fails", 1.5, "print('lost'); raise SystemExit(3)"),
        ("hangs", 2.0, f"{told}; import time; time.sleep(60)"),
        ("works", 4.0, told),
    ):
        yield gpu.Part(name, (sys.executable, "-c", does), seconds)


def test_what_fails_is_reported_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "parts", parts)
    # Five seconds are kept to write the report; the three parts have the rest.
    monkeypatch.setattr(
        sys, "argv", ["gpu.py", "--device", "cpu", "--minutes", "0.21", "--out", str(tmp_path)]
    )
    assert gpu.main() == 1
    found = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["parts"]
    assert [(p["name"], p["status"]) for p in found] == [
        ("fails", "failed"),
        ("hangs", "cut"),
        ("works", "ok"),
    ]
    assert [p["error"] for p in found] == ["lost", "", ""]
    assert [[f["found"] for f in p["figures"]] for p in found] == [[], [{"ratio": 2}], [{"ratio": 2}]]
    text = (tmp_path / "figures.md").read_text(encoding="utf-8")
    assert "| works | 2 / 1 |" in text
    assert text in capsys.readouterr().out


def test_runs_of_two_number_formats_are_set_side_by_side(tmp_path: Path) -> None:
    def result(value: float | None, **more: str) -> dict[str, object]:
        usual = {"task": "LaMP-2", "method": "prime", "metric": "accuracy", "game": None, "attack": None}
        return {**usual, "value": value, "ci": [0.4, 0.6], **more}

    auc = {"metric": "auc", "game": "heldout", "attack": "loss"}
    for dtype, values in (("float32", (0.5, 0.55, None)), ("bfloat16", (0.51, 0.7, 0.5))):
        folder = tmp_path / dtype
        folder.mkdir()
        results = [result(values[0]), result(values[1], **auc), result(values[2], method="np")]
        (folder / "record.json").write_text(json.dumps({"results": results}), encoding="utf-8")
    done = gpu.compared([], tmp_path)
    assert done
    assert [f["inside"] for f in done.figures] == [True, False]
    assert done.lines[0] == "LaMP-2 prime accuracy: 0.500 [0.4, 0.6], in bfloat16 0.510"
    assert done.lines[1].endswith("in bfloat16 0.700, outside the interval")
    assert gpu.compared([], tmp_path / "none") is None


def test_the_boxes_of_all_parts_are_nine_minutes(tmp_path: Path) -> None:
    assert 500 < sum(part.seconds for part in gpu.parts("cuda", list(gpu.SHAPES), tmp_path)) <= 9 * 60 - 5


def test_an_interruption_ends_the_part_that_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    began = list[subprocess.Popen[bytes]]()

    class Interrupted(subprocess.Popen[bytes]):
        def wait(self, timeout: float | None = None) -> int:
            if not began:
                began.append(self)
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    part = gpu.Part("hangs", (sys.executable, "-c", "import time; time.sleep(60)"), 60)
    with pytest.raises(KeyboardInterrupt):
        gpu.run(part, 60, tmp_path)
    assert began[0].returncode == -signal.SIGKILL
