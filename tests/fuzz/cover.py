"""Which lines of the package a try has run: what tells the fuzzer that an input is of use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from .attempt import PACKAGE

_ROOT = str(PACKAGE)


class Lines:
    """Lines run so far, by code object; those of a first time are counted."""

    def __init__(self) -> None:
        self.seen: set[tuple[CodeType, int]] = set()

    def __len__(self) -> int:
        return len(self.seen)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count the lines that the body runs: by sys.monitoring where there is such (each line costs once)."""
        if hasattr(sys, "monitoring"):
            with self._monitoring():
                yield
            return
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(_ROOT) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.seen.add((frame.f_code, frame.f_lineno))
        return self._line

    @contextmanager
    def _monitoring(self) -> Iterator[None]:
        watch: Any = sys.monitoring  # type: ignore[attr-defined]  # from Python 3.12 on

        def line(code: CodeType, number: int) -> Any:
            if code.co_filename.startswith(_ROOT):
                self.seen.add((code, number))
            return watch.DISABLE

        watch.use_tool_id(watch.COVERAGE_ID, "prime-audit fuzz")
        watch.register_callback(watch.COVERAGE_ID, watch.events.LINE, line)
        watch.set_events(watch.COVERAGE_ID, watch.events.LINE)
        try:
            yield
        finally:
            watch.set_events(watch.COVERAGE_ID, 0)
            watch.free_tool_id(watch.COVERAGE_ID)
