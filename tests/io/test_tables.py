"""One table in every format gives the same rows, in bounded memory; what is damaged is one line."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import resource
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prime_audit.errors import UserError
from prime_audit.io import intake
from prime_audit.io.tables import (
    NO_COLUMN,
    TableError,
    columns_of,
    is_table,
    lookalikes,
    open_table,
    parse_columns,
)

ROWS = [
    {"user": "a", "input": 'two\nlines, "quoted"; x\ty', "output": "1"},
    {"user": "b\u2028", "input": "ü", "output": ""},
]
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def lines(rows: list[dict[str, str]]) -> bytes:
    return "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode("utf-8-sig")


def listed(rows: list[dict[str, str]]) -> bytes:
    return json.dumps(rows, indent=1).encode()


def cells(delimiter: str) -> Callable[[list[dict[str, str]]], bytes]:
    def write(rows: list[dict[str, str]]) -> bytes:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, ["user", "input", "output"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
        return stream.getvalue().encode()

    return write


def parquet(rows: list[dict[str, str]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


FORMATS = {
    "x.jsonl": lines,
    "x.NDJSON": lines,
    "x.json": listed,
    "lines.json": lines,
    "x.csv": cells(","),
    "semicolons.CSV": cells(";"),
    "tabs.csv": cells("\t"),
    "x.tsv": cells("\t"),
    "commas.tsv": cells(","),
    "x.parquet": parquet,
}
GZIP = partial(gzip.compress, mtime=0)  # no time: workers of pytest-xdist must find the same names of tests
PACKERS = {"": bytes, ".gz": GZIP, ".BZ2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, packed: str) -> None:
    path = tmp_path / (name + packed)
    path.write_bytes(PACKERS[packed](FORMATS[name](ROWS)))
    assert is_table(path.name)
    assert [row for _, row in open_table(path).rows()] == ROWS


def test_what_spreadsheets_add(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("\ufeffsep=;\r\n user ;input\r\na;1,5\r\n".encode())
    table = open_table(path)
    assert table.header == ["user", "input"]
    assert list(table.rows()) == [("line 3", {"user": "a", "input": "1,5"})]


def test_streams_that_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.xz"
    path.write_bytes(b"".join(lzma.compress(b'{"a": %d}\n' % n) + bytes(4) for n in range(3)))
    assert [row for _, row in open_table(path).rows()] == [{"a": 0}, {"a": 1}, {"a": 2}]


@pytest.mark.parametrize("pack", ["gz", "bz2", "xz"])
def test_bombs_are_refused(tmp_path: Path, pack: str) -> None:
    path = tmp_path / f"x.csv.{pack}"
    path.write_bytes(PACKERS[{"bz2": ".BZ2"}.get(pack, f".{pack}")](b" " * (66 << 20)))
    with pytest.raises(TableError, match="expands to more than 64 MiB"):
        list(open_table(path).rows())


def test_xz_that_asks_for_a_huge_dictionary(tmp_path: Path) -> None:
    """A header may name any; here 4 GiB less one byte, with the header's checksum made to fit."""
    path = tmp_path / "x.jsonl.xz"
    packed = bytearray(lzma.compress(b"{}\n"))
    packed[16] = 40
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    path.write_bytes(packed)
    with pytest.raises(TableError, match=r"damaged or truncated xz file .*limit"):
        list(open_table(path).rows())


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.json", b'{"user": "a"}', "contains no list of records"),
        ("x.json", b"[1, ", "line 1: damaged or truncated JSON"),
        ("x.json", b'{"user": "a"}\n{"user": ', "line 2: damaged or truncated JSON"),
        ("x.csv", b"a,b\n1,2\n\xff,3\n", "line 3: not UTF-8 text: convert it to UTF-8"),
        ("x.jsonl.xz", b"no", "damaged or truncated xz file"),
        ("x.jsonl.gz", GZIP(b"\xff" * 200_000)[:-8], "not UTF-8 text: convert it to UTF-8"),
        ("x.jsonl.bz2", b"no", "damaged or truncated bz2 file"),
        ("x.parquet.gz", GZIP(b"PAR1"), "damaged or truncated Parquet"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError) as fault:
        list(open_table(tmp_path / name).rows())
    assert expected in str(fault.value)
    assert "\n" not in str(fault.value)


