"""Raw files, JSON and tables. A fault of a whole file is one line: what, where and what to do."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from prime_audit.errors import UserError
from prime_audit.io import intake

Row: TypeAlias = tuple[str, object]
"""Position of a row (``line 12``, ``row 12``) and the parsed row, or a :class:`BadRecordError`."""


class BadRecordError(Exception):
    """A record that cannot be used; the message says why. It never leaves ``lamp``."""


COLUMNS = ("user", "input", "output")
"""The columns of plain items; ``id`` is read too, others (``time``) are ignored."""
TABLE_SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")
"""File names of plain items end in one of these."""

_LARGEST_CELL = 2**31 - 1
"""Characters of a CSV cell. Python's own limit of 131,072 would refuse a long article."""
_ROWS_AT_ONCE = 4096
_ROW = 128
"""Minimum bytes that an empty row takes in memory."""
_RETRY = "fetch or export the file again"


def load_json(path: Path) -> object:
    """Read a JSON file (``.gz`` too)."""
    return _parse_json(path, read_text(path), "")


def load_list(path: Path) -> list[object]:
    """Read a JSON file that must contain a list."""
    content = load_json(path)
    if not isinstance(content, list):
        raise UserError(
            f"{path}: contains {type_name(content)}, not a list of records: is it the right file?"
        )
    return content


def load_object(path: Path) -> dict[str, object]:
    """Read a JSON file that must contain an object."""
    content = load_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: contains {type_name(content)}, not an object: is it the right file?")
    return content


def load_rows(path: Path) -> Iterator[Row]:
    """Read the rows of a JSONL, CSV or Parquet file, in the file's order."""
    stem = path.name.lower().removesuffix(".gz")
    if stem.endswith(".jsonl"):
        return _jsonl_rows(path)
    if stem.endswith(".csv"):
        return _csv_rows(path)
    return _parquet_rows(path)


def type_name(value: object) -> str:
    """Name a JSON value's type in words."""
    names: dict[type, str] = {
        type(None): "null",
        bool: "true/false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
        BadRecordError: "an object with a duplicate key",
    }
    return names.get(type(value), type(value).__name__)


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without byte order mark; ``.gz`` is decompressed."""
    try:
        raw = intake.read_bytes(path)
        if path.suffix.lower() == ".gz":
            raw = intake.gunzip(raw)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: check the path") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged or truncated gzip file ({error}): {_RETRY}") from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}): check its type and permissions"
        ) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}: convert it to UTF-8") from None


def _parse_json(path: Path, text: str, where: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        at = where or f"line {error.lineno}"
        todo = f"fix {where}" if where else _RETRY
        raise UserError(f"{path}: {at}: damaged or truncated JSON ({error.msg}): {todo}") from None
    except (ValueError, RecursionError) as error:  # a number with thousands of digits, or endless nesting
        at, todo = (f"{where}: ", f"fix {where}") if where else ("", _RETRY)
        raise UserError(f"{path}: {at}unreadable JSON ({str(error)[:60]}): {todo}") from None


def _object(pairs: list[tuple[str, object]]) -> object:
    """Build an object, or a defect where a key occurs twice: which value was meant cannot be known."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    return BadRecordError(f"its key {ascii(intake.twice(pairs))[:60]} occurs twice")


def _jsonl_rows(path: Path) -> Iterator[Row]:
    # Split at line feeds only: str.splitlines also splits at characters that JSON strings may contain.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield f"line {number}", _parse_json(path, line, f"line {number}")


def _csv_rows(path: Path) -> Iterator[Row]:
    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = next(reader, [])
        _require_columns(path, header)
        for cells in reader:
            if not cells:
                continue
            where = f"line {reader.line_num}"
            if len(cells) != len(header):
                yield where, BadRecordError(f"{len(cells)} cells under {len(header)} columns")
            else:
                yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        at = f"line {reader.line_num}"
        raise UserError(f"{path}: {at}: damaged or truncated CSV ({error}): fix {at}") from None


def _parquet_rows(path: Path) -> Iterator[Row]:
    if not path.is_file():
        raise UserError(f"{path}: no such file: check the path")
    import pyarrow as pa

    try:
        rows = list(_parquet(path))
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        reason = " ".join(str(error).split())[:80]
        raise UserError(f"{path}: damaged or truncated Parquet ({reason}): {_RETRY}") from None
    for number, row in enumerate(rows, start=1):
        yield f"row {number}", row


def _parquet(path: Path) -> Iterator[object]:
    """Read rows a few at a time, and stop where the texts exceed what such a file may contain."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    _require_columns(path, schema.names)
    wanted = [name for name in (*COLUMNS, "id") if name in schema.names]
    if nested := [name for name in wanted if pa.types.is_nested(schema.field(name).type)]:
        raise UserError(f"{path}: column {nested[0]} contains lists or structures: convert it to text")
    # Dictionary-encoded columns are counted before they are expanded: a million rows may share one text.
    text = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")
    texts = [name for name in wanted if str(schema.field(name).type) in text]
    file = pq.ParquetFile(path, read_dictionary=texts)
    left = intake.allowance(path.stat().st_size)
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=wanted):
        left -= sum(map(_size, batch.columns)) + batch.num_rows * _ROW
        if left < 0:
            raise UserError(
                f"{path}: expands to more than {intake.allowance(path.stat().st_size) >> 20} MiB, "
                f"far more than its size: {_RETRY}"
            )
        yield from batch.to_pylist()


def _size(column: Any) -> int:
    """Count a column's bytes without its dictionary."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).fill_null(0)
    return int(pc.sum(pc.cast(lengths, pa.int64()).take(column.indices)).as_py() or 0)


def _require_columns(path: Path, names: list[str]) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        found = ", ".join(ascii(name)[1:-1] for name in names[:12]) or "none"
        raise UserError(f"{path}: no column {', '.join(missing)} (found: {found}): rename the columns")
    twice = [name for name in (*COLUMNS, "id") if names.count(name) > 1]
    if twice:
        raise UserError(f"{path}: column {', '.join(twice)} occurs twice: rename one")
