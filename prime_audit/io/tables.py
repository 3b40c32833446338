"""Tables of unknown origin, one row at a time: JSON Lines, JSON, CSV, TSV and Parquet, compressed or not.

A fault of the whole file is one line: what, where and what to do. A single row that cannot be used is a
:class:`BadRecordError` in its place, which the caller reports.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from prime_audit.errors import UserError
from prime_audit.io import intake

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""Endings of tables, in any case; each may be followed by one of ``intake.PACKED``."""
RETRY = "fetch or export the file again"
NO_COLUMN = "\0"
"""The name of a column that no table has."""
_LARGEST_CELL = 2**31 - 1
"""Characters of a CSV cell. Python's own limit of 131,072 would refuse a long article."""
_DELIMITERS = (",", ";", "\t")
_ROWS_AT_ONCE, _NESTED_AT_ONCE = 4096, 64
_ROW = 128
"""Minimum bytes that an empty row of Parquet, or an item of its lists, takes in memory."""

Row: TypeAlias = tuple[str, object]
"""Position of a row (``line 12``, ``row 12``, ``number 12``) and the parsed row, or a :class:`BadRecordError`."""


class BadRecordError(Exception):
    """A record that cannot be used; the message says why. A caller reports it and leaves the record out."""


class TableError(UserError):
    """A file that cannot be read as a table; the message has file, position and what to do."""

    def __init__(self, path: Path, problem: str, where: str = "", todo: str = RETRY) -> None:
        super().__init__(": ".join(filter(None, (str(path), where, problem, todo))))


@dataclass(frozen=True)
class Table:
    """A table that is open for one pass over its rows."""

    path: Path
    header: list[str] | None
    """Names of the columns as the file has them, spaces around them dropped; None where each row names its own."""
    _rows: Callable[[Collection[str] | None], Iterator[Row]]

    def rows(self, only: Collection[str] | None = None) -> Iterator[Row]:
        """Yield position and row; a usable row is a dict. ``only`` names columns: Parquet reads no others."""
        return self._rows(only)


def is_table(name: str) -> bool:
    """Return whether a file's name ends as a table's does."""
    return Path(unpacked_name(name)).suffix in FORMATS


def open_table(path: Path, other: str = ".jsonl", *, nested: bool = False) -> Table:
    """Open a table by the ending of its name; one that is none of FORMATS as ``other``.

    ``nested``: Parquet may have columns of lists and structures, such as profiles.
    Raises TableError, as does reading its rows.
    """
    suffix = Path(unpacked_name(path.name)).suffix
    suffix = suffix if suffix in FORMATS else other
    if suffix in (".csv", ".tsv"):
        return _csv_table(path, suffix)
    if suffix == ".parquet":
        return _parquet_table(path, nested)
    if suffix == ".json":
        return Table(path, None, lambda _: _json_rows(path))
    return Table(path, None, lambda _: _jsonl_rows(path))


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without byte order mark; compressed ones too. Raises TableError."""
    with _opened_text(path, newline="") as text:
        return text.read()


def parse_json(path: Path, text: str, where: str = "") -> Any:
    """Parse JSON; ``where`` names its place in the file. Raises TableError."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        problem = f"damaged or truncated JSON ({error.msg})"
        raise TableError(path, problem, where or f"line {error.lineno}", _fix(where)) from None
    except (ValueError, RecursionError) as error:  # a number with thousands of digits, or endless nesting
        raise TableError(path, f"unreadable JSON ({str(error)[:60]})", where, _fix(where)) from None


def require_columns(
    path: Path,
    found: Iterable[str],
    required: Sequence[str],
    optional: Sequence[str] = (),
    hint: str = "rename the columns",
) -> None:
    """Raise TableError where a required column is missing, or one that is read occurs twice."""
    names = list(found)
    if missing := [name for name in required if name not in names]:
        shown = ", ".join(ascii(name)[1:-1] for name in names[:12]) or "none"
        raise TableError(path, f"no column {', '.join(missing)} (found: {shown})", todo=hint)
    if twice := [name for name in dict.fromkeys((*required, *optional)) if names.count(name) > 1]:
        raise TableError(path, f"column {', '.join(twice)} occurs twice", todo="rename one")


# -- which column is which -----------------------------------------------------------------------------------


