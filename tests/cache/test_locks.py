"""Two processes on one cache: who comes second waits and reads; who was killed is waited for by nobody."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prime_audit.cache import listing, lock
from prime_audit.cache import prune as prune_module
from prime_audit.cache.entry import Entry
from prime_audit.cache.lock import BusyError, holder, locked
from prime_audit.cache.prune import prune
from prime_audit.community.store import Store
from prime_audit.engine.mixture import Spent, Written
from prime_audit.errors import UserError
from prime_audit.folder import RunFolder

from .commands import Server, entries, files, record, rubbish, times

KEY = "0a" * 32
HOLD = """
import sys, time
from pathlib import Path
from prime_audit.cache.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold a lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.kill()


@pytest.mark.slow
def test_two_runs_at_once_make_everything_once(
    server: Server, asked: Callable[..., list[str]], whole: tuple[Path, Path], tmp_path: Path
) -> None:
    cache, outs = tmp_path / "cache", [tmp_path / "one", tmp_path / "two"]
    both = [server.start(*asked(cache, out)) for out in outs]
    assert [run.wait() for run in both] == [0, 0], [run.said for run in both]
    for out in outs:
        assert record(out) == record(whole[1])
        assert files(out) == files(whole[1])
    assert sum(times(out)["made"] for out in outs) == len(entries(cache)) == len(entries(whole[0]))
    assert rubbish(cache) == []


def test_the_second_waits_says_so_and_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    first, second, lines = Store(tmp_path, Spent()), Store(tmp_path, Spent()), list[str]()
    second.tally.say = lines.append
    second.tally.within = {"task": "LaMP-4", "method": None, "stage": "answer"}
    begun, go = threading.Event(), threading.Event()

    def make() -> list[str]:
        begun.set()
        assert go.wait(20)
        return [Written("made once", True)]

    maker = threading.Thread(target=lambda: first.texts(KEY, make))
    maker.start()
    assert begun.wait(20)
    threading.Timer(0.6, go.set).start()
    assert second.texts(KEY, lambda: pytest.fail("made twice")) == [Written("made once", True)]
    maker.join()
    me = f"process {os.getpid()}"
    assert lines == [f"cache: {me} is computing texts {KEY[:12]} (LaMP-4 · answer); waiting to read it"]
    assert (first.tally.made, second.tally.made, second.tally.read) == (1, 0, 1)
    assert rubbish(tmp_path) == []


def test_a_killed_holder_is_waited_for_by_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "0a" / f".lock-{KEY}"
    with held(path) as other:
        with pytest.raises(BusyError, match=f"process {other.pid}"), locked(path):
            pass
        assert holder(path) == f"process {other.pid}"
        left = path.with_name(f".making-{KEY}-12345678")
        left.mkdir()
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            other.kill()
            other.wait()

        monkeypatch.setattr(lock.time, "sleep", pause)
        assert Store(tmp_path, Spent()).texts(KEY, lambda: [Written("mine", True)]) == [Written("mine", True)]
        assert len(pauses) == 1
    assert holder(path) is None
    assert rubbish(tmp_path) == []  # the killed one's lock and draft


def test_what_killed_runs_left_is_swept_by_the_next_that_makes_anything(tmp_path: Path) -> None:
    place = tmp_path / "0a"
    for name in (f".making-{KEY}-0123abcd/0000", f".making-{'0a' * 31}ff-0123abcd"):
        (place / name).mkdir(parents=True)
    (place / f".lock-{KEY}").write_text("123")
    with held(place / f".lock-{'0a' * 31}ff"):
        Store(tmp_path, Spent()).texts("0b" * 32, lambda: [Written("x", True)])
        assert [p.name for p in rubbish(tmp_path) if p.is_dir()] == [f".making-{'0a' * 31}ff-0123abcd"]
    Store(tmp_path, Spent()).texts("0c" * 32, lambda: [Written("x", True)])
    assert rubbish(tmp_path) == []


