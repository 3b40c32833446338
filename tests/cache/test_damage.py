"""Whatever happens to an entry on the disk is found, named, set aside and made good, and no record shows it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prime_audit.cache.entry import DamagedError, Entry
from prime_audit.community.store import Store
from prime_audit.engine.lora import Adapter
from prime_audit.engine.mixture import Spent, Written

from .commands import Server, adapter, entries, files, record, times

KEY, OTHER = "0a" * 32, "0b" * 32
Ask = Callable[..., object]


ASK: dict[str, Ask] = {
    "adapters": lambda s, key, n: s.adapters(
        key, ["ann", "bob"], lambda: {"ann": adapter(n), "bob": adapter(n + 1)}
    ),
    "gates": lambda s, key, n: s.gates(
        key, ["ann"], lambda: {"ann": (torch.full((3,), float(n)), torch.ones(2))}
    ),
    "texts": lambda s, key, n: s.texts(key, lambda: [Written(f"text {n}", True), Written("ü", False)]),
    "arrays": lambda s, key, n: s.arrays(key, lambda: {"x": np.arange(4.0) + n, "y": np.zeros((0, 2))}),
}
"""Kind → (store, key, number that the content is made of) → what the store gives."""


def same(a: object, b: object) -> bool:
    if isinstance(a, Adapter) and isinstance(b, Adapter):
        return a.scaling == b.scaling and same([*a.A, *a.B], [*b.A, *b.B])
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b if isinstance(a, str) else np.array_equal(np.asarray(a), np.asarray(b))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def flip(path: Path, bit: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    bit = len(content) * 4 if bit is None else bit
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def empty(path: Path) -> None:
    os.truncate(path, 0)


def link(path: Path) -> None:
    path.symlink_to(path.rename(path.parents[3] / "elsewhere"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "lengthened": lengthen,
    "flipped": flip,
    "emptied": empty,
    "removed": Path.unlink,
    "a link": link,
    "a pipe": pipe,
    "a folder": folder,
}


@pytest.mark.parametrize("kind", ASK)
def test_an_entry_that_was_sealed_without_a_file_is_made_again(tmp_path: Path, kind: str) -> None:
    """Where locks end at the node, another may sweep a file away before the manifest is written."""
    ASK[kind](Store(tmp_path / "whole", Spent()), KEY, 1)
    whole = tmp_path / "whole" / "0a" / KEY
    for name in sorted(set(files(whole)) - {"manifest.json"}):
        entry = Entry(tmp_path / name.replace("/", "-"), KEY)

        def fill(aside: Path, name: str = name) -> None:
            shutil.copytree(whole, aside, dirs_exist_ok=True)
            (aside / "manifest.json").unlink()
            (aside / name).unlink()

        entry.write(kind, {}, fill)
        entry.check(kind)  # its checksums are right
        store = Store(entry.root, Spent())
        made = ASK[kind](store, KEY, 2)
        assert same(made, ASK[kind](Store(None, Spent()), KEY, 2)), name
        (line,) = store.tally.damaged
        assert str(tmp_path) not in line  # it stands in the record


@pytest.mark.parametrize("fault", [FileNotFoundError, ValueError])
def test_whatever_cannot_be_read_no_path_of_the_machine_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    root = tmp_path / "a folder (mine)"
    ASK["arrays"](Store(root, Spent()), KEY, 1)

    def odd(path: str) -> None:
        raise fault(f"no sense in {path}, nor in {tmp_path}/elsewhere.txt")

    monkeypatch.setattr("safetensors.numpy.load_file", odd)
    store = Store(root, Spent())
    ASK["arrays"](store, KEY, 2)
    (line,) = store.tally.damaged
    assert str(tmp_path) not in line
    assert tmp_path.name not in line
    if fault is FileNotFoundError:
        assert "it cannot be read (a file of it is missing)" in line
    else:
        assert "it cannot be read (no sense in arrays.safetensors, nor in elsewhere.txt)" in line


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", ASK)
def test_damage_to_any_file_is_found_and_mended(tmp_path: Path, kind: str, damage: str) -> None:
    ASK[kind](Store(tmp_path / "whole", Spent()), KEY, 1)
    for name in sorted(files(tmp_path / "whole" / "0a" / KEY)):
        root = tmp_path / name.replace("/", "-")
        shutil.copytree(tmp_path / "whole", root)
        DAMAGE[damage](root / "0a" / KEY / name)
        repaired(root, kind)


@pytest.mark.parametrize("kind", ASK)
def test_what_is_of_another_entry_is_found_and_mended(tmp_path: Path, kind: str) -> None:
    for key, number in ((KEY, 1), (OTHER, 2)):
        ASK[kind](Store(tmp_path / "whole", Spent()), key, number)
    names = [*files(tmp_path / "whole" / "0a" / KEY), "."]
    for place, name in enumerate(names):
        root = tmp_path / str(place)
        shutil.copytree(tmp_path / "whole", root)
        mine, theirs = root / "0a" / KEY / name, root / "0b" / OTHER / name
        if name == ".":
            shutil.rmtree(mine)
            shutil.copytree(theirs, mine)
        elif mine.read_bytes() == theirs.read_bytes():
            continue  # the same content is no damage
        else:
            shutil.copy(theirs, mine)
        repaired(root, kind)


@pytest.mark.parametrize("kind", ASK)
def test_a_file_too_many_or_another_kind_is_found_and_mended(tmp_path: Path, kind: str) -> None:
    ASK[kind](Store(tmp_path, Spent()), KEY, 1)
    (tmp_path / "0a" / KEY / "more").mkdir()
    repaired(tmp_path, kind)
    other = next(k for k in ASK if k != kind)
    shutil.rmtree(tmp_path)
    ASK[other](Store(tmp_path, Spent()), KEY, 1)
    repaired(tmp_path, kind)


def test_an_entry_of_an_older_version_is_set_aside(tmp_path: Path) -> None:
    ASK["texts"](Store(tmp_path, Spent()), KEY, 1)
    (tmp_path / "0a" / KEY / "manifest.json").unlink()
    assert "manifest.json is missing, or an older prime-audit wrote the entry" in repaired(tmp_path, "texts")


def repaired(root: Path, kind: str) -> str:
    """Check that the entry is found damaged, moved whole, made again, and then read; return the line that says so."""
    place = root / "0a" / KEY
    with pytest.raises(DamagedError):
        Entry(root, KEY).check(kind)
    before = sorted(p.relative_to(place) for p in place.rglob("*"))
    store, lines = Store(root, Spent()), list[str]()
    store.tally.say = lines.append
    assert same(ASK[kind](store, KEY, 1), ASK[kind](Store(None, Spent()), KEY, 1))
    assert (store.tally.made, store.tally.read) == (1, 0)
    (line,) = lines
    assert f"{kind} {KEY[:12]} is damaged: " in line
    aside = root / "damaged" / f"{KEY}-1"
    while (another := aside.with_name(f"{KEY}-{int(aside.name[-1]) + 1}")).exists():
        aside = another
    assert f"moved to {aside}, and recomputed" in line
    assert sorted(p.relative_to(aside) for p in aside.rglob("*")) == before
    again = Store(root, Spent())
    assert same(ASK[kind](again, KEY, 99), ASK[kind](Store(None, Spent()), KEY, 1))  # read, so not of 99
    assert (again.tally.made, again.tally.read) == (0, 1)
    return line


@given(st.sampled_from(sorted(ASK)), st.data())
def test_no_bit_can_flip_unseen(kind: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as own:
        root = Path(own)
        ASK[kind](Store(root, Spent()), KEY, 1)
        Entry(root, KEY).check(kind)
        name = data.draw(st.sampled_from(sorted(files(root / "0a" / KEY))))
        file = root / "0a" / KEY / name
        for bit in data.draw(st.sets(st.integers(0, 8 * file.stat().st_size - 1), min_size=1, max_size=4)):
            flip(file, bit)
        with pytest.raises(DamagedError):
            Entry(root, KEY).check(kind)


KEPT = {
    "embed",
    "adapt",
    "share",
    "search",
    "gates",
    "assemble",
    "own adapters",
    "answer",
    "signals (base)",
}
"""Stages of the small run; what is found in clusters is asked for between them."""


# -- in a run ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "removed", "another's"])
def test_a_run_over_damaged_entries_is_the_run(
    server: Server, asked: Callable[..., list[str]], whole: tuple[Path, Path], tmp_path: Path, damage: str
) -> None:
    """Damage every artefact that a run kept, each in another of its files."""
    cache = tmp_path / "cache"
    shutil.copytree(whole[0], cache)
    every = entries(cache)
    made_by = {json.loads((e / "manifest.json").read_text())["within"].get("stage") for e in every}
    assert made_by >= KEPT
    for number, entry in enumerate(every):
        names = sorted(files(entry))
        if damage == "another's":
            other = every[number - 1]
            shutil.rmtree(entry)
            shutil.copytree(whole[0] / other.parent.name / other.name, entry)
        else:
            DAMAGE[damage](entry / names[number % len(names)])
    done = server.run(*asked(cache, tmp_path / "run"))
    assert record(tmp_path / "run") == record(whole[1])
    assert files(tmp_path / "run") == files(whole[1])
    assert len([line for line in done.lines if "is damaged: " in line]) == len(every)
    assert len(times(tmp_path / "run")["damaged"]) == len(every)
    assert (times(tmp_path / "run")["made"], times(tmp_path / "run")["read"]) == (len(every), 0)
    assert len(list((cache / "damaged").iterdir())) == len(every)
    again = server.run("cache", "verify", "--cache", cache)
    assert f"{len(every)} entries, all whole" in again.said
