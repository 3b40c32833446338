"""One cache entry: a folder named by its content key, with a manifest that reveals any damage.

``ROOT/k2/KEY/`` (k2: the key's first two letters) has the entry's files and ``manifest.json``. The manifest lists
format, key, kind, the stage that computed it, size and sha256 of every file, and its own hash. The entry is written
aside and renamed, so a killed process never leaves half an entry. The checksums find what a power cut damages. The
process that computes it locks ``ROOT/k2/.lock-KEY``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prime_audit.cache.lock import locked
from prime_audit.errors import UserError

FORMAT = "prime-audit/entry/1"
MANIFEST = "manifest.json"
MAKING, LOCK, DAMAGED = ".making-", ".lock-", "damaged"
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO}
"""Errors caused by the entry itself; others say nothing about it."""
_FULL = {errno.ENOSPC, errno.EDQUOT}


class DamagedError(Exception):
    """An entry is not what was written; the message says why."""


class UnwritableError(UserError):
    """A cache cannot be written: the disk is full, read-only, or of another user."""


@dataclass(frozen=True)
class Manifest:
    """What a manifest states about its entry."""

    key: str
    """Hash of everything that decides its content."""
    kind: str
    """adapters, gates, texts or arrays; ``partial``: what an interrupted computation had so far."""
    within: Mapping[str, str | None]
    """Task, method and stage that computed it first; may be empty."""
    files: Mapping[str, tuple[int, str]]
    """Path below the folder → bytes and sha256."""


@dataclass(frozen=True)
class Entry:
    """The place of one entry, whether or not it exists."""

    root: Path
    key: str
    """Content key, at least two letters."""

    @property
    def place(self) -> Path:
        """Its folder."""
        return self.root / self.key[:2] / self.key

    def there(self) -> bool:
        """Whether anything exists at its place, whole or damaged."""
        return os.path.lexists(self.place)

    @contextmanager
    def locked(self, waiting: Callable[[str], None] | None) -> Iterator[None]:
        """Lock it (see :func:`lock.locked`), and delete the drafts of a killed run.

        Raises UserError where the cache cannot be written.
        """
        path = self.place.with_name(f"{LOCK}{self.key}")
        with ExitStack() as held:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                alone = held.enter_context(locked(path, waiting))
            except OSError as fault:
                raise self.unwritable(fault) from fault
            for left in path.parent.glob(f"{MAKING}{self.key}-*") if alone else ():
                shutil.rmtree(left, ignore_errors=True)
            yield

    def check(self, kind: str | None = None) -> Manifest:
        """Compare every byte with the manifest.

        Raises DamagedError, or UserError where the system cannot read it (permissions, too many open files).
        """
        try:
            manifest = read_manifest(self.place)
            if manifest.key != self.key:
                raise DamagedError(f"it is another entry, {manifest.key[:12]}")
            if kind not in (None, manifest.kind):
                raise DamagedError(f"it contains {manifest.kind}, not {kind}")
            _compare(self.place, manifest)
        except OSError as fault:
            if not of_the_entry(fault):
                raise self.unreadable(fault) from fault
            raise DamagedError(f"it cannot be read ({fault.strerror})") from None
        return manifest

    def write(self, kind: str, within: Mapping[str, str | None], fill: Callable[[Path], None]) -> None:
        """Let ``fill`` write the files into a folder aside, seal it, and move it into place.

        If another run finished the same entry first, that one is used. Raises UserError where it cannot be saved;
        then nothing is left behind.
        """
        aside = self.place.with_name(f"{MAKING}{self.key}-{secrets.token_hex(4)}")
        try:
            aside.mkdir(parents=True)
            fill(aside)
            _seal(aside, self.key, kind, within)
            aside.rename(self.place)
        except Exception as fault:
            if not _of_the_disk(fault):
                raise
            if not self.place.is_dir():
                raise self.unwritable(fault) from fault
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def remove(self) -> None:
        """Delete it. Renamed first: a process that reads meanwhile finds it absent, not damaged."""
        aside = self.place.with_name(f"{MAKING}{self.key}-{secrets.token_hex(4)}")
        with suppress(OSError):  # it is not there, or of another user
            self.place.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def used(self) -> None:
        """Mark it as read: ``prune`` removes the least recently read entries first."""
        with suppress(OSError):  # a read-only cache
            os.utime(self.place / MANIFEST)

    def set_aside(self) -> Path:
        """Move a damaged entry to the cache's ``damaged`` folder. Raises UserError where that fails."""
        shelf = self.root / DAMAGED
        try:
            shelf.mkdir(exist_ok=True)
            number = 1
            while os.path.lexists(shelf / f"{self.key}-{number}"):
                number += 1
            return self.place.rename(shelf / f"{self.key}-{number}")
        except OSError as fault:
            raise self.unwritable(fault) from fault

    def unreadable(self, fault: OSError) -> UserError:
        """Build the error for an entry that cannot be read now. It may be whole, so it stays as it is."""
        return UserError(
            f"cache {self.place}: cannot be read ({fault.strerror}); fix the cause, or "
            "pass --cache DIR or --no-cache"
        )

    def unwritable(self, fault: BaseException) -> UnwritableError:
        """Build the error for a cache that cannot be written."""
        why = (fault.strerror if isinstance(fault, OSError) else None) or str(fault)
        room = "free some space, or " if _full(fault) else ""
        return UnwritableError(
            f"cache {self.place}: cannot be written ({why}); {room}pass --cache DIR or --no-cache"
        )


