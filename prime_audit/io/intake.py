"""The one door for files of unknown origin.

Only regular files of bounded size are read, and they are parsed strictly. A file that cannot be read (a pipe, a
device, too many bytes) raises ``OSError``. Content that is no valid text, JSON or TOML raises ``ValueError``. Each
carries a short reason; the caller adds which file it was and what it was for.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import json
import lzma
import math
import os
import stat
import tomllib
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

MOST_BYTES = 8 << 30
"""Bytes of one file, compressed or not: it is read into memory."""
MOST_TIMES, ALWAYS = 100, 64 << 20
"""A compressed file may expand to this many times its size, and always to this many bytes."""
PACKED = (".gz", ".bz2", ".xz")
"""Endings of compressed files that :func:`open_unpacked` decompresses."""
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)
"""What reading a damaged compressed file raises; damaged bz2 raises a bare OSError."""
_XZ_MEMORY = 256 << 20
"""Bytes that decompressing xz may take: its header names any dictionary size. ``xz -9`` takes 65 MiB."""
_PIECE = 1 << 16
_DIGITS = 300
"""Digits of an integer: no float represents a longer one."""
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading, following links; never wait. Raises OSError for anything else."""
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
    """Read a regular file whole. Raises OSError where that fails or it is larger than ``most`` bytes."""
    with open_file(path) as stream:
        # Never more than the file has: one read of ``most`` bytes would reserve them all.
        content = stream.read(min(os.fstat(stream.fileno()).st_size, most) + 1)
        while len(content) <= most and (more := stream.read(_PIECE)):  # it grows, or has no size, as in /proc
            content += more
    if len(content) > most:
        raise OSError(errno.EFBIG, f"is larger than {most >> 20} MiB")
    return content


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without byte order mark. Raises OSError as above, ValueError where it is not UTF-8."""
    return read_bytes(path).decode("utf-8-sig")


def allowance(packed: int) -> int:
    """Return the most bytes to which ``packed`` bytes may expand."""
    return min(MOST_BYTES, max(ALWAYS, MOST_TIMES * packed))


def open_unpacked(path: Path) -> io.BufferedReader:
    """Open a regular file; what ends in one of ``PACKED`` is decompressed while it is read.

    Raises OSError as :func:`open_file`, and reading raises it above :func:`allowance` or ``MOST_BYTES``. Damaged
    content raises one of ``DAMAGED`` while it is read.
    """
    stream, suffix = open_file(path), path.suffix.lower()
    size, source = os.fstat(stream.fileno()).st_size, cast(Any, stream)
    most, problem = MOST_BYTES, f"is larger than {MOST_BYTES >> 20} MiB"
    if suffix in PACKED:
        most = allowance(size)
        problem = f"expands to more than {most >> 20} MiB from {size} bytes"
        if suffix == ".gz":
            source = gzip.GzipFile(fileobj=stream)
        else:
            source = bz2.BZ2File(stream) if suffix == ".bz2" else _Unxz(stream)
    return io.BufferedReader(_Bounded(source, stream, most, problem), _PIECE)


class _Bounded(io.RawIOBase):
    """A stream that ends with an error after ``most`` bytes."""

    def __init__(self, source: Any, file: BinaryIO, most: int, problem: str) -> None:
        self._source, self._file, self._left, self._problem = source, file, most, problem

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        got = int(self._source.readinto(buffer))
        self._left -= got
        if self._left < 0:
            raise OSError(errno.EFBIG, self._problem)
        return got

    def close(self) -> None:
        self._source.close()
        self._file.close()
        super().close()


class _Unxz(io.RawIOBase):
    """Decompress xz in bounded memory, which :class:`lzma.LZMAFile` cannot."""

    def __init__(self, packed: BinaryIO) -> None:
        self._packed, self._unit = packed, _unxz()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            packed = b""
            if self._unit.eof:  # a further stream may follow, after padding
                packed = (self._unit.unused_data or self._packed.read(_PIECE)).lstrip(b"\0")
                if not packed and not (packed := self._packed.read(_PIECE).lstrip(b"\0")):
                    return 0
                self._unit = _unxz()
            elif self._unit.needs_input and not (packed := self._packed.read(_PIECE)):
                raise EOFError("compressed file ended before the end-of-stream marker was reached")
            if data := self._unit.decompress(packed, len(buffer)):
                buffer[: len(data)] = data
                return len(data)


def _unxz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def parse_json(text: str) -> Any:
    """Parse strict JSON.

    Raises ValueError for NaN, infinity, a number too large for a float, a duplicate key, and endless nesting.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite, parse_int=_whole
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path) -> Any:
    """Read a file of strict JSON. Raises OSError and ValueError as above."""
    return parse_json(read_text(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises OSError and ValueError as above."""
    try:
        return tomllib.loads(read_text(path))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def twice(pairs: list[tuple[str, Any]]) -> str:
    """Return a duplicate key of a non-empty object, or an empty string."""
    ((key, count),) = Counter(key for key, _ in pairs).most_common(1)
    return key if count > 1 else ""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"duplicate key {ascii(twice(pairs))[:60]} in one object")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"number {text[:40]}… is too large")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"number {text[:40]} is too large")
    return value