def parse_columns(given: str | Mapping[str, str] | None, roles: Sequence[str], option: str) -> dict[str, str]:
    """Read ``user=author_id,input=text`` as a dict from role to column.

    Raises UserError for another form, a role that is none of ``roles``, or one that is named twice.
    """
    if isinstance(given, Mapping):
        pairs = [(str(role), str(name)) for role, name in given.items()]
    else:
        words = [word for word in (given or "").split(",") if word.strip()]
        pairs = [(role.strip(), name.strip()) for role, _, name in (word.partition("=") for word in words)]
    known = ", ".join(roles)
    for role, name in pairs:
        if not role or not name:
            raise UserError(f"{option}: write ROLE=COLUMN, joined by commas; roles are {known}")
        if role not in roles:
            raise UserError(f"{option}: unknown role {ascii(role)[:60]}; roles are {known}")
    for names in zip(*pairs, strict=True):
        if again := next((name for name in names if names.count(name) > 1), None):
            raise UserError(f"{option}: {ascii(again)[1:-1][:60]} is named twice; name it once")
    return dict(pairs)


def columns_of(
    given: Mapping[str, Collection[str]], roles: Sequence[str], required: Collection[str], option: str
) -> dict[str, str]:
    """Return the column of each role that ``given`` leaves out: the role's own name, or NO_COLUMN where that is taken.

    ``given`` has the named columns by role. A column has one role: raises UserError where two of them name one, and
    where a required role is left without.
    """
    role_of: dict[str, str] = {}
    for role, names in given.items():
        for name in names:
            if (other := role_of.setdefault(name, role)) != role:
                raise UserError(
                    f"{option}: {ascii(name)[1:-1][:60]} is named for {other} and {role}; name one column for each"
                )
    free = [role for role in roles if role not in given]
    for role in free:
        if role in required and role in role_of:
            raise UserError(f"{option}: {role} is named for {role_of[role]}; name the column of {role} too")
    return {role: NO_COLUMN if role in role_of else role for role in free}


def words_for(given: Mapping[str, str], meant: Mapping[str, str], roles: Sequence[str]) -> str:
    """Write the given and the meant columns as one ``--columns``, in the order of ``roles``."""
    named = {**given, **meant}
    return columns_words({role: named[role] for role in roles if role in named})


def with_ids(*words: str) -> tuple[str, ...]:
    """Return each word, then the word with ``id`` behind it."""
    return tuple(form for word in words for form in (word, f"{word}id"))


PEOPLE = (
    *with_ids("user", "author"),
    "username",
    *with_ids("owner"),
    *("uid", "screenname"),
    *with_ids("reviewer", "customer", "account", "person", "speaker", "writer", "client"),
)
"""Names of a column of people, in order of trust."""


def columns_words(columns: Mapping[str, str]) -> str:
    """Write a mapping as :func:`parse_columns` reads it."""
    return ",".join(f"{role}={name}" for role, name in columns.items())


def lookalikes(
    found: Iterable[str], roles: Mapping[str, Sequence[str]], taken: Collection[str] = ()
) -> dict[str, str]:
    """Return, by role, the column of a similar name: it equals the role or another name of it, spelling aside.

    ``roles`` gives the other names of each role in order of trust, as lower-case letters and digits; ``taken`` are
    columns in use. Roles whose own name is among ``found`` are left out.
    """
    names = list(found)
    plain = {_plain(name): name for name in reversed(names) if name not in taken}
    chosen: dict[str, str] = {}
    for role, others in roles.items():
        if role not in names:
            free = (plain.get(word) for word in (_plain(role), *others))
            if column := next((name for name in free if name and name not in chosen.values()), None):
                chosen[role] = column
    return chosen


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


# -- formats -------------------------------------------------------------------------------------------------


def unpacked_name(name: str) -> str:
    """Return a file's name in lower case, without the ending of a compressed one."""
    lower = name.lower()
    return next((lower.removesuffix(end) for end in intake.PACKED if lower.endswith(end)), lower)


def _fix(where: str) -> str:
    return f"fix {where}" if where else RETRY


