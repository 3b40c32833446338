"""A run that was killed resumes: the same record, and nothing that was cached is computed again."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .commands import Server, Started, entries, files, record, rubbish, times
from .server import POINTS

MOMENTS = 25


@pytest.fixture
def resumed(
    server: Server, asked: Callable[..., list[str]], whole: tuple[Path, Path], tmp_path: Path
) -> Callable[[Started, Path, Path], int]:
    """Return a function: (killed run, its cache, its folder) → entries it left, after a rerun that is checked."""

    def resume(killed: Started, cache: Path, out: Path) -> int:
        assert killed.wait() in (-signal.SIGKILL, 0)
        left, total = len(entries(cache)), len(entries(whole[0]))
        again = server.run(*asked(cache, out))
        assert record(out) == record(whole[1])
        assert files(out) == files(whole[1])
        assert times(out)["made"] == total - left, again.said
        assert not times(out)["damaged"]
        assert len(entries(cache)) == total
        assert rubbish(cache) == rubbish(out) == []
        return left

    return resume


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_run_killed_at_a_named_point_resumes(
    server: Server,
    asked: Callable[..., list[str]],
    resumed: Callable[[Started, Path, Path], int],
    whole: tuple[Path, Path],
    tmp_path: Path,
    point: str,
) -> None:
    cache, out = tmp_path / "cache", tmp_path / "run"
    killed = server.start(*asked(cache, out), dies=point)
    assert killed.wait() == -signal.SIGKILL, killed.said
    if point == "entry half written":
        assert [p for p in rubbish(cache) if p.name.startswith(".making-")]
    elif point == "record written, not in place":
        assert [p for p in rubbish(out) if p.name.startswith(".record.json.")]
    complete = point in ("all computed, folder empty", "record written, not in place")
    assert (resumed(killed, cache, out) == len(entries(whole[0]))) == complete


@pytest.mark.nightly
def test_a_run_killed_at_random_moments_resumes(
    server: Server,
    asked: Callable[..., list[str]],
    resumed: Callable[[Started, Path, Path], int],
    whole: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    assert times(whole[1])["made"] == len(entries(whole[0]))
    start = time.monotonic()
    server.run(*asked(tmp_path / "timed" / "cache", tmp_path / "timed" / "run"))
    length, rng, left = time.monotonic() - start, random.Random(6), set[int]()
    for number in range(MOMENTS):
        cache, out = tmp_path / f"{number}" / "cache", tmp_path / f"{number}" / "run"
        killed = server.start(*asked(cache, out))
        time.sleep(rng.uniform(0.0, length))
        killed.kill(signal.SIGKILL)
        left.add(resumed(killed, cache, out))
        shutil.rmtree(tmp_path / f"{number}")
    assert len(left) > MOMENTS // 5  # the moments were spread


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
