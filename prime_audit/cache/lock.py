"""A lock that only one process holds: the kernel's, so that a killed holder has let go.

``flock`` on a file that stands there only while somebody holds or waits; a library (filelock) leaves its files behind,
one an entry. Where the system or the file system has no such locks, work may be done twice, and nothing else happens.
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
"""Seconds of waiting after which the user is told."""
_PAUSE = (0.02, 0.5)
"""Seconds between two looks, the first and the longest."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


class BusyError(Exception):
    """Somebody else holds the lock; ``args[0]`` says who."""


@contextmanager
def locked(path: Path, waiting: Callable[[str], None] | None = None) -> Iterator[bool]:
    """Hold the lock file ``path`` while the body runs, then take it away; yields False where there are no locks.

    Parameters
    ----------
    path
        Its folder has to be there.
    waiting
        Called once, with who holds it, when that has lasted some seconds; None: nobody waits.

    Raises
    ------
    BusyError
        Where it is held and nobody waits.
    OSError
        Where the file cannot be made.
    """
    descriptor = _waited(path, waiting)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            with suppress(OSError):  # taken away first: who opened it meanwhile sees that it is another file
                path.unlink()
            os.close(descriptor)


def _waited(path: Path, waiting: Callable[[str], None] | None) -> int | None:
    """Open and lock; None where there are no locks."""
    began, pause, told = time.monotonic(), _PAUSE[0], False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if _taken(descriptor) and _stands(descriptor, path):
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
        if not told and time.monotonic() - began > PATIENCE:
            waiting(other)
            told = True
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


def _stands(descriptor: int, path: Path) -> bool:
    """Tell whether the open file is still the one at ``path``: its holder may have taken it away."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    own = os.fstat(descriptor)
    return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)


def _sign(descriptor: int) -> None:
    """Write down who holds it, for whoever waits."""
    with suppress(OSError):  # a full disk: nobody will know
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())


def holder(path: Path) -> str | None:
    """Say who holds a lock file, without taking it; None where nobody does, or there are no locks."""
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
