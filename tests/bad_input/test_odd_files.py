"""What stands where a file should: pipes, devices, folders, archives and bombs. Nothing waits, nothing is unpacked."""

from __future__ import annotations

import base64
import gzip
import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prime_audit.errors import UserError
from prime_audit.io.tables import open_table
from tests.boards.invented import board_at
from tests.fuzz.attempt import limited

from .files import CONFIG, adapter_at
from .helpers import Say, official, one_line


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


KINDS: dict[str, Callable[[Path], Any]] = {
    "a pipe": pipe,
    "a device": device,
    "a folder": Path.mkdir,
    "a link to itself": link_to_itself,
}


def official_with(tmp_path: Path, name: str) -> Path:
    folder = official(tmp_path / "LaMP_4", lambda *_: None)
    (folder / name).unlink()
    return folder / name


def in_adapter(tmp_path: Path, name: str) -> Path:
    (adapter_at(tmp_path / "a") / name).unlink()
    return tmp_path / "a" / name


def in_board(tmp_path: Path) -> Path:
    (board_at(tmp_path / "boards") / "board.toml").unlink()
    return tmp_path / "boards" / "toy" / "board.toml"


PLACES: dict[str, tuple[Callable[[Path], Path], Callable[[Path, Path], list[object]]]] = {
    "rows": (lambda t: t / "x.jsonl", lambda p, t: ["data", "check", p, "--task", "LaMP-4"]),
    "Parquet": (lambda t: t / "x.parquet", lambda p, t: ["data", "check", p, "--task", "LaMP-4"]),
    "questions": (lambda t: official_with(t, "dev_questions.json"), lambda p, t: ["data", "check", p.parent]),
    "outputs": (lambda t: official_with(t, "dev_outputs.json"), lambda p, t: ["data", "check", p.parent]),
    "import": (
        lambda t: t / "x.csv",
        lambda p, t: ["data", "import", p, "--task", "LaMP-4", "--out", t / "out"],
    ),
    "golds": (lambda t: t / "g.json", lambda p, t: ["score", "--task", "LaMP-4", "--golds", p, "--preds", p]),
    "scores": (lambda t: t / "s.csv", lambda p, t: ["stats", p]),
    "record": (lambda t: t / "record.json", lambda p, t: ["show", p]),
    "configuration": (
        lambda t: in_adapter(t, CONFIG),
        lambda p, t: ["merge", p.parent, "--weights", "1", "--out", t / "out"],
    ),
    "weights": (
        lambda t: adapter_at(t / "a").parent / "w.json",
        lambda p, t: ["merge", t / "a", "--weights", p, "--out", t / "out"],
    ),
    "given adapter": (
        lambda t: in_adapter(t, CONFIG),
        lambda p, t: ["plan", "--methods", "np", "--tasks", "LaMP-4", "--sharers", t],
    ),
    "options": (lambda t: t / "c.toml", lambda p, t: ["plan", "--config", p]),
    "board": (in_board, lambda p, t: ["leaderboard", "build", "--home", t / "boards"]),
    "plugin": (lambda t: t / "x.py", lambda p, t: ["list", "attacks", "--plugin", p]),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file_is_refused_without_waiting(say: Say, tmp_path: Path, place: str, kind: str) -> None:
    where, words = PLACES[place]
    path = where(tmp_path)
    KINDS[kind](path)
    before = sorted(tmp_path.rglob("*"))
    with limited(30):
        said = say(*words(path, tmp_path))
    one_line(said, path.stem if place != "board" else "boards")
    assert sorted(tmp_path.rglob("*")) == before


# -- archives ----------------------------------------------------------------------------------------------


def zip_of(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, "climbed out")


def tar_of(path: Path, *members: tuple[str, bytes, str]) -> None:
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, len("climbed out") * (kind == tarfile.REGTYPE)
            archive.addfile(info, io.BytesIO(b"climbed out"))


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("LaMP_4/dev_questions.json", bytes(50 << 20))


ARCHIVES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "climbing out": ("x.zip", lambda p: zip_of(p, "../climbed", "a/../../climbed")),
    "absolute": ("x.zip", lambda p: zip_of(p, f"{p.parent}/climbed")),
    "a bomb": ("x.zip", bomb),
    "climbing tar": ("x.tar.gz", lambda p: tar_of(p, ("../climbed", tarfile.REGTYPE, ""))),
    "absolute tar": ("x.tgz", lambda p: tar_of(p, (f"{p.parent}/climbed", tarfile.REGTYPE, ""))),
    "a link out": (
        "x.tar",
        lambda p: tar_of(p, ("out", tarfile.SYMTYPE, ".."), ("out/climbed", tarfile.REGTYPE, "")),
    ),
    "a device": ("x.tar", lambda p: tar_of(p, ("climbed", tarfile.CHRTYPE, ""))),
    "of another kind": ("x.7z", lambda p: p.write_bytes(b"7z") and None),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_are_refused_and_left_packed(attempt: Say, say: Say, tmp_path: Path, name: str) -> None:
    inner = tmp_path / "in"
    inner.mkdir()
    file, make = ARCHIVES[name]
    make(inner / file)
    before = sorted(tmp_path.rglob("*"))
    parts = (file, "archives are not read: unpack it", "and pass the folder")
    one_line(say("data", "check", inner / file, "--task", "LaMP-4"), *parts)
    one_line(say("data", "import", inner / file, "--task", "LaMP-4", "--out", tmp_path / "out"), *parts)
    one_line(attempt("--data", inner / file, "--tasks", "LaMP-4"), *parts)
    assert sorted(tmp_path.rglob("*")) == before


# -- bombs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.csv.gz"])
def test_a_gzip_bomb_is_refused(say: Say, tmp_path: Path, name: str) -> None:
    with gzip.open(tmp_path / name, "wb", compresslevel=1) as stream:
        for _ in range(66):
            stream.write(b" " * (1 << 20))
    one_line(say("data", "check", tmp_path / name, "--task", "LaMP-4"), name, "expands to more than 64 MiB")


@pytest.mark.parametrize("kind", ["large_string", "string_view", "binary", "large_binary"])
def test_a_parquet_bomb_of_another_kind_of_text_is_never_unpacked(tmp_path: Path, kind: str) -> None:
    """As Arrow's other libraries write text; unpacked, its first rows alone would be four gigabytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), 4096), ["x" * (1 << 20)])
    path = tmp_path / "x.parquet"
    # What unpacks it under another type; the numbers stay those of a dictionary.
    wanted = pa.schema([(name, getattr(pa, kind)()) for name in ("user", "input", "output")])
    table = pa.table(dict.fromkeys(wanted.names, column))
    said = {b"ARROW:schema": base64.b64encode(wanted.serialize().to_pybytes())}
    pq.write_table(table.replace_schema_metadata(said), path, store_schema=False)
    assert path.stat().st_size < 1 << 20
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(UserError, match="expands to more than 64 MiB"):
        list(open_table(path).rows())
    assert pa.default_memory_pool().max_memory() - before < 512 << 20


def test_a_column_of_lists_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"user": ["u"], "input": [["a"]], "output": ["b"]}), tmp_path / "x.parquet")
    with pytest.raises(UserError, match="column input contains lists or structures: convert it to text"):
        list(open_table(tmp_path / "x.parquet").rows())


@pytest.mark.parametrize("many", ["rows that share a text", "rows of nothing"])
def test_a_parquet_bomb_is_refused(say: Say, tmp_path: Path, many: str) -> None:
    """Some kilobytes that would be gigabytes of text, or a hundred million rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, rows = ("x" * (1 << 17), 50_000) if many == "rows that share a text" else ("", 70_000_000)
    if many == "rows of nothing":
        column = pa.nulls(rows, pa.string())
    else:
        column = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), [text])
    pq.write_table(pa.table(dict.fromkeys(("user", "input", "output"), column)), tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").stat().st_size < 1 << 20
    with limited(120):
        said = say("data", "check", tmp_path / "x.parquet", "--task", "LaMP-4")
    one_line(said, "x.parquet", "expands to more than 64 MiB, far more than its size")


def test_a_file_of_defects_without_end_is_refused(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prime_audit.lamp.records.MOST_DEFECTS", 5_000)
    with gzip.open(tmp_path / "x.jsonl.gz", "wb") as stream:
        stream.write(b"{}\n" * 6_000)
    said = say("data", "check", tmp_path / "x.jsonl.gz", "--task", "LaMP-4")
    one_line(
        said, "x.jsonl.gz: more than 5,000 defective records", "line 1: no user", "is it the right file?"
    )


def test_a_file_that_packs_well_is_no_bomb(say: Say, tmp_path: Path) -> None:
    rows = "".join(f"u{n % 9},text {n},a title\n" for n in range(20_000))
    with gzip.open(tmp_path / "x.csv.gz", "wt", encoding="utf-8") as stream:
        stream.write("user,input,output\n" + rows)
    assert say("data", "check", tmp_path / "x.csv.gz", "--task", "LaMP-4").code == 0


# -- links -------------------------------------------------------------------------------------------------


def test_a_link_out_of_the_folder_is_read_as_what_it_leads_to(say: Say, tmp_path: Path) -> None:
    """Hub caches are links, so links are followed; what is there and no data of this layout is not shown."""
    folder = official(tmp_path / "LaMP_4", lambda *_: None)
    (tmp_path / "secret").write_text("root:hunter2:0:0")
    (folder / "dev_questions.json").unlink()
    (folder / "dev_questions.json").symlink_to(tmp_path / "secret")
    said = say("data", "check", folder)
    one_line(said, "dev_questions.json", "damaged or truncated JSON")
    assert "hunter2" not in said.err


def test_what_is_written_replaces_a_link_and_never_follows_it(
    say: Say, tmp_path: Path, small_data: Any
) -> None:
    from prime_audit.folder import write_atomic

    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "table.md").symlink_to(tmp_path / "theirs")
    write_atomic(tmp_path / "table.md", ["ours"])
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert (tmp_path / "table.md").read_text() == "ours"
    shutil.rmtree(tmp_path)