def of_the_entry(fault: OSError) -> bool:
    """Return whether a fault is the entry's own. Safetensors reports a missing file without an error number."""
    return isinstance(fault, FileNotFoundError) or fault.errno in _GONE


def read_manifest(folder: Path) -> Manifest:
    """Read an entry's manifest. Raises DamagedError or OSError."""
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        raise DamagedError("it is not a folder")
    path = folder / MANIFEST
    if not os.path.lexists(path):
        raise DamagedError(f"{MANIFEST} is missing, or an older prime-audit wrote the entry")
    _require_regular(folder, MANIFEST)
    text = path.read_bytes()
    try:
        content = json.loads(text)
        if text != _sealed({k: v for k, v in content.items() if k != "sha256"}):
            raise ValueError(text)
        files = {
            str(name): (int(file["bytes"]), str(file["sha256"])) for name, file in content["files"].items()
        }
        if content["format"] == FORMAT:
            return Manifest(str(content["key"]), str(content["kind"]), dict(content["within"]), files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedError(f"{MANIFEST} is not what was written") from None
    raise DamagedError(f"{MANIFEST} has format {content['format']!r}, not {FORMAT}")


def holds(folder: Path, file: Path) -> bool:
    """Return whether a file below an entry's folder is the one in its manifest."""
    try:
        name = file.relative_to(folder).as_posix()
        _, sha256 = read_manifest(folder).files.get(name, (0, ""))
        return bool(_require_regular(folder, name)) and _sha256(file) == sha256
    except (OSError, DamagedError):
        return False


def _compare(folder: Path, manifest: Manifest) -> None:
    """Raise DamagedError unless the folder's files match the manifest; each is read once."""
    there = set(_below(folder)) - {MANIFEST}
    for name in sorted(manifest.files.keys() ^ there):
        raise DamagedError(
            f"{name} is missing" if name in manifest.files else f"{name} does not belong to it"
        )
    for name, (size, sha256) in sorted(manifest.files.items()):
        found = _require_regular(folder, name)
        if found != size:
            raise DamagedError(f"{name} has {found} bytes, not {size}")
        if _sha256(folder / name) != sha256:
            raise DamagedError(f"{name} is not what was written (sha256)")


def _seal(folder: Path, key: str, kind: str, within: Mapping[str, str | None]) -> None:
    """Write the manifest of a filled folder."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
        for name in sorted(_below(folder))
    }
    content = {"format": FORMAT, "key": key, "kind": kind, "within": dict(within), "files": files}
    (folder / MANIFEST).write_bytes(_sealed(content))


def _sealed(content: Mapping[str, Any]) -> bytes:
    """Serialise a manifest with its own hash; the same content gives the same bytes."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return (json.dumps({**content, "sha256": digest}, indent=1, sort_keys=True) + "\n").encode()


def _below(folder: Path, front: str = "") -> Iterator[str]:
    """List everything below a folder without following links; of folders only empty ones."""
    with os.scandir(folder) as found:
        for item in found:
            name = front + item.name
            inner = list(_below(Path(item.path), f"{name}/")) if item.is_dir(follow_symlinks=False) else []
            yield from inner or [name]


def _require_regular(folder: Path, name: str) -> int:
    """Return a file's size. Raises DamagedError for a link, a pipe or a folder in its place."""
    found = os.lstat(folder / name)
    if not stat.S_ISREG(found.st_mode):
        raise DamagedError(f"{name} is not a plain file")
    return found.st_size


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _of_the_disk(fault: BaseException) -> bool:
    """Return whether a fault is the disk's. Safetensors puts the system's error number into its text."""
    return isinstance(fault, OSError) or (
        type(fault).__name__ == "SafetensorError" and "os error" in str(fault)
    )


def _full(fault: BaseException) -> bool:
    number = fault.errno if isinstance(fault, OSError) else None
    return number in _FULL or any(f"(os error {n})" in str(fault) for n in _FULL)
