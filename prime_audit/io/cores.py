"""How this process shares the machine's cores with others: its threads, how they wait, and how busy the machine is.

OpenMP reads the environment once, when torch is imported, so a command decides before that.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from prime_audit.errors import UserError

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""How threads wait in GNU's OpenMP, which torch's wheels bring, and in Intel's."""
BUSY = 0.75
"""Processes that want to run, per core, from which a machine is busy."""
LOOK = 0.2
"""Seconds of a look at what runs now: the load is a mean over a minute, and may be of work that has ended."""


def available() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def asked_for() -> int | None:
    """Threads that the user's environment asks for; None where it does not say."""
    text = os.environ.get(THREADS[0], "").partition(",")[0].strip()
    return int(text) if text.isdecimal() and int(text) else None


def use_threads(count: int) -> None:
    """Let torch and the libraries below it use this many threads; complete only before they are imported."""
    if count < 1:
        raise UserError(f"--threads {count}: pass a whole number of at least 1")
    os.environ.update(dict.fromkeys(THREADS, str(count)))
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Use this many threads during the body (None: as before). Raises UserError for a number below 1."""
    if count is None:
        yield
        return
    import torch

    before = {name: os.environ.get(name) for name in THREADS}, torch.get_num_threads()
    use_threads(count)
    try:
        yield
    finally:
        for name, value in before[0].items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        torch.set_num_threads(before[1])


def busy() -> float | None:
    """Return the load where other processes keep this machine busy, else None."""
    if not hasattr(os, "getloadavg"):
        return None
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < BUSY * cores:
        return None
    meanwhile = Others()
    time.sleep(LOOK)
    return load if meanwhile.cores() >= BUSY * cores / 2 else None


def make_way() -> None:
    """Where the machine is busy, let this process's threads wait without spinning, which slows all that share a core.

    What the user's environment says is kept.
    """
    if busy() is not None and not any(name in os.environ for name in WAITING):
        os.environ[WAITING[0]] = "passive"


def caution() -> tuple[str, ...]:
    """Say where the machine is busy: a line, or none."""
    if (load := busy()) is None:
        return ()
    return (
        f"load {load:.1f} on {os.cpu_count()} cores: other processes slow this one, and its times mean little",
    )


@dataclass
class Others:
    """How many cores other processes use from here on."""

    _since: tuple[float, float, float] = field(default_factory=lambda: _spent())

    def cores(self) -> float:
        """Return their mean number."""
        passed, all_of_them, own = (now - then for now, then in zip(_spent(), self._since, strict=True))
        return max(0.0, all_of_them - own) / passed if passed > 0 else 0.0


def _spent() -> tuple[float, float, float]:
    """Seconds of the clock, of all processes on all cores, and of this process."""
    import psutil

    times = psutil.cpu_times()._asdict()
    # A guest's time is the user's, too.
    idle = ("idle", "iowait", "guest", "guest_nice")
    own = os.times()
    return time.perf_counter(), sum(v for k, v in times.items() if k not in idle), own.user + own.system
