"""A lock held by one process. It is the kernel's, so a killed process has released it.

It uses ``flock`` on a file that exists only while a process holds it or waits. A library (filelock) would leave one
file per entry behind. On systems and file systems without such locks, work may be done twice; nothing else happens.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PATIENCE = 5.0
"""Seconds of waiting before a message is printed."""
_PAUSE = (0.02, 0.5)
"""Seconds between two attempts, the shortest and the longest."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


class BusyError(Exception):
    """Another process holds the lock; ``args[0]`` names it."""


@contextmanager
def locked(path: Path, waiting: Callable[[str], None] | None = None) -> Iterator[bool]:
    """Hold the lock file ``path`` while the body runs, then delete it. Yields False where there are no locks.

    ``waiting`` is called once after some seconds of waiting, with the holder's name; None: do not wait. Raises
    BusyError where it is locked and ``waiting`` is None, OSError where the file cannot be created (no such folder).
    """
    descriptor = _waited(path, waiting)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            # Deleted first: a process that opened it meanwhile sees that it is another file.
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)


def _waited(path: Path, waiting: Callable[[str], None] | None) -> int | None:
    """Open and lock; None where there are no locks."""
    began, pause, warned = time.monotonic(), _PAUSE[0], False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if _taken(descriptor) and _is_current(descriptor, path):
                _sign(descriptor)
                return descriptor
            other = _signature(descriptor)
        except BaseException as fault:
            os.close(descriptor)
            if not isinstance(fault, OSError) or fault.errno not in _NO_LOCKS:
                raise
            with suppress(OSError):
                path.unlink()
            return None
        os.close(descriptor)
        if waiting is None:
            raise BusyError(other)
        if not warned and time.monotonic() - began > PATIENCE:
            waiting(other)
            warned = True
        time.sleep(pause)
        pause = min(2 * pause, _PAUSE[1])


def _taken(descriptor: int) -> bool:
    if fcntl is None:
        raise OSError(errno.ENOSYS, "no locks")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_current(descriptor: int, path: Path) -> bool:
    """Return whether the open file is still the one at ``path``: its holder may have deleted it."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    own = os.fstat(descriptor)
    return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)


def _sign(descriptor: int) -> None:
    """Write the holder's process id, for waiting processes."""
    with suppress(OSError):  # a full disk: the holder stays unknown
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())


def holder(path: Path) -> str | None:
    """Return the holder of a lock file without locking it; None where there is none, or no locks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return None
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return _signature(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def _signature(descriptor: int) -> str:
    return f"process {os.read(descriptor, 20).decode('ascii', 'replace') or 'unknown'}"
