"""How much a run says: by default, with -q, with -v, and in a log file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

RUN = [
    "compare",
    "--methods",
    "np",
    "--tasks",
    "LaMP-2",
    "--games",
    "paper",
    "--set",
    "targets=2",
    "--cache",
    "cache",
]


def ask(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = "from prime_audit.commands.cli import main; main()"
    words = ("-c", code, *RUN, *words)
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_more_is_shown_less_is_shown_and_the_log_has_all_of_it(tmp_path: Path) -> None:
    first = ask(tmp_path, "--out", "first", "--log", "run.log")
    assert first.returncode == 0, first.stderr
    assert "LaMP-2 · adapt: " in first.stderr
    assert "cache: " not in first.stderr
    more = ask(tmp_path, "--out", "more", "-v", "--log", "run.log")
    assert re.search(r"cache: read adapters \w+ \(LaMP-2 · adapt\)", more.stderr)
    less = ask(tmp_path, "--out", "less", "-q", "--log", "run.log")
    assert less.stderr == ""
    drop = re.compile(r"Everything in .*")
    assert drop.sub("", less.stdout) == drop.sub("", first.stdout)
    log = (tmp_path / "run.log").read_text(encoding="utf-8")
    assert len(re.findall(r"INFO: LaMP-2 · adapt: [\d.]+ s$", log, re.MULTILINE)) == 3
    assert re.search(r"^\d{4}-\d\d-\d\d .* DEBUG: cache: stored adapters", log, re.MULTILINE)


def test_a_log_that_cannot_be_written_ends_the_command(tmp_path: Path) -> None:
    done = ask(tmp_path, "--log", "none/run.log")
    assert done.returncode == 2
    assert done.stderr.startswith("prime-audit: --log none/run.log: No such file")
    assert not (tmp_path / "cache").exists()
