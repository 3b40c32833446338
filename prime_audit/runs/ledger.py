"""Progress of a run, and the cost of each stage."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from prime_audit.cache.tally import Tally, say
from prime_audit.io.log import LOG, verbose
from prime_audit.io.markup import visible
from prime_audit.record import Cost, StageSeconds, Times

if TYPE_CHECKING:
    from rich.progress import Progress

    from prime_audit.engine.engine import Engine


EVERY = 30.0
"""Seconds between two lines of a long stage where there is no terminal."""
SOON = 8.0
"""Seconds after which such a stage says that it is there."""
KNOWN = 3.0
"""Seconds at the start in which units come from the cache: they say nothing about the others' pace."""
MEMORY = 120.0
"""Seconds after which a unit's pace counts a third in the estimate of the time left."""


@dataclass
class _Pace:
    """Progress of a stage, and the time left by a pace that older units count less and less in."""

    title: str
    total: int
    start: float
    done: int = 0
    reported: float | None = None
    """When the last line was printed; None: none was."""
    _units: float = 0.0
    _seconds: float = 0.0
    """Both with the same weights."""
    _last: float = field(init=False)
    _seen: int = 0
    """How often units were counted: the first time says little, for it has what is done once for all of them."""

    def __post_init__(self) -> None:
        self._last = self.start

    def add(self, more: int) -> None:
        """Count ``more`` units."""
        now = time.perf_counter()
        self.done += more
        if now - self.start >= KNOWN:
            taken, self._seen = now - self._last, self._seen + 1
            kept = math.exp(-taken / MEMORY)
            self._units, self._seconds = kept * self._units + more, kept * self._seconds + taken
        self._last = now

    def left(self) -> float | None:
        """Return the seconds left; None where nothing is known yet."""
        if self._seen < 2 or not self._units:
            return None
        whole = self._seconds / self._units * (self.total - self.done)
        return max(0.0, whole - (time.perf_counter() - self._last))

    def line(self) -> str | None:
        """Return a line, with the time left if it is known; None if the last is recent or nothing is left."""
        now, left = time.perf_counter(), self.left()
        due = now - self.start >= SOON if self.reported is None else now - self.reported >= EVERY
        if not due or self.done >= self.total:
            return None
        self.reported = now
        return f"{self.title}: {self.done}/{self.total}" + (
            "" if left is None else f", about {left:.0f} s left"
        )


@dataclass(frozen=True)
class _Left:
    """A bar's text: the time left now."""

    pace: _Pace

    def __format__(self, _: str) -> str:
        left = self.pace.left()
        return "" if left is None else f"about {timedelta(seconds=round(left))} left"


@dataclass(kw_only=True)
class Ledger:
    """Shows a bar (or lines) with the time left for every stage, and records its seconds and model use."""

    quiet: bool = False
    costs: list[Cost] = field(default_factory=list)
    stages: list[StageSeconds] = field(default_factory=list)
    started: str = field(default_factory=lambda: _now())
    tally: Tally = field(default_factory=Tally)
    """What the cache had, and what had to be computed."""
    _bars: Progress | None = None

    def __post_init__(self) -> None:
        self.tally.say = self.warn

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show progress during the body. Without a terminal, finished stages are printed as lines."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        if self.quiet or verbose() or not console.is_terminal:
            yield
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        with Progress(*columns, console=console, transient=True) as self._bars:
            try:
                yield
            finally:
                self._bars = None

    @contextmanager
    def stage(
        self, task: str | None, method: str | None, name: str, total: int, engine: Engine | None = None
    ) -> Iterator[Callable[[int], None]]:
        """Run one stage of ``total`` units; yields the tick that counts them."""
        title = visible(" · ".join(filter(None, (task, method, name))))
        start, before = time.perf_counter(), replace(engine.base.spent) if engine else None
        outer, self.tally.within = self.tally.within, {"task": task, "method": method, "stage": name}
        pace = _Pace(title, total, start)
        bar = self._bars.add_task(title, total=total, left=_Left(pace)) if self._bars and total else None

        def tick(done: int) -> None:
            pace.add(done)
            if self._bars and bar is not None:
                self._bars.advance(bar, done)
            elif not self._bars and (line := pace.line()):
                self.note(line)

        soon = threading.Timer(SOON, self._begun, [pace])
        soon.daemon = True
        try:
            if total and not self._bars and not self.quiet:
                soon.start()
            yield tick
        finally:  # a failed stage leaves no bar behind, because the run may continue
            soon.cancel()
            self.tally.within = outer
            if self._bars and bar is not None:
                self._bars.remove_task(bar)
        seconds = time.perf_counter() - start
        self.stages.append(StageSeconds(task, method, name, round(seconds, 3)))
        if engine and before:
            spent = asdict(engine.base.spent.since(before))
            self.costs.append(
                Cost(
                    task=task or "",
                    method=method,
                    stage=name,
                    candidates=total if name == "search" else 0,
                    **spent,
                )
            )
        self._print(title, seconds)

    def _begun(self, pace: _Pace) -> None:
        """Say that a stage has begun whose first units take long."""
        if pace.reported is None:
            pace.reported = time.perf_counter()
            self.note(f"{pace.title}: {pace.done}/{pace.total}")

    def note(self, line: str) -> None:
        """Print a message where progress is shown."""
        LOG.info(visible(line))
        if self._bars:
            self._bars.console.print(visible(line), highlight=False, markup=False)
        elif not self.quiet:
            print(visible(line), file=sys.stderr, flush=True)

    def warn(self, line: str) -> None:
        """Print an important message even if the run is quiet."""
        if self._bars:
            LOG.warning(visible(line))
            self._bars.console.print(
                f"prime-audit: {visible(line)}", highlight=False, markup=False, soft_wrap=True
            )
        else:
            say(line)

    def times(self) -> Times:
        """Return everything that differs between two runs of one specification."""
        tally = self.tally
        return Times(
            started=self.started,
            finished=_now(),
            stages=tuple(self.stages),
            peak_memory_bytes=_peak_memory(),
            peak_device_bytes=_peak_device(),
            made=tally.made,
            read=tally.read,
            damaged=tuple(tally.damaged),
        )

    def _print(self, title: str, seconds: float) -> None:
        LOG.info(f"{title}: {seconds:.1f} s")
        if self._bars:
            from rich.markup import escape

            self._bars.console.print(f"[dim]{escape(title)}[/dim] {seconds:.1f} s", highlight=False)
        elif not self.quiet:
            print(f"{title}: {seconds:.1f} s", file=sys.stderr, flush=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _peak_memory() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_device() -> int | None:
    torch = sys.modules.get("torch")  # rescoring from stored signals never loads it
    return int(torch.cuda.max_memory_allocated()) if torch and torch.cuda.is_available() else None
