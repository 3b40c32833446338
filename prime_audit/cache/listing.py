"""List the entries of a cache and verify them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prime_audit.cache.entry import MANIFEST, DamagedError, Entry, read_manifest
from prime_audit.cache.lock import BusyError
from prime_audit.errors import UserError

KEY = re.compile(r"[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-f]{2}")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An entry, as listed."""

    entry: Entry
    kind: str
    """adapters, gates, texts, arrays or partial; ``?`` where its manifest cannot be read."""
    within: Mapping[str, str | None]
    """Task, method and stage that computed it; empty where its manifest cannot be read."""
    bytes: int
    made: float
    """When it was written, seconds since 1970."""
    used: float
    """When it was written or last read."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        within = {name: self.within.get(name) for name in ("task", "method", "stage")}
        times = {"bytes": self.bytes, "made": self.made, "used": self.used}
        return {"key": self.entry.key, "kind": self.kind, **within, **times}


def listed(root: Path) -> list[Listed]:
    """List a cache's entries by key; UserError where there is no such folder."""
    found = []
    for entry in entries(root):
        try:
            found.append(_listed(entry))
        except FileNotFoundError:  # pruned meanwhile
            continue
        except OSError as fault:
            raise UserError(
                f"cache {entry.place}: cannot be read ({fault.strerror}); pass --cache DIR"
            ) from None
    return found


def damage(root: Path, repair: bool = False) -> Iterator[str]:
    """Read every entry and yield a line for each damaged one; ``repair`` sets it aside.

    Raises UserError where there is no such folder, or an entry cannot be set aside.
    """
    for entry in entries(root):
        try:
            entry.check()
        except DamagedError as fault:
            if entry.there():  # otherwise pruned meanwhile
                yield f"{entry.place}: {fault}" + (_repaired(entry) if repair else "")


def _repaired(entry: Entry) -> str:
    try:
        with entry.locked(None):
            with suppress(DamagedError):
                entry.check()
                return "; recomputed meanwhile"
            return f"; set aside in {entry.set_aside()}" if entry.there() else "; recomputed meanwhile"
    except BusyError as holder:
        return f"; left to {holder}, which computes it"


def entries(root: Path) -> Iterator[Entry]:
    """Yield every entry, whole or damaged, by key. Raises UserError where there is no such folder."""
    for home in homes(root):
        for short in shorts(home):
            for name in names(short):
                if KEY.fullmatch(name) and name[:2] == short.name:
                    yield Entry(home, name)


def homes(root: Path) -> list[Path]:
    """Folders with entries: the cache, and within it the speeds measured for plans."""
    if not root.is_dir():
        raise UserError(f"cache {root}: no such folder; pass --cache DIR")
    return [root, *folders(root, re.compile("speeds"))]


def shorts(home: Path) -> list[Path]:
    """Folders of entries, by the first two letters of their keys."""
    return folders(home, _SHORT)


def folders(parent: Path, wanted: re.Pattern[str]) -> list[Path]:
    """List the real folders (no links) with matching names."""
    found = [parent / name for name in names(parent) if wanted.fullmatch(name)]
    return [path for path in found if path.is_dir() and not path.is_symlink()]


def names(folder: Path) -> list[str]:
    """List a folder in order. Raises UserError where it cannot be read."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as fault:
        raise UserError(f"cache {folder}: cannot be read ({fault.strerror}); pass --cache DIR") from None


def below(path: Path) -> Iterator[Path]:
    """Yield everything below a folder, deepest first and the folder last; a file or a link alone."""
    if path.is_dir() and not path.is_symlink():
        for one in sorted(path.iterdir()):
            yield from below(one)
    yield path


def size(path: Path) -> int:
    """Bytes of all plain files below."""
    found = [os.lstat(one) for one in below(path)]
    return sum(one.st_size for one in found if stat.S_ISREG(one.st_mode))


def _listed(entry: Entry) -> Listed:
    kind, within = "?", dict[str, str | None]()
    with suppress(DamagedError):
        manifest = read_manifest(entry.place)
        kind, within = manifest.kind, dict(manifest.within)
    made = os.lstat(entry.place).st_mtime
    used = os.lstat(entry.place / MANIFEST).st_mtime if kind != "?" else made
    return Listed(entry=entry, kind=kind, within=within, bytes=size(entry.place), made=made, used=used)
