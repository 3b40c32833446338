"""A disk that is full, or not ours to write: one line, no rubbish, and a rerun that uses what was kept."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from prime_audit.cache import entry as room
from prime_audit.cache.entry import Entry, UnwritableError
from prime_audit.community.store import Store
from prime_audit.engine.mixture import Spent, Written
from prime_audit.errors import UserError
from prime_audit.folder import RunFolder

from .commands import Server, Started, entries, files, record, rubbish, times
from .test_damage import ASK, KEY


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("kind", ASK)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO])
def test_a_fault_at_any_step_of_writing_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, number: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    steps = [(Path, "mkdir"), (Path, "write_text"), (Path, "write_bytes"), (Path, "rename"), (os, "open")]
    if kind == "adapters":
        steps.append((Path, "replace"))
    for where, name in steps:
        with monkeypatch.context() as patch:
            patch.setattr(where, name, fail)
            with pytest.raises(
                UserError, match=r"cannot be written \(.*\); .*pass --cache DIR or --no-cache"
            ) as fault:
                ASK[kind](Store(tmp_path, Spent()), KEY, 1)
        assert "\n" not in str(fault.value)
        assert ("free some space" in str(fault.value)) == (number in (errno.ENOSPC, errno.EDQUOT))
        assert [p for p in tmp_path.rglob("*") if p.is_file() or p.name.startswith(".")] == []
    store = Store(tmp_path, Spent())
    ASK[kind](store, KEY, 1)
    assert store.tally.made == 1


def one_line(said: str) -> str:
    """Return the one line in the command's name, the last of all; no traceback."""
    lines = said.splitlines()
    found = [line for line in lines if line.startswith("prime-audit: ")]
    assert len(found) == 1, said
    assert lines[-1] == found[0]
    assert "Traceback" not in said
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize("size", [4_000, 40_000])
def test_files_that_cannot_grow_end_a_run_in_one_line(
    asked: Callable[..., list[str]], server: Server, whole: tuple[Path, Path], tmp_path: Path, size: int
) -> None:
    cache, out = tmp_path / "cache", tmp_path / "run"
    done = server.run(*asked(cache, out), code=2, limit=size)
    assert "cannot be written (" in one_line(done.said)
    assert not out.exists()
    assert rubbish(tmp_path) == []
    kept = len(entries(cache))
    server.run(*asked(cache, out))  # room was made
    assert record(out) == record(whole[1])
    assert times(out)["made"] == len(entries(whole[0])) - kept


@pytest.fixture
def small_disk(tmp_path: Path) -> Callable[[int], Path]:
    """Return a function: kilobytes → a file system of that size; skipped where none may be mounted."""
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        place = tmp_path / f"disk-{len(mounted)}"
        place.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(place)]
        try:
            subprocess.run(words, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no file system can be mounted here")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_a_run_and_room_lets_it_go_on(
    small_disk: Callable[[int], Path],
    asked: Callable[..., list[str]],
    server: Server,
    whole: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    """Cache, then run folder, on a disk that fills sooner or later."""
    total, sizes = len(entries(whole[0])), set[int]()
    for size in (8, 64, 160):
        disk, out = small_disk(size), tmp_path / f"run-{size}"
        done = server.run(*asked(disk / "cache", out), code=2)
        line = one_line(done.said)
        assert "No space left on device" in line
        assert "free some space, or pass --cache DIR or --no-cache" in line
        assert not out.exists()
        assert rubbish(disk) == []
        kept = len(entries(disk / "cache"))
        sizes.add(kept)
        remount(disk, "size=64m")
        server.run(*asked(disk / "cache", out))
        assert record(out) == record(whole[1])
        assert times(out)["made"] == total - kept
    assert len(sizes) == 3
    for size in (8, 64):
        disk = small_disk(size)
        done = server.run(*asked(whole[0], disk / "run"), code=2)
        assert "No space left on device; free some space or choose another --out" in one_line(done.said)
        assert list(disk.iterdir()) == []
        remount(disk, "size=64m")
        server.run(*asked(whole[0], disk / "run"))
        assert files(disk / "run") == files(whole[1])


@pytest.mark.slow
def test_a_cache_that_is_only_read_is_read(
    small_disk: Callable[[int], Path],
    asked: Callable[..., list[str]],
    server: Server,
    whole: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    import shutil

    disk = small_disk(64_000)
    shutil.copytree(whole[0], disk / "cache")
    remount(disk, "ro")
    server.run(*asked(disk / "cache", tmp_path / "run"))
    assert record(tmp_path / "run") == record(whole[1])
    assert times(tmp_path / "run")["made"] == 0
    more: Started = server.run(*asked(disk / "cache", tmp_path / "more", methods="prime,rag"), code=2)
    assert "Read-only file system); pass --cache DIR or --no-cache" in one_line(more.said)
    assert not (tmp_path / "more").exists()
    words = ["plan", *asked(disk / "cache", tmp_path)[1:-2]]
    assert "min" in server.run(*words).said  # it keeps no speeds
    done = server.run(*asked(whole[0], disk / "run"), code=2)
    assert "Read-only file system; choose another --out" in one_line(done.said)
    remount(disk, "rw")
    (damaged, *_) = entries(disk / "cache")
    (damaged / "cost.json").write_text("{}")
    remount(disk, "ro")
    done = server.run("cache", "verify", "--cache", disk / "cache", code=1)
    assert damaged.name in done.said
    done = server.run("cache", "prune", "--older", "0s", "--cache", disk / "cache", code=2)
    assert "Read-only file system" in one_line(done.said)


def test_what_cannot_be_saved_of_a_run_leaves_its_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a" / "run"

    def run() -> None:
        with RunFolder.claimed(out, "hash") as folder:
            folder.write_jsonl("scores.jsonl", [{"x": 1}])
            (out / "signals").mkdir()
            monkeypatch.setattr(os, "fsync", full)
            folder.write_json("record.json", {})

    with pytest.raises(
        UserError, match=r"cannot save .*record.json: No space left on device; free some space"
    ):
        run()
    assert not (tmp_path / "a").exists()


def test_a_fault_that_is_not_the_disks_is_not_called_one(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Entry(tmp_path, KEY).write("texts", {}, fail)
    assert [p for p in tmp_path.rglob("*") if p.name != "0a"] == []


def test_a_library_that_hides_the_systems_error_is_understood() -> None:
    from safetensors import SafetensorError

    fault = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert room._of_the_disk(fault)
    assert isinstance(Entry(Path("c"), KEY).unwritable(fault), UnwritableError)
    assert "free some space" in str(Entry(Path("c"), KEY).unwritable(fault))
    assert not room._of_the_disk(SafetensorError("header too large"))


def test_a_passing_fault_of_the_system_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path, Spent())
    assert store.texts("ab" * 32, lambda: [Written("kept", True)]) == [Written("kept", True)]

    def refuse(*_: object) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("prime_audit.cache.entry._sha256", refuse)
        with pytest.raises(UserError, match=r"cannot be read \(Too many open files\); fix the cause"):
            store.texts("ab" * 32, lambda: [Written("made", True)])
    assert store.texts("ab" * 32, lambda: [Written("made", True)]) == [Written("kept", True)]
    assert not store.tally.damaged