def _object(pairs: list[tuple[str, object]]) -> object:
    """Build an object, or a defect where a key occurs twice: which value was meant cannot be known."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    return BadRecordError(f"its key {ascii(intake.twice(pairs))[:60]} occurs twice")


_HEAD = 4096
"""Bytes by which a file of another format is known."""
_BINARY = (
    (rb"PK\x03\x04.*(\[Content_Types\]|xl/)", "an Excel", (".xlsx", ".xlsm"), "save it as CSV"),
    (rb"\xd0\xcf\x11\xe0", "an Excel", (".xls",), "save it as CSV"),
    (rb"PK\x03\x04", "a zip", (".zip",), "unpack it"),
    (rb"\x1f\x8b", "a gzip", (), "add .gz to its name"),
    (rb"BZh\d1AY&SY", "a bzip2", (), "add .bz2 to its name"),
    (rb"\xfd7zXZ\0", "an xz", (), "add .xz to its name"),
    (rb"\x28\xb5\x2f\xfd", "a zstd", (".zst",), "unpack it"),
    (rb"PAR1\x15", "a Parquet", (), "rename it to end in .parquet"),
)
"""First bytes of formats that are no text: format, its own endings, what to do."""
_DECODER = json.JSONDecoder(object_pairs_hook=_object)


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file whose reading raises TableError."""
    try:
        with intake.open_unpacked(path) as stream:
            yield stream
    except FileNotFoundError:
        raise TableError(path, "no such file", todo="check the path") from None
    except UnicodeDecodeError:
        raise TableError(path, "not UTF-8 text", _not_utf8(path), "convert it to UTF-8") from None
    except (*intake.DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.strerror:
            problem = f"cannot be read ({error.strerror})"
            raise TableError(path, problem, todo="check its type and permissions") from None
        kind = {".gz": "gzip"}.get(path.suffix.lower(), path.suffix[1:])
        raise TableError(path, f"damaged or truncated {kind} file ({error})") from None


@contextmanager
def _opened_text(path: Path, newline: str) -> Iterator[io.TextIOWrapper]:
    """Open a file of UTF-8 text, with or without byte order mark; what another format's file begins with is named."""
    with _opened(path) as stream:
        _require_text(path, stream.peek(_HEAD)[:_HEAD])
        with io.TextIOWrapper(stream, "utf-8-sig", newline=newline) as text:
            yield text


def _require_text(path: Path, head: bytes) -> None:
    suffix = Path(unpacked_name(path.name)).suffix
    for start, kind, endings, todo in _BINARY:
        if re.match(start, head, re.DOTALL):
            named = "" if not suffix or suffix in endings else f" named {suffix}"
            raise TableError(path, f"is {kind} file{named}", todo=todo)
    even, odd = head[::2].count(0), head[1::2].count(0)
    # Of text that is mostly Latin letters, UTF-16 leaves every second byte NUL.
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or (max(even, odd) * 4 > len(head) and not min(even, odd)):
        raise TableError(path, "is UTF-16 text", todo="save it as UTF-8")
    if b"\0" in head:
        at = f"line {head[: head.index(0)].count(10) + 1}"
        raise TableError(path, "contains a NUL byte, as no text does", at, "export it as UTF-8 text")


def _not_utf8(path: Path) -> str:
    """Find the first line that is not UTF-8; an empty text where the file is damaged before its end, too."""
    with suppress(*intake.DAMAGED, OSError), intake.open_unpacked(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f"line {number}"
    return ""


def _jsonl_rows(path: Path) -> Iterator[Row]:
    # Split at line feeds only: str.splitlines also splits at characters that JSON strings may contain.
    with _opened_text(path, newline="\n") as lines:
        first = next(lines, "")
        if not re.match(r"\s*\[\s*({|$)", first):
            yield from _lines(path, itertools.chain([first], lines))
            return
    yield from _json_rows(path)  # a list under this name


def _lines(path: Path, lines: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"line {number}"
            yield where, parse_json(path, line, where)


def _json_rows(path: Path) -> Iterator[Row]:
    """Read a list of rows, or the list ``data`` of an object; JSON Lines under this name are read as such."""
    text = read_text(path)
    if _is_lines(text):
        yield from _lines(path, io.StringIO(text, newline="\n"))
        return
    content = parse_json(path, text)
    del text  # of text and rows, only one is in memory
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        content = content["data"]
    if not isinstance(content, list):
        raise TableError(path, "contains no list of records", todo="write a list of objects")
    for number in range(len(content)):
        row, content[number] = content[number], None
        yield f"number {number + 1}", row


def _is_lines(text: str) -> bool:
    """Return whether a first line is JSON of its own and another follows."""
    first, _, rest = text.lstrip().partition("\n")
    if not rest or rest.isspace():
        return False
    try:
        _DECODER.decode(first)
    except (ValueError, RecursionError):
        return False
    return first[0] in "{["


def _csv_table(path: Path, suffix: str) -> Table:
    csv.field_size_limit(_LARGEST_CELL)
    cells = _csv_cells(path, "\t" if suffix == ".tsv" else ",")
    header = next(cells, (0, []))[1]

    def rows(_: Collection[str] | None) -> Iterator[Row]:
        width = len(header)
        for line, row in cells:
            if len(row) == width:
                yield f"line {line}", dict(zip(header, row, strict=True))
            else:
                yield f"line {line}", BadRecordError(f"{len(row)} cells under {width} columns")

    return Table(path, header, rows)


def _csv_cells(path: Path, usual: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the last line and the cells of each row, the header first; empty lines are left out."""
    with _opened_text(path, newline="") as lines:
        first = next(lines, "")
        delimiter, before = _delimiter(first, usual), 0
        if first[:4].lower() == "sep=" and first[4:5] in _DELIMITERS:  # for spreadsheets
            delimiter, first, before = first[4], next(lines, ""), 1
        reader = csv.reader(itertools.chain([first], lines), strict=True, delimiter=delimiter)
        try:
            header = [name.strip() for name in next(reader, [])]
            yield 1, header
            for row in reader:
                if row:
                    yield reader.line_num + before, row
        except csv.Error as error:
            at = f"line {reader.line_num + before}"
            raise TableError(path, f"damaged or truncated CSV ({error})", at, f"fix {at}") from None


def _delimiter(header: str, usual: str) -> str:
    """Return the delimiter that gives the header most columns; the usual one where several do."""

    def columns(mark: str) -> int:
        try:
            return len(next(csv.reader([header], delimiter=mark), []))
        except csv.Error:
            return 0

    return max((usual, *_DELIMITERS), key=columns)


# -- Parquet -------------------------------------------------------------------------------------------------


def _parquet_table(path: Path, nested: bool) -> Table:
    with _parquet_faults(path):
        import pyarrow.parquet as pq

        names = [str(name) for name in pq.read_schema(_seekable(path)).names]
    return Table(path, names, lambda only: _parquet_rows(path, names if only is None else only, nested))


def _seekable(path: Path) -> Any:
    """Open a Parquet file, which is read from its end: a compressed one is unpacked first."""
    if not path.is_file():
        raise TableError(path, "no such file", todo="check the path")
    if path.suffix.lower() not in intake.PACKED:
        return path
    with _opened(path) as stream:
        return io.BytesIO(stream.read())


@contextmanager
def _parquet_faults(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        reason = " ".join(str(error).split())[:80]
        raise TableError(path, f"damaged or truncated Parquet ({reason})") from None


def _parquet_rows(path: Path, only: Collection[str], nested: bool) -> Iterator[Row]:
    batches, number = _parquet_batches(path, only, nested), 0
    while True:
        with _parquet_faults(path):  # not around the yield: the caller's errors are its own
            batch = next(batches, None)
        if batch is None:
            return
        for row in batch:
            number += 1
            yield f"row {number}", row


def _parquet_batches(path: Path, only: Collection[str], nested: bool) -> Iterator[list[dict[str, Any]]]:
    """Read rows a few at a time, and stop where the texts exceed what such a file may contain."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = _seekable(path)
    schema = pq.read_schema(source)
    wanted = [name for name in schema.names if name in only]
    lists = [name for name in wanted if pa.types.is_nested(schema.field(name).type)]
    if lists and not nested:
        raise TableError(path, f"column {lists[0]} contains lists or structures", todo="convert it to text")
    # Dictionary-encoded columns are counted before they are expanded: a million rows may share one text.
    text = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")
    texts = [name for name in wanted if str(schema.field(name).type) in text]
    file = pq.ParquetFile(source, read_dictionary=texts)
    most = intake.allowance(path.stat().st_size)
    left = most
    for batch in file.iter_batches(_NESTED_AT_ONCE if lists else _ROWS_AT_ONCE, columns=wanted):
        left -= sum(map(_size, batch.columns)) + batch.num_rows * _ROW
        if left < 0:
            raise TableError(path, f"expands to more than {most >> 20} MiB, far more than its size")
        for place, column in enumerate(batch.schema):
            if pa.types.is_timestamp(column.type) and column.type.unit == "ns":  # Python has microseconds
                to = pa.timestamp("us", column.type.tz)
                batch = batch.set_column(place, column.name, batch.columns[place].cast(to, safe=False))
        yield batch.to_pylist()


def _size(column: Any) -> int:
    """Count a column's bytes without its dictionary, and what the items of its lists take at least."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return int(column.nbytes) + len(column.flatten()) * _ROW
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).fill_null(0)
    return int(pc.sum(pc.cast(lengths, pa.int64()).take(column.indices)).as_py() or 0)
