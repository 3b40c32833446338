"""Free space in a cache.

Only prime-audit's own files are removed: entries, locks, drafts and damaged entries, each recognised by name. No link
is followed. A folder with a foreign file stays whole, and so does an entry in use.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from prime_audit.cache.entry import DAMAGED, LOCK, MAKING
from prime_audit.cache.listing import KEY, Listed, below, folders, homes, listed, names, shorts, size
from prime_audit.cache.lock import BusyError, holder, locked
from prime_audit.errors import UserError

_DRAFT = re.compile(rf"{re.escape(MAKING)}(?:([0-9a-f]{{64}})-)?\w+")
_SHELVED = re.compile(r"[0-9a-f]{64}-\d+")
_OWN_FILES = re.compile(
    r"(manifest|cost|diverged|texts)\.json|(arrays|gates)\.safetensors"
    r"|\d{4}(/\.saving-\w+)?(/(adapter_config\.json|adapter_model\.safetensors))?"
)
"""Paths below an entry that prime-audit writes."""
OLD = 86400.0
"""Seconds after which a draft without a lock is abandoned."""
T = TypeVar("T")


@dataclass
class Pruned:
    """What was removed, or would be."""

    entries: list[Listed] = field(default_factory=list)
    """Entries, in the order of removal."""
    rubbish: int = 0
    """Locks, drafts and damaged entries."""
    bytes: int = 0
    """Bytes freed."""
    left: list[str] = field(default_factory=list)
    """What had to stay, one line each."""


def prune(
    root: Path,
    *,
    older: float | None = None,
    keep: int | None = None,
    damaged: bool = False,
    dry: bool = False,
    now: float | None = None,
) -> Pruned:
    """Remove what killed runs left, and entries by age and size; with ``dry`` report what would be removed.

    ``older`` removes entries that have not been read for this many seconds, ``keep`` the least recently read ones until
    the rest takes at most this many bytes, and ``damaged`` the damaged ones that were set aside. ``now``: seconds since
    1970, by default the clock's. Raises UserError where there is no such folder, or it cannot be written.
    """
    broom = _Broom(dry, time.time() if now is None else now)
    for home in homes(root):
        broom.rubbish(home)
        if damaged:
            broom.shelf(home)
    every = sorted(listed(root), key=lambda one: (one.used, one.entry.key))
    room = sum(one.bytes for one in every)
    for one in every:
        aged = older is not None and broom.now - one.used > older
        if aged or (keep is not None and room > keep):
            room -= one.bytes if broom.entry(one) else 0
    return broom.done


def sweep(root: Path) -> None:
    """Remove what killed runs left, as far as possible, without a message."""
    with suppress(UserError):  # of another user, or read-only
        _Broom(False, time.time()).rubbish(root)


@dataclass
class _Broom:
    """Removes prime-audit's own files, or reports what it would remove."""

    dry: bool
    now: float
    locks: bool = True
    """Whether the file system has locks."""
    done: Pruned = field(default_factory=Pruned)

    def rubbish(self, home: Path) -> None:
        """Remove locks without a holder and drafts without a writer."""
        for short in shorts(home):
            for name in names(short):
                path = short / name
                if draft := _DRAFT.fullmatch(name):
                    # It may become an entry meanwhile, or another process may remove it.
                    with suppress(FileNotFoundError):
                        self.done.rubbish += self._draft(path, draft[1])
                elif name.startswith(LOCK) and KEY.fullmatch(name[len(LOCK) :]):
                    with ExitStack() as held:  # it is deleted when it is released
                        self.done.rubbish += self._free(path, path, held)

    def shelf(self, home: Path) -> None:
        """Remove damaged entries that were set aside."""
        for shelf in folders(home, re.compile(DAMAGED)):
            for name in names(shelf):
                with suppress(FileNotFoundError):  # another process removed it meanwhile
                    if _SHELVED.fullmatch(name) and self._is_own(shelf / name):
                        self._remove(shelf / name)
                        self.done.rubbish += 1

    def entry(self, one: Listed) -> bool:
        """Remove an entry that no process is computing. Returns whether it is gone, or would be."""
        key, place = one.entry.key, one.entry.place
        # Another process may remove it meanwhile.
        with suppress(FileNotFoundError), ExitStack() as held:
            if not self._free(place, place.with_name(LOCK + key), held) or not self._is_own(place):
                return False
            aside = place.with_name(f"{MAKING}{key}-pruned")
            if not self.dry:  # renamed first: a process that reads meanwhile finds it absent, not damaged
                _writing(place, lambda: place.rename(aside))
            self._remove(place if self.dry else aside)
            self.done.entries.append(one)
        return True

    def _draft(self, path: Path, key: str | None) -> bool:
        with ExitStack() as held:
            if (key and not self._free(path, path.with_name(LOCK + key), held)) or not self._is_own(path):
                return False
            if not (key and self.locks) and self.now - os.lstat(path).st_mtime < OLD:
                self.done.left.append(f"{path}: may still be written")
                return False
            self._remove(path)
            return True

    def _free(self, what: Path, lock: Path, held: ExitStack) -> bool:
        """Hold a lock within ``held``, or note that there are none. A dry run only looks at it."""
        try:
            if not self.dry:
                self.locks = _writing(lock, lambda: held.enter_context(locked(lock)))
            elif who := holder(lock):
                raise BusyError(who)
        except BusyError as who:
            self.done.left.append(f"{what}: in use by {who}")
            return False
        return True

    def _is_own(self, top: Path) -> bool:
        for path in below(top):
            name = path.relative_to(top).as_posix()
            if path.is_symlink() or (path != top and not _OWN_FILES.fullmatch(name)):
                self.done.left.append(
                    f"{top}: {'is a link' if path == top else f'contains {name}'}, not written by prime-audit"
                )
                return False
        return True

    def _remove(self, top: Path) -> None:
        self.done.bytes += size(top)
        for path in () if self.dry else list(below(top)):
            _writing(path, path.rmdir if path.is_dir() else path.unlink)


def _writing(path: Path, change: Callable[[], T]) -> T:
    try:
        return change()
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise UserError(f"cache {path}: cannot be removed ({fault.strerror}); pass --cache DIR") from None
