"""``prime-audit cache``: what is kept, whether it is whole, and making room with nothing of anybody else's touched."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prime_audit.cache.lock import locked
from prime_audit.cache.prune import prune
from prime_audit.community.store import Store, content_key
from prime_audit.engine.mixture import Spent

from .commands import entries
from .test_damage import ASK, flip

DAY = 86400.0


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Four entries of four kinds, made 4, 3, 2, 1 days ago in the order of ``ASK`` and not read since."""
    root, now = tmp_path / "cache", time.time()
    for number, kind in enumerate(ASK):
        store, key = Store(root, Spent()), content_key({"kind": kind})
        store.tally.within = {"task": "LaMP-2", "method": None, "stage": f"stage {number}"}
        ASK[kind](store, key, number)
        place, then = root / key[:2] / key, now - (4 - number) * DAY
        for path in (place / "manifest.json", place):
            os.utime(path, (then, then))
    return root


def place(cache: Path, kind: str) -> Path:
    key = content_key({"kind": kind})
    return cache / key[:2] / key


def state(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_it_lists_what_is_kept(say: Callable[..., Any], cache: Path) -> None:
    found = json.loads(say("cache", "ls", "--cache", cache, "--json").out)
    assert found["cache"] == str(cache)
    assert [e["key"] for e in found["entries"]] == sorted(content_key({"kind": kind}) for kind in ASK)
    by_kind = {e["kind"]: e for e in found["entries"]}
    assert sorted(by_kind) == sorted(ASK)
    for number, kind in enumerate(ASK):
        one, own = by_kind[kind], place(cache, kind)
        assert (one["task"], one["method"], one["stage"]) == ("LaMP-2", None, f"stage {number}")
        assert one["bytes"] == sum(p.stat().st_size for p in own.rglob("*") if p.is_file())
        assert one["made"] == pytest.approx(own.stat().st_mtime, abs=1)
    ASK["adapters"](Store(cache, Spent()), content_key({"kind": "adapters"}), 0)  # read
    said = say("cache", "ls", "--cache", cache)
    rows = {line.split()[3]: line for line in said.out.splitlines() if "LaMP-2" in line}
    assert [word in rows["adapters"] for word in ("stage 0", " 1 ", "4 d ago")] == [True] * 3
    assert re.search(r"\b\d+ s ago", rows["adapters"])
    assert said.out.splitlines()[-1].startswith(f"{cache}: 4 entries, ")


@pytest.fixture
def interrupted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache, with what an interrupted stage had computed."""
    monkeypatch.setattr("prime_audit.community.store.PAUSE", 0.0)
    store = Store(cache, Spent())
    store.tally.within = {"task": "LaMP-2", "method": None, "stage": "share"}
    rows = {"rows": np.arange(1000.0)}

    def make() -> dict[str, np.ndarray]:
        for _ in range(3):
            store.partial("ab" * 32).write(lambda: rows)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.arrays("ab" * 32, make)
    return cache


def test_what_an_interrupted_stage_had_is_listed_verified_and_removed_like_any(
    say: Callable[..., Any], interrupted: Path
) -> None:
    found = json.loads(say("cache", "ls", "--cache", interrupted, "--json").out)["entries"]
    (one,) = (e for e in found if e["kind"] == "partial")
    assert (one["task"], one["stage"]) == ("LaMP-2", "share")
    assert one["bytes"] > 8000
    assert "partial" in say("cache", "ls", "--cache", interrupted).out
    assert say("cache", "verify", "--cache", interrupted).out.endswith("5 entries, all whole\n")
    flip(interrupted / one["key"][:2] / one["key"] / "arrays.safetensors")
    assert one["key"] in say("cache", "verify", "--cache", interrupted).err
    say("cache", "prune", "--cache", interrupted, "--older", "0s")
    assert [p for p in interrupted.rglob("*") if p.is_file()] == []


def test_an_older_versions_entry_is_listed_without_a_kind(say: Callable[..., Any], cache: Path) -> None:
    (place(cache, "texts") / "manifest.json").unlink()
    found = json.loads(say("cache", "ls", "--cache", cache, "--json").out)["entries"]
    assert sorted(e["kind"] for e in found) == ["?", "adapters", "arrays", "gates"]


def test_it_names_each_damaged_entry(say: Callable[..., Any], cache: Path) -> None:
    said = say("cache", "verify", "--cache", cache)
    assert (said.code, said.out, said.err) == (0, f"{cache}: 4 entries, all whole\n", "")
    flip(place(cache, "arrays") / "arrays.safetensors")
    (place(cache, "texts") / "cost.json").unlink()
    before = state(cache)
    said = say("cache", "verify", "--cache", cache)
    assert said.code == 1
    assert sorted(said.err.splitlines()) == sorted(
        [
            f"{place(cache, 'arrays')}: arrays.safetensors is not what was written (sha256)",
            f"{place(cache, 'texts')}: cost.json is missing",
        ]
    )
    assert state(cache) == before
    said = say("cache", "verify", "--cache", cache, "--repair")
    assert said.code == 1
    assert said.err.count("; set aside in ") == 2
    assert sorted(p.name[-2:] for p in (cache / "damaged").iterdir()) == ["-1", "-1"]
    assert say("cache", "verify", "--cache", cache).out == f"{cache}: 2 entries, all whole\n"


def test_speeds_measured_for_plans_are_entries_too(say: Callable[..., Any], cache: Path) -> None:
    key = content_key({"kind": "speeds"})
    Store(cache / "speeds", Spent()).arrays(key, lambda: {"read": np.ones(2)})
    assert len(json.loads(say("cache", "ls", "--cache", cache, "--json").out)["entries"]) == 5
    flip(cache / "speeds" / key[:2] / key / "arrays.safetensors")
    assert say("cache", "verify", "--cache", cache).code == 1


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        ((), 0),
        (("--older", "60h"), 2),
        (("--older", "1w"), 0),
        (("--older", "0.5d"), 4),
        (("--keep", "1MB"), 0),
        (("--keep", "0B"), 4),
        (("--keep", "half"), 2),
        (("--older", "84h", "--keep", "half"), 2),
    ],
)
def test_what_was_not_read_for_longest_goes_first(
    say: Callable[..., Any], cache: Path, words: tuple[str, ...], gone: int
) -> None:
    order = [place(cache, kind) for kind in ASK]
    sizes = [sum(len(c) for c in state(p).values()) for p in order]
    words = tuple(f"{sum(sizes[2:])}B" if word == "half" else word for word in words)
    before = state(cache)
    said = say("cache", "prune", "--cache", cache, "--dry-run", *words)
    assert f"{gone} entr{'y' if gone == 1 else 'ies'} and 0 of rubbish would be removed" in said.out
    assert state(cache) == before
    said = say("cache", "prune", "--cache", cache, *words)
    assert said.code == 0
    assert [p.exists() for p in order] == [False] * gone + [True] * (4 - gone)
    assert not list(cache.rglob(".*"))


def test_reading_counts_as_use(cache: Path) -> None:
    ASK["adapters"](Store(cache, Spent()), content_key({"kind": "adapters"}), 0)
    done = prune(cache, older=DAY / 2)
    assert [one.kind for one in done.entries] == ["gates", "texts", "arrays"]
    assert entries(cache) == [place(cache, "adapters")]


def test_rubbish_goes_and_what_is_in_use_stays(say: Callable[..., Any], cache: Path) -> None:
    busy, idle = (place(cache, kind) for kind in ("texts", "arrays"))
    for one in (busy, idle):
        draft = one.with_name(f".making-{one.name}-0123abcd")
        (draft / "0000" / ".saving-x_y1").mkdir(parents=True)
        (draft / "cost.json").write_text("{}")
        (draft / "0000" / ".saving-x_y1" / "adapter_model.safetensors").write_text("half")
    idle.with_name(f".lock-{idle.name}").write_text("123")
    fresh, old = (busy.with_name(f".making-{name}") for name in ("fresh123", "old45678"))
    for one, age in ((fresh, 0.0), (old, 2 * DAY)):
        one.mkdir()
        os.utime(one, (time.time() - age,) * 2)
    with locked(busy.with_name(f".lock-{busy.name}")):
        for dry in (True, False):
            words = ["cache", "prune", "--cache", cache, "--older", "0s", *(["--dry-run"] if dry else [])]
            said = say(*words)
            assert said.out.startswith(f"{cache}: 3 entries and 3 of rubbish ")
            assert sorted(said.err.splitlines()) == sorted(
                [
                    *(
                        f"stays: {busy.with_name(n)}: in use by process {os.getpid()}"
                        for n in (f".making-{busy.name}-0123abcd", f".lock-{busy.name}", busy.name)
                    ),
                    f"stays: {fresh}: may still be written",
                ]
            )
    assert entries(cache) == [busy]
    assert {p.name for p in cache.rglob(".*")} == {f".making-{busy.name}-0123abcd", "fresh123"} - {
        "fresh123"
    } | {".making-fresh123", ".saving-x_y1"}


def test_damaged_ones_go_when_asked(say: Callable[..., Any], cache: Path) -> None:
    flip(place(cache, "gates") / "gates.safetensors")
    say("cache", "verify", "--cache", cache, "--repair")
    (aside,) = (cache / "damaged").iterdir()
    say("cache", "prune", "--cache", cache)
    assert aside.exists()
    said = say("cache", "prune", "--cache", cache, "--damaged")
    assert "0 entries and 1 of rubbish removed" in said.out
    assert not aside.exists()


def test_nothing_of_anybody_elses_is_touched(say: Callable[..., Any], cache: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(cache, outside / "copy")
    mine = place(cache, "texts")
    (mine / "notes.txt").write_text("mine")
    linked = place(cache, "arrays")
    (linked / "arrays.safetensors").rename(outside / "arrays.safetensors")
    (linked / "arrays.safetensors").symlink_to(outside / "arrays.safetensors")
    moved = place(cache, "gates")
    moved.rename(outside / "moved")
    moved.symlink_to(outside / "moved")
    (cache / "ee").symlink_to(outside / "copy" / mine.parent.name)
    (cache / "damaged").symlink_to(outside / "copy")
    (cache / "README").write_text("mine")
    (cache / "photos").mkdir()
    (cache / mine.parent.name / "holiday.jpg").write_text("mine")
    before = state(outside)
    said = say("cache", "prune", "--cache", cache, "--older", "0s", "--keep", "0B", "--damaged")
    assert said.out.startswith(f"{cache}: 1 entry and 0 of rubbish removed")
    assert not place(cache, "adapters").exists()
    assert state(outside) == before
    assert {p.name for p in mine.iterdir()} == {"texts.json", "cost.json", "manifest.json", "notes.txt"}
    assert (linked / "cost.json").exists()
    assert moved.is_symlink()
    assert (cache / "README").exists()
    assert (cache / "photos").exists()
    assert (cache / mine.parent.name / "holiday.jpg").exists()
    assert f"stays: {mine}: contains notes.txt, not written by prime-audit" in said.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("ls",), "no such folder; pass --cache DIR"),
        (("verify",), "no such folder; pass --cache DIR"),
        (("prune",), "no such folder; pass --cache DIR"),
        (
            ("prune", "--older", "30"),
            "--older 30: give a number with a unit (s, m, h, d, w), for example 30d",
        ),
        (("prune", "--older", "-1d"), "--older -1d: give a number with a unit"),
        (("prune", "--keep", "ten GB"), "--keep ten GB: give a number with a unit (B, KB, MB, GB, TB, KIB"),
    ],
)
def test_slips_are_one_line(
    say: Callable[..., Any], tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    said = say("cache", *words, "--cache", tmp_path / "none")
    assert said.code == 2
    assert says in said.err
    assert len(said.err.splitlines()) == 1
