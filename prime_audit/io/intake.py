"""The one door for files that somebody else may have written: regular files, of bounded size, parsed strictly.

What cannot be taken in is an ``OSError`` (a pipe, a device, too much of it) or a ``ValueError`` (no such text, JSON or
TOML), each with a short reason; the reader who knows what the file was for says the rest.
"""

from __future__ import annotations

import errno
import gzip
import io
import json
import math
import os
import stat
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

MOST_BYTES = 8 << 30
"""Bytes of one file, packed or not: all that is read is held in memory."""
MOST_TIMES, ALWAYS = 100, 64 << 20
"""A packed file may hold this many times its own size, and always as many bytes: text packs 3 to 20 times."""
_DIGITS = 300
"""Of a whole number: more, and no float holds it."""
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading, links followed; OSError for anything else, and never a wait for a writer."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except ValueError:  # a null byte, which no file system knows
        raise OSError(errno.EINVAL, "its name holds a null byte") from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = next((name for test, name in _KINDS if test(mode)), "something else")
        raise OSError(errno.EINVAL, f"is {kind}, not a file")
    return os.fdopen(handle, "rb")


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Read a regular file whole; OSError where it cannot be, or is larger than ``most`` bytes."""
    with open_file(path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"is larger than {most >> 20} MiB")
    return content


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without byte order mark; OSError as above, ValueError where it is none."""
    return read_bytes(path).decode("utf-8-sig")


def allowance(packed: int) -> int:
    """Return how many bytes ``packed`` bytes may become when they are unpacked."""
    return min(MOST_BYTES, max(ALWAYS, MOST_TIMES * packed))


def gunzip(packed: bytes) -> bytes:
    """Unpack gzip; OSError where it would be more than :func:`allowance`, gzip's own errors where it is broken."""
    most = allowance(len(packed))
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"unpacks to more than {most >> 20} MiB, {len(packed)} bytes packed")
    return content


def parse_json(text: str) -> Any:
    """Parse JSON as the standard has it.

    ValueError for NaN and infinity, a number that no float holds, a key that stands twice, and nesting without end.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite, parse_int=_whole
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path) -> Any:
    """Read a file of strict JSON; OSError and ValueError as above."""
    return parse_json(read_text(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; OSError and ValueError as above."""
    try:
        return tomllib.loads(read_text(path))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def twice(pairs: list[tuple[str, Any]]) -> str:
    """Name a key of an object (not empty) that stands twice; empty where none does."""
    ((key, count),) = Counter(key for key, _ in pairs).most_common(1)
    return key if count > 1 else ""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"key {ascii(twice(pairs))[:60]} stands twice in one object")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"{text[:40]}… is too large a number")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value