EXCEL = b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.csv", GZIP(b"a,b"), "is a gzip file named .csv: add .gz to its name"),
        ("x.csv.gz", GZIP(GZIP(b"a,b")), "is a gzip file named .csv"),
        ("x.json", bz2.compress(b"[]"), "is a bzip2 file named .json"),
        ("x.tsv", lzma.compress(b"a"), "is an xz file named .tsv"),
        ("x.jsonl", parquet(ROWS), "is a Parquet file named .jsonl: rename it"),
        ("x.xlsx", EXCEL, "is an Excel file: save it as CSV"),
        ("x.csv", EXCEL, "is an Excel file named .csv"),
        ("x.csv", b"PK\x03\x04" + bytes(26), "is a zip file named .csv: unpack it"),
        ("x.csv", "a,b\n1,2\n".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        ("x.json", "[1, 2]".encode("utf-16-le"), "is UTF-16 text: save it as UTF-8"),
        ("x.csv", b"a,b\n1,2\n3,\0\n", "line 3: contains a NUL byte"),
    ],
)
def test_another_format_is_named(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=re.escape(expected)):
        list(open_table(tmp_path / name, ".csv").rows())


@pytest.mark.parametrize("content", [listed(ROWS), json.dumps(ROWS).encode("utf-8-sig")])
def test_a_list_named_jsonl(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jsonl").write_bytes(content)
    assert [row for _, row in open_table(tmp_path / "x.jsonl").rows()] == ROWS


def test_a_column_has_one_role() -> None:
    roles = ("user", "input", "id")
    assert columns_of({"user": ["id"]}, roles, ["user", "input"], "--columns") == {
        "input": "input",
        "id": NO_COLUMN,
    }
    for named, expected in (
        ({"user": ["input"]}, "input is named for user; name the column of input too"),
        ({"user": ["x"], "id": ["x"]}, "x is named for user and id"),
    ):
        with pytest.raises(UserError, match=expected):
            columns_of(named, roles, ["user", "input"], "--columns")


def test_a_small_file_reserves_little(tmp_path: Path) -> None:
    """In an address space that has no room for the largest file that may be read."""
    for name, pack in (("x.csv", bytes), ("x.csv.gz", gzip.compress)):
        (tmp_path / name).write_bytes(pack(b"a,b\n1,2\n"))
    code = (
        "import sys; from pathlib import Path; from prime_audit.io import intake, tables\n"
        "for name in sys.argv[1:]: intake.read_bytes(Path(name)); print(list(tables.open_table(Path(name)).rows()))"
    )
    most = 1 << 30
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, sorted(tmp_path.iterdir()))],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "[('line 2', {'a': '1', 'b': '2'})]\n" * 2


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert intake.read_bytes(tmp_path / "x", 5) == b"12345"
    with pytest.raises(OSError, match="is larger than"):
        intake.read_bytes(tmp_path / "x", 4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries({"user": TEXTS, "input": TEXTS}), max_size=4))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("any")
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["user", "input"], quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    (folder / "x.csv").write_bytes(stream.getvalue().encode())
    (folder / "x.jsonl").write_bytes(
        b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
    )
    for name in ("x.csv", "x.jsonl"):
        assert [row for _, row in open_table(folder / name).rows()] == rows


def test_columns() -> None:
    assert parse_columns("user = author_id,input=text", ("user", "input"), "--columns") == {
        "user": "author_id",
        "input": "text",
    }
    for text, expected in {
        "user": "write ROLE=COLUMN",
        "who=x": "unknown role 'who'; roles are user, input",
        "user=a,user=b": "user is named twice",
        "user=a,input=a": "a is named twice",
    }.items():
        with pytest.raises(UserError, match=expected):
            parse_columns(text, ("user", "input"), "--columns")
    roles = {"user": ("userid", "author"), "input": ("text",)}
    assert lookalikes(["Author", "User_ID", "TEXT"], roles) == {"user": "User_ID", "input": "TEXT"}
    assert lookalikes(["user", "author", "x"], roles) == {}
