"""Errors that a user can cause: one line that says what, where and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 60
"""Characters of an unknown name that are shown and compared, because it may come from a file."""


class UserError(Exception):
    """An error in the user's input. The command prints it in one line and exits with code 2."""


class PartError(UserError):
    """An error of one plugin or one training: its results fail, and the rest of the run continues.

    Any other UserError is an error in the user's input, and ends the run.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Build the error for an unknown name, with the nearest known names (or all of them)."""
    name = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
    # Of a benchmark's numbered tasks, the nearest spelling is another task.
    numbered = kind.startswith("task") and "lamp" in name.lower()
    return UserError(f"unknown {kind} {name!r}: {hint('' if numbered else name, known)}")


def hint(name: str, known: Iterable[str]) -> str:
    """Name the nearest of the known names, or all of them where none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"


def in_a_line(fault: BaseException) -> str:
    """Format any error with its type and text, in one line."""
    return " ".join(f"{type(fault).__name__}: {fault}".split())


def first_line_of(fault: BaseException) -> str:
    """Return the first line of an error's text, or the error's type where there is none."""
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0][:300]


FAULTS = (Exception, SystemExit)
"""What a plugin may raise. ``sys.exit`` in a plugin must not end the run silently."""
