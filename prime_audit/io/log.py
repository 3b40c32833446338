"""What commands say, as Python's logging has it: for a log file, and for those who want to see more."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from prime_audit.errors import UserError

LOG = logging.getLogger("prime_audit")
"""Notes and finished stages at INFO, warnings at WARNING, tracebacks at ERROR; what the cache had at DEBUG."""
LOG.addHandler(logging.NullHandler())
_shown: list[logging.Handler] = []


def verbose() -> bool:
    """Whether a command was asked to show more: then there are lines instead of bars, and libraries may speak."""
    return bool(_shown)


def show_more() -> None:
    """Show on stderr what is otherwise only logged: each cached result, tracebacks, libraries' warnings."""
    if not _shown:
        handler = logging.StreamHandler(sys.stderr)
        handler.addFilter(
            lambda entry: entry.name != LOG.name or entry.levelno in (logging.DEBUG, logging.ERROR)
        )
        _shown.append(_attach(handler, "%(name)s: %(message)s"))
        logging.captureWarnings(True)
        logging.getLogger("py.warnings").addHandler(handler)


def write_to(file: Path) -> None:
    """Append to a file, with its time, all that is said, cached results and tracebacks.

    UserError where it cannot be written.
    """
    try:
        handler = logging.FileHandler(file, encoding="utf-8")
    except OSError as fault:
        raise UserError(f"--log {file}: {fault.strerror}; choose a file in a folder that exists") from None
    _attach(handler, "%(asctime)s %(levelname)s: %(message)s")


def _attach(handler: logging.Handler, form: str) -> logging.Handler:
    handler.setFormatter(logging.Formatter(form))
    LOG.setLevel(logging.DEBUG)
    LOG.addHandler(handler)
    return handler
