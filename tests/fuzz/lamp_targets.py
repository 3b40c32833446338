"""Readers of data sets: plain items in every format, official LaMP, Per-Pcs, OPPU, and files of predictions."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prime_audit.lamp import perpcs
from prime_audit.lamp.check import describe
from prime_audit.lamp.readers import read
from prime_audit.lamp.scoring import score_files
from prime_audit.lamp.tasks import TASKS
from prime_audit.lamp.times import oldest_first, read_times
from tests.lamp import conftest as layouts
from tests.lamp import test_longlamp as longlamp

from .account import require_questions, require_rows, require_users
from .attempt import Target
from .mutate import PART

Read = Callable[[bytes, Path], object]
_FIELDS = tuple(
    f'"{name}"'.encode() for name in ("user", "input", "output", "id", "profile", "query", "gold", "task")
)
_PERPCS = tuple(layouts.perpcs("LaMP-3"))
_OPPU = tuple(layouts.oppu("LaMP-2"))
_TWEETS = ("user_more_100_history.json", "user_others.json")
_OFFICIAL = ("dev_questions.json", "dev_outputs.json")


def _described(data: Any) -> None:
    """Ask all that ``data check`` tells."""
    report = describe(data)
    report.to_json().encode()
    report.rows()


def _table(name: str, task: str) -> Read:
    def go(data: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(data)
        found = read(path, task)
        require_rows(found, path)
        _described(found)

    return go


def _folder(names: tuple[str, ...], task: str) -> Read:
    def go(data: bytes, folder: Path) -> None:
        for name, part in zip(names, data.split(PART), strict=False):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(part)
        found = read(folder, task)
        if found.layout == "official":
            require_questions(found, folder / names[0])
        else:
            users = [folder / n for n in (perpcs.ADAPT, perpcs.CANDIDATES, perpcs.TARGETS)]
            users += [folder / n for n in (perpcs.OPPU_TARGETS, perpcs.OPPU_OTHERS)]
            require_users(found, [path for path in users if path.is_file()])
        _described(found)

    return go


def _longlamp(data: bytes, folder: Path) -> None:
    path = folder / "test-00000-of-00001.parquet"
    path.write_bytes(data)
    _described(read(path))


def _tweets(data: bytes, folder: Path) -> None:
    for name, part in zip(_TWEETS, data.split(PART), strict=False):
        (folder / name).write_bytes(part)
    found = read(folder, "LaMP-7")
    require_users(found, [path for name in _TWEETS if (path := folder / name).is_file()])
    _described(found)


def _times(data: bytes, folder: Path) -> None:
    values = data.decode("utf-8", "replace").split("\n")
    found = read_times(values)
    assert len(found.keys) == len(values)
    assert found.keys.count(None) == found.missing + found.unreadable
    assert sorted(oldest_first(found.keys)) == list(range(len(values)))


def _scored(data: bytes, folder: Path) -> None:
    golds, _, preds = data.partition(PART)
    (folder / "golds.json").write_bytes(golds)
    (folder / "preds.json").write_bytes(preds)
    json.dumps(
        dict(score_files("LaMP-3", folder / "golds.json", folder / "preds.json").metrics), allow_nan=False
    )


def _joined(files: dict[str, Any]) -> bytes:
    return PART.join(json.dumps(content).encode() for content in files.values())


def _rows(task: str) -> list[dict[str, Any]]:
    return [{"id": str(n), **row} for n, row in enumerate(layouts.rows(task, users=4))]


def _jsonl(task: str) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in _rows(task)).encode()


def _csv() -> bytes:
    lines = [",".join(f'"{row[k]}"' for k in ("user", "input", "output", "id")) for row in _rows("LaMP-4")]
    return "\r\n".join(["user,input,output,id", *lines, ""]).encode()


def _parquet() -> tuple[bytes, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = []
    for options in ({}, {"use_dictionary": False, "compression": "none"}):
        stream = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(_rows("LaMP-4")), stream, **options)
        made.append(stream.getvalue())
    return tuple(made)


def _longlamp_parquet() -> tuple[bytes, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = []
    for task in longlamp.USERS:
        stream = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(longlamp.rows(task)), stream)
        made.append(stream.getvalue())
    return tuple(made)


def _tweets_seed() -> bytes:
    targets, others, *_ = layouts.oppu("LaMP-7").values()
    return _joined(dict(zip(_TWEETS, (targets, others), strict=True)))


def _times_seed() -> bytes:
    forms = ("2020-1-5", "2020/01/05 10:30", "05/01/2020", "1577836800", "1577836800000", "20200105", "2020")
    more = ("Sun, 05 Jan 2020 10:30:00 +0200", "2020-01-05T10:30:00Z", "Jan 5, 2020", "5.1.20", "", "soon")
    return "\n".join((*forms, *more)).encode()


def _outputs(value: str) -> dict[str, Any]:
    return {"task": "LaMP_3", "golds": [{"id": str(n), "output": value} for n in range(4)]}


def targets() -> list[Target]:
    """Return them all."""
    assert set(TASKS) >= {"LaMP-1", "LaMP-2", "LaMP-3", "LaMP-4"}
    return [
        Target("items.jsonl", (_jsonl("LaMP-4"),), _table("x.jsonl", "LaMP-4"), _FIELDS),
        Target("ratings.jsonl", (_jsonl("LaMP-3"),), _table("x.jsonl", "LaMP-3"), _FIELDS),
        Target("items.csv", (_csv(),), _table("x.csv", "LaMP-4"), (b'"', b'""', b",,", b"user,")),
        Target("items.jsonl.gz", (gzip.compress(_jsonl("LaMP-4"), mtime=0),), _table("x.jsonl.gz", "LaMP-4")),
        Target("items.json", (json.dumps(_rows("LaMP-4")).encode(),), _table("x.json", "LaMP-4"), _FIELDS),
        Target(
            "items.tsv",
            (_csv().replace(b",", b"\t"),),
            _table("x.tsv", "LaMP-4"),
            (b'"', b"\t", b"sep=;", b";"),
        ),
        Target("items.jsonl.xz", (lzma.compress(_jsonl("LaMP-4")),), _table("x.jsonl.xz", "LaMP-4")),
        Target("items.jsonl.bz2", (bz2.compress(_jsonl("LaMP-4")),), _table("x.jsonl.bz2", "LaMP-4")),
        Target("items.parquet", _parquet(), _table("x.parquet", "LaMP-4"), (b"PAR1", b"user", b"input")),
        Target("official", (_joined(layouts.official("LaMP-1")),), _folder(_OFFICIAL, "LaMP-1"), _FIELDS),
        Target("perpcs", (_joined(layouts.perpcs("LaMP-3")),), _folder(_PERPCS, "LaMP-3"), _FIELDS),
        Target("longlamp.parquet", _longlamp_parquet(), _longlamp, (b"PAR1", b"profile", b"reviewerId")),
        Target("oppu tweets", (_tweets_seed(),), _tweets, _FIELDS),
        Target("times", (_times_seed(),), _times, (b"-", b"/", b":", b"T", b"Z", b"+00:00", b"Jan", b"e")),
        Target("oppu", (_joined(layouts.oppu("LaMP-2")),), _folder(_OPPU, "LaMP-2"), _FIELDS),
        Target(
            "score", (_joined({"g": _outputs("4"), "p": _outputs("3.5")}),), _scored, (b"output", b"golds")
        ),
    ]
