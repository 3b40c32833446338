"""One try of a reader: it returns, or raises UserError, in bounded time; anything else is a find."""

from __future__ import annotations

import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prime_audit.errors import UserError
from prime_audit.io.markup import visible
from prime_audit.io.terminal import error_line

SECONDS = 20
"""Longest that a reader may take for one small input."""
PACKAGE = Path(sys.modules["prime_audit"].__path__[0])


class Lost(AssertionError):
    """A record of the input is neither in the result nor reported."""


class Hang(BaseException):
    """Not done in time. No ``except Exception`` on the way may take it."""


@dataclass(frozen=True)
class Target:
    """A reader, and valid files for it."""

    name: str
    seeds: tuple[bytes, ...]
    """Each is read without a fault."""
    read: Callable[[bytes, Path], object]
    """(bytes, an empty folder) → whatever; the bytes are one file, or several with ``PART`` between."""
    words: tuple[bytes, ...] = ()
    """What its format is made of."""


@dataclass(frozen=True)
class Find:
    """An input that a reader did not bear."""

    target: str
    kind: str
    """Name of the exception."""
    place: str
    """Where in the package it was raised: ``file:line``."""
    said: str
    data: bytes

    @property
    def key(self) -> tuple[str, str, str]:
        """Equal for finds of one cause."""
        return self.target, self.kind, self.place


def attempt(target: Target, data: bytes, folder: Path) -> Find | str | None:
    """Try a reader once: None where it read the input, its message where it refused it, or a find."""
    folder.mkdir(exist_ok=True)
    try:
        with limited(SECONDS):
            target.read(data, folder)
        return None
    except UserError as refusal:
        line = error_line(str(refusal))
        if not line or "\n" in line or line != visible(line):
            return Find(target.name, "NotOneLine", "", line, data)
        return line
    except (Exception, Hang) as fault:
        return Find(target.name, type(fault).__name__, _place(fault), str(fault)[:200], data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(fault: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(fault.__traceback__) if PACKAGE in Path(f.filename).parents]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise Hang in the body after so long; without effect where there are no such signals, or off the main thread."""

    def end(*_: Any) -> None:
        raise Hang(f"more than {seconds} s")

    try:
        before = signal.signal(signal.SIGALRM, end)
    except (AttributeError, ValueError):
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        with suppress(Hang):
            signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
