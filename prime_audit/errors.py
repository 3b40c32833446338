"""Errors that a user can cause: one line that says what, where and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 60
"""Characters of an unknown name that are shown and compared: it may come from a file."""


class UserError(Exception):
    """A fault in what the user gave; the command prints it in one line and exits with code 2."""


class PartError(UserError):
    """A fault of one plugin, or of one training: what needs it fails, and the rest of the run goes on.

    Any other UserError is a fault in what the user gave, and ends the run.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Build the error for an unknown name, with the nearest known ones (all, where none is near)."""
    names, name = sorted(known), name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"
    return UserError(f"unknown {kind} {name!r}: {hint}")


def in_a_line(fault: BaseException) -> str:
    """Say any error by its kind and text, in one line."""
    return " ".join(f"{type(fault).__name__}: {fault}".split())


FAULTS = (Exception, SystemExit)
"""What a plugin may fail by; ``sys.exit`` in one is no reason for a run to end, and say nothing."""
