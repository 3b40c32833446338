"""Errors inside a run: a part that raises fails with its traceback, and the rest continues.

Only errors of plugins and of single trainings are caught. A UserError about the user's input ends the run in one
line, whichever method meets it first: for example too many sharers, or a learning rate at which nothing trains. The
finished results stay in the cache, and the user can fix the input before days of compute. A full disk, Ctrl-C and
signals end the run too.
"""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from prime_audit.errors import PartError, UserError
from prime_audit.folder import RunFolder, write_atomic
from prime_audit.io.log import LOG
from prime_audit.io.markup import visible
from prime_audit.record import FAILED, Failure

T = TypeVar("T")
FOLDER = "failures"
LONGEST = 300
"""Characters of an error's line."""


class LostError(PartError):
    """A cell on which other processes died, and which is not tried again."""

    def __init__(self, why: str, trace: str | None) -> None:
        super().__init__(why)
        if trace:
            self.add_note(trace)


@dataclass(frozen=True)
class Failed:
    """A placeholder for a result that failed."""

    reason: str
    """Why, in one line that begins with ``record.FAILED``. It becomes the reason of every result that is lost."""


@dataclass
class Faults:
    """The errors of a run so far."""

    found: list[Failure] = field(default_factory=list)
    """In the order they occurred."""
    traces: list[str] = field(default_factory=list)
    """Distinct tracebacks; the n-th becomes ``failures/00n.txt``."""

    def attempt(self, work: Callable[[], T], where: Failure) -> T | Failed:
        """Call ``work``. If it fails, log the error with ``where`` and return a placeholder.

        Raises UserError where the user's input is at fault.
        """
        try:
            return work()
        except Exception as fault:
            if isinstance(fault, UserError) and not isinstance(fault, PartError):
                raise
            if full := _full_disk(fault):
                raise full from None
            if isinstance(fault, BrokenPipeError):  # the reader of our output has gone: no part's fault
                raise
            return self.note(fault, where)

    def note(self, fault: Exception, where: Failure) -> Failed:
        """Log an error and return a placeholder."""
        trace = "".join(traceback.format_exception(fault))
        if trace not in self.traces:
            self.traces.append(trace)
            LOG.error(visible(trace))
        file = f"{FOLDER}/{self.traces.index(trace) + 1:03d}.txt"
        self.found.append(replace(where, error=one_line(fault), file=file))
        return Failed(FAILED + one_line(fault))


def _full_disk(fault: BaseException | None) -> OSError | None:
    """Return the full-disk error behind a fault, if any: no other part would fare better."""
    while fault is not None:
        if isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT):
            return fault
        fault = fault.__cause__ or fault.__context__
    return None


def one_line(fault: Exception) -> str:
    """Format an error in one line that is the same on every machine: short paths, no memory addresses."""
    text = pathless(str(fault) if isinstance(fault, UserError) else f"{type(fault).__name__}: {fault}")
    text = " ".join(re.sub(r"\b0x[0-9a-f]+\b", "0x…", text).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def pathless(text: str) -> str:
    """Shorten the absolute paths in a text to their last part, because a record may be published."""
    return re.sub(
        r"(?<![\w.])(?:[A-Za-z]:)?(?:[\\/][^\\/\s'\":;,()<>]+)+[\\/]([^\\/\s'\":;,()<>]+)", r"\1", text
    )


def first(found: Iterable[object]) -> Failed | None:
    """Return the first placeholder of a failed result, if any."""
    return next((one for one in found if isinstance(one, Failed)), None)


def write(folder: RunFolder, faults: Faults) -> None:
    """Write the tracebacks into a run's folder, and delete those of an earlier attempt."""
    place = folder.path / FOLDER
    for old in place.glob("[0-9][0-9][0-9].txt"):
        old.unlink()
    if faults.traces:
        place.mkdir(exist_ok=True)
    elif place.is_dir() and not any(place.iterdir()):
        place.rmdir()
    for number, trace in enumerate(faults.traces, start=1):
        write_atomic(place / f"{number:03d}.txt", [trace])
