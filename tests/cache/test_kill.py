"""A run that was killed, at any moment, is taken up again: the same record, and nothing that was kept made again."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .commands import Server, entries, files, record, rubbish, times

MOMENTS = 25


@pytest.mark.slow
def test_a_killed_run_resumes(
    server: Server, asked: Callable[..., list[str]], whole: tuple[Path, Path], tmp_path: Path
) -> None:
    total = len(entries(whole[0]))
    assert times(whole[1])["made"] == total
    start = time.monotonic()
    server.run(*asked(tmp_path / "timed" / "cache", tmp_path / "timed" / "run"))
    length, rng, left = time.monotonic() - start, random.Random(6), list[int]()
    for number in range(MOMENTS):
        cache, out = tmp_path / f"{number}" / "cache", tmp_path / f"{number}" / "run"
        killed = server.start(*asked(cache, out))
        time.sleep(rng.uniform(0.0, length))
        killed.kill(signal.SIGKILL)
        ended = killed.wait()
        assert ended in (-signal.SIGKILL, 0)
        kept = len(entries(cache))
        left.append(kept)
        again = server.run(*asked(cache, out))
        assert record(out) == record(whole[1])
        assert files(out) == files(whole[1])
        assert times(out)["made"] == total - kept, again.said
        assert not times(out)["damaged"]
        assert len(entries(cache)) == total
        assert rubbish(cache) == rubbish(out) == []
        shutil.rmtree(tmp_path / f"{number}")
    assert len(set(left)) > MOMENTS // 5  # the moments were spread


def test_what_is_kept_is_read(
    server: Server, asked: Callable[..., list[str]], whole: tuple[Path, Path], tmp_path: Path
) -> None:
    server.run(*asked(whole[0], tmp_path / "run"))
    assert record(tmp_path / "run") == record(whole[1])
    found = times(tmp_path / "run")
    assert found["made"] == 0
    assert 0 < found["read"] <= len(entries(whole[0]))


def test_a_killed_run_leaves_no_draft_in_its_folder(
    server: Server, asked: Callable[..., list[str]], whole: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(whole[1], tmp_path / "run")
    for name in (".record.json.12345.tmp", "signals/.LaMP-4.pool.json.12345.tmp", ".lock"):
        (tmp_path / "run" / name).write_text("half")
    (tmp_path / "run" / ".mine.tmp").write_text("mine")
    server.run(*asked(whole[0], tmp_path / "run"))
    assert files(tmp_path / "run") == {**files(whole[1]), ".mine.tmp": b"mine"}