def test_who_waited_for_a_lock_that_was_taken_away_holds_the_one_that_stands(tmp_path: Path) -> None:
    """Many threads count in a file that only the holder may write: no two at once, no rubbish."""
    path, counter, inside = tmp_path / "lock", tmp_path / "count", list[int]()
    counter.write_text("0")

    def count() -> None:
        for _ in range(20):
            with locked(path, lambda _: None):
                inside.append(1)
                assert len(inside) == 1
                counter.write_text(str(int(counter.read_text()) + 1))
                inside.pop()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.read_text() == "80"
    assert not path.exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_work_is_done_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    made = []

    def inner() -> list[str]:
        made.append(
            Store(tmp_path, Spent()).texts(KEY, lambda: [Written("twice", True)])
        )  # another process in the meantime
        return [Written("twice", True)]

    assert Store(tmp_path, Spent()).texts(KEY, inner) == [Written("twice", True)]
    assert made == [[Written("twice", True)]]
    draft = tmp_path / "0a" / f".making-{KEY}-0123abcd"
    draft.mkdir()  # whose it is nobody can tell
    assert Store(tmp_path, Spent()).texts("0b" * 32, lambda: [Written("another", True)]) == [
        Written("another", True)
    ]
    assert prune(tmp_path).left == [f"{draft}: may still be written"]
    assert prune(tmp_path, now=time.time() + 2 * 86400).rubbish == 1
    assert Store(tmp_path, Spent()).texts(KEY, lambda: pytest.fail("not kept")) == [Written("twice", True)]
    assert rubbish(tmp_path) == []


def test_what_is_kept_within_what_is_kept_locks_itself_out_of_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, Spent())

    def make() -> list[str]:
        own = store.texts(KEY, lambda: [Written("itself", True)])  # asked for while it is being made
        return own + store.texts("0b" * 32, lambda: [Written("another", True)])

    assert store.texts(KEY, make) == [Written("itself", True), Written("another", True)]
    assert Store(tmp_path, Spent()).texts(KEY, lambda: pytest.fail("not kept")) == [
        Written("itself", True),
        Written("another", True),
    ]


def test_a_folder_is_written_by_one_run(tmp_path: Path) -> None:
    with (
        held(tmp_path / "run" / ".lock") as other,
        pytest.raises(UserError, match=f"is in use by process {other.pid}: wait for it or choose another"),
        RunFolder.claimed(tmp_path / "run", "hash"),
    ):
        pass
    with RunFolder.claimed(tmp_path / "run", "hash") as folder:
        folder.write_json("x.json", {})
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"run.json", "x.json"}


def test_a_sweep_is_not_in_the_way_of_who_writes_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a sweep's look and its hand a draft becomes an entry, or another sweep has taken it."""
    draft = tmp_path / "0a" / f".making-{KEY}-0123abcd"
    draft.mkdir(parents=True)
    (draft / "texts.json").write_text("[]")
    look = listing.names

    def late(folder: Path) -> list[str]:
        found = look(folder)
        if folder.name == "0a" and draft.exists():
            draft.rename(draft.with_name(KEY))
        return found

    monkeypatch.setattr(prune_module, "names", late)
    assert prune(tmp_path).rubbish == 0
    assert (tmp_path / "0a" / KEY / "texts.json").exists()


def test_two_that_prune_at_once_both_end_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (KEY, "0b" * 32):
        Store(tmp_path, Spent()).texts(key, lambda: [Written("x", True)])
    look = prune_module.listed

    def late(root: Path) -> list[listing.Listed]:
        found = look(root)
        monkeypatch.setattr(prune_module, "listed", look)
        assert [one.entry.key for one in prune(root, keep=0).entries] == [KEY, "0b" * 32]
        return found

    monkeypatch.setattr(prune_module, "listed", late)
    assert prune(tmp_path, keep=0).entries == []
    assert entries(tmp_path) == []


def test_what_a_run_made_again_meanwhile_is_not_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, Spent())
    store.tally.say = lambda _: None
    store.texts(KEY, lambda: [Written("x", True)])
    (tmp_path / "0a" / KEY / "texts.json").write_text("[]")
    check = Entry.check

    def late(self: Entry, kind: str | None = None) -> object:
        monkeypatch.setattr(Entry, "check", check)
        try:
            return check(self, kind)
        finally:
            store.texts(KEY, lambda: [Written("x", True)])  # another process finds it damaged and repairs it

    monkeypatch.setattr(Entry, "check", late)
    (line,) = listing.damage(tmp_path, repair=True)
    assert line.endswith("; recomputed meanwhile")
    assert Store(tmp_path, Spent()).texts(KEY, lambda: pytest.fail("set aside")) == [Written("x", True)]
