"""Signals that end a command: one line, a clean state, and the exit code that shells expect."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")


class Stopped(BaseException):
    """The process received a signal to end. Like Ctrl-C, it passes error handlers and half-done work is undone."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = signal.Signals(number).name
        """For example SIGTERM."""
        self.code = 128 + number
        """Exit code."""


@contextmanager
def stopping() -> Iterator[None]:
    """Raise :class:`Stopped` in the body on a signal to end. Signals that ``nohup`` ignores stay ignored."""
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]  # Windows lacks SIGHUP
    ours = [n for n in numbers if signal.getsignal(n) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        ours = []  # only the main thread may set handlers
    for number in ours:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)
