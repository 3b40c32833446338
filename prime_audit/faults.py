"""Faults inside a run: what raises fails its own part, under its own name and with its traceback; the rest goes on.

Only faults of plugins and of single trainings are taken so. A UserError about what the user gave (more sharers asked
for than there are, a rate at which nothing trains) ends the run in one line, whatever method met it first: the other
methods' figures are kept in the cache, and it is for the user to mend before days of work go by without what she asked
for. So does a full disk. Ctrl-C and signals are no Exceptions and end the run too.
"""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from prime_audit.errors import PartError, UserError
from prime_audit.record import FAILED, Failure

if TYPE_CHECKING:
    from prime_audit.folder import RunFolder

T = TypeVar("T")
FOLDER = "failures"
LONGEST = 300
"""Characters of an error's line."""


class LostError(PartError):
    """A cell that other processes died of, and that is not tried again."""

    def __init__(self, why: str, trace: str | None) -> None:
        super().__init__(why)
        if trace:
            self.add_note(trace)


@dataclass(frozen=True)
class Failed:
    """Stands in the place of what could not be made."""

    reason: str
    """Why, in one line that begins with ``record.FAILED``: the reason of every figure that it costs."""


@dataclass
class Faults:
    """What has failed in a run so far."""

    found: list[Failure] = field(default_factory=list)
    """In the order met."""
    traces: list[str] = field(default_factory=list)
    """Distinct tracebacks; the n-th becomes ``failures/00n.txt``."""

    def attempt(self, work: Callable[[], T], where: Failure) -> T | Failed:
        """Do ``work``; where it fails note that, ``where`` filled in, and return what stands for it.

        Raises UserError where the fault is in what the user gave.
        """
        try:
            return work()
        except Exception as fault:
            if isinstance(fault, UserError) and not isinstance(fault, PartError):
                raise
            if full := _full_disk(fault):
                raise full from None
            return self.note(fault, where)

    def note(self, fault: Exception, where: Failure) -> Failed:
        """Note a fault."""
        trace = "".join(traceback.format_exception(fault))
        if trace not in self.traces:
            self.traces.append(trace)
        file = f"{FOLDER}/{self.traces.index(trace) + 1:03d}.txt"
        self.found.append(replace(where, error=told(fault), file=file))
        return Failed(FAILED + told(fault))


def _full_disk(fault: BaseException | None) -> OSError | None:
    """Return the full disk behind a fault, if that is what it was: nobody's fault, and no part will fare better."""
    while fault is not None:
        if isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT):
            return fault
        fault = fault.__cause__ or fault.__context__
    return None


def told(fault: Exception) -> str:
    """Say a fault in one line, the same on every machine: of paths their last part, no addresses in memory."""
    text = pathless(str(fault) if isinstance(fault, UserError) else f"{type(fault).__name__}: {fault}")
    text = " ".join(re.sub(r"\b0x[0-9a-f]+\b", "0x…", text).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def pathless(text: str) -> str:
    """Leave of the absolute paths in a text their last part: a record may be published."""
    return re.sub(
        r"(?<![\w.])(?:[A-Za-z]:)?(?:[\\/][^\\/\s'\":;,()<>]+)+[\\/]([^\\/\s'\":;,()<>]+)", r"\1", text
    )


def first(found: Iterable[object]) -> Failed | None:
    """Return the first of some results that stands for one that could not be made."""
    return next((one for one in found if isinstance(one, Failed)), None)


def write(folder: RunFolder, faults: Faults) -> None:
    """Write the tracebacks into a run's folder, and take away those of an earlier attempt."""
    from prime_audit.folder import write_atomic

    place = folder.path / FOLDER
    for old in place.glob("[0-9][0-9][0-9].txt"):
        old.unlink()
    if faults.traces:
        place.mkdir(exist_ok=True)
    elif place.is_dir() and not any(place.iterdir()):
        place.rmdir()
    for number, trace in enumerate(faults.traces, start=1):
        write_atomic(place / f"{number:03d}.txt", [trace])
