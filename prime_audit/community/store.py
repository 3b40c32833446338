"""The cache of adapters, answers, signals and searches, keyed by a hash of all that decides them.

What takes longer than ``PAUSE`` is also kept while it is computed: an interrupted run goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from prime_audit.cache.entry import MANIFEST, DamagedError, Entry, UnwritableError, of_the_entry
from prime_audit.cache.prune import sweep
from prime_audit.cache.tally import Tally
from prime_audit.engine.memo import NOWHERE, Arrays, Partial
from prime_audit.engine.mixture import Cuts, Spent, Written
from prime_audit.faults import pathless
from prime_audit.io.log import LOG

if TYPE_CHECKING:
    from torch import Tensor

    from prime_audit.engine.divergence import Divergence
    from prime_audit.engine.lora import Adapter

Gates = dict[str, "tuple[Tensor, ...]"]
T = TypeVar("T")
_COST, _LOST, _TEXTS = "cost.json", "diverged.json", "texts.json"
_ARRAYS, _GATES = "arrays.safetensors", "gates.safetensors"
PAUSE = 30.0
"""Seconds of work between two times that its state is kept."""
_WORTH = 20.0
"""Seconds of work for each second that keeping its state took."""


def default_cache() -> Path:
    """Folder of the user's cache: ``$PRIME_AUDIT_CACHE``, or prime-audit below the XDG cache folder."""
    if own := os.environ.get("PRIME_AUDIT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prime-audit"


def content_key(what: Mapping[str, Any]) -> str:
    """Hash of plain JSON data."""
    return hashlib.sha256(json.dumps(what, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def place_of(key: str, number: int) -> str:
    """Return the place below a cache's root of the adapter of a training's ``number``-th owner, as a POSIX path."""
    return f"{key[:2]}/{key}/{number:04d}"


class Store:
    """A cache folder; ``Store(None)`` caches nothing. Files in an entry are named by number, never by a user's id.

    An entry also stores its cost (requests, tokens) and the texts that were truncated. Both count again when it is
    read, so a record shows the full cost of its numbers even if an earlier run did part of the work.

    Checksums are verified at every read; a damaged entry is moved aside and recomputed. The process that computes an
    entry holds its lock; another process on the same cache waits and then reads it.

    What is kept of an unfinished computation is an entry of its own, removed once the computation is complete.
    """

    def __init__(
        self, root: Path | None, spent: Spent, cuts: Cuts | None = None, tally: Tally | None = None
    ) -> None:
        self.root, self.spent, self.cuts = root, spent, cuts or Cuts()
        self.tally = tally or Tally()
        self._making: dict[str, _Partial] = {}
        self._swept = False

    def adapters(
        self,
        key: str,
        names: Sequence[str],
        train: Callable[[], dict[str, Adapter]],
        base_model: str = "",
        lost: list[Divergence] | None = None,
    ) -> dict[str, Adapter]:
        """Return the adapters under ``key``, one per name; train and store them where they are absent.

        ``lost``: where ``train`` puts the names whose training diverged. It is cached too, because the same training
        would diverge again.
        """
        from prime_audit.engine.adapters import load_adapter, save_adapter
        from prime_audit.engine.divergence import Divergence

        gone: list[Divergence] = [] if lost is None else lost

        def save(made: Mapping[str, Adapter], folder: Path) -> None:
            if gone:
                _dump(folder / _LOST, [asdict(d) for d in gone])
            for number, name in enumerate(names):
                if name not in {d.owner for d in gone}:
                    save_adapter(made[name], folder / f"{number:04d}", base_model=base_model)

        def load(folder: Path) -> dict[str, Adapter]:
            found = _load(folder / _LOST) if (folder / _LOST).exists() else []
            gone[:] = [Divergence(**one) for one in found]
            left = {d.owner for d in gone}
            return {n: load_adapter(folder / f"{i:04d}") for i, n in enumerate(names) if n not in left}

        return self._keep(key, "adapters", train, save, load)

    def gates(self, key: str, names: Sequence[str], train: Callable[[], Gates]) -> Gates:
        """Return the gates under ``key``; stored as one safetensors file."""
        from safetensors.torch import load_file, save_file

        def save(made: Gates, folder: Path) -> None:
            numbered = {(n, i): g for n, name in enumerate(names) for i, g in enumerate(made[name])}
            save_file({f"{n:04d}.{i:04d}": g.contiguous() for (n, i), g in numbered.items()}, folder / _GATES)

        def load(folder: Path) -> Gates:
            found = load_file(folder / _GATES)
            sites = range(len(found) // len(names))
            return {name: tuple(found[f"{n:04d}.{i:04d}"] for i in sites) for n, name in enumerate(names)}

        return self._keep(key, "gates", train, save, load)

    def texts(self, key: str, make: Callable[[], list[Written]]) -> list[Written]:
        """Return the answers under ``key``; stored as one JSON file of pairs."""
        return self._keep(
            key,
            "texts",
            make,
            lambda made, folder: _dump(folder / _TEXTS, made),
            lambda folder: [Written(str(text), bool(ended)) for text, ended in _load(folder / _TEXTS)],
        )

    def arrays(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """Return the arrays under ``key``; stored as one safetensors file."""
        return self._keep(key, "arrays", make, _dump_arrays, _load_arrays)

    def partial(self, key: str) -> Partial:
        """Return the place of what is done so far, while this store makes ``key``; nowhere at other times."""
        return self._making.get(key, NOWHERE)

    def _keep(
        self,
        key: str,
        kind: str,
        make: Callable[[], T],
        save: Callable[[T, Path], None],
        load: Callable[[Path], T],
    ) -> T:
        if self.root is None or key in self._making:
            self.tally.made += 1
            return make()
        entry = Entry(self.root, key)
        if (found := self._read(entry, kind, load)) is not None:
            return found[0]

        def waiting(holder: str) -> None:
            self.tally.say(f"cache: {holder} is computing {self._named(entry, kind)}; waiting to read it")

        with entry.locked(waiting):
            # Another process may have computed it meanwhile. Only the holder of the lock may move a damaged entry.
            if (found := self._read(entry, kind, load, replace_damaged=True)) is not None:
                return found[0]
            self._making[key] = so_far = _Partial(self, entry, kind)
            try:
                made = self._made(entry, kind, make, save)
            finally:
                del self._making[key]
            so_far.remove()
            return made

    def _read(
        self, entry: Entry, kind: str, load: Callable[[Path], T], replace_damaged: bool = False
    ) -> tuple[T] | None:
        """Read an entry; None where it is absent or damaged. ``replace_damaged`` moves a damaged one aside."""
        if not entry.there():
            return None
        try:
            kept, account = _checked(entry, kind, load)
        except DamagedError as fault:
            if replace_damaged and entry.there():
                line = f"{self._named(entry, kind)} is damaged: {fault}"
                where = entry.set_aside()
                self.tally.damaged.append(line)  # without the path: a record may be published
                self.tally.say(f"cache: {line}; moved to {where}, and recomputed")
            return None
        self.spent.add(Spent(**account["spent"]))
        self.cuts.texts.update(map(str, account["cut"]))
        entry.used()
        self.tally.read += 1
        LOG.debug(f"cache: read {self._named(entry, kind)}")
        return (kept,)

    def _named(self, entry: Entry, kind: str) -> str:
        asked = " · ".join(filter(None, self.tally.within.values()))
        return f"{kind} {entry.key[:12]}" + (f" ({asked})" if asked else "")

    def _made(self, entry: Entry, kind: str, make: Callable[[], T], save: Callable[[T, Path], None]) -> T:
        before, within = replace(self.spent), dict(self.tally.within)
        if not self._swept:
            self._swept = True
            sweep(entry.root)
        with self.cuts.noting():
            made = make()
            cut = sorted(self.cuts.texts)  # entries that were read on the way count with it

        def fill(folder: Path) -> None:
            save(made, folder)
            _dump(folder / _COST, {"spent": asdict(self.spent.since(before)), "cut": cut})

        entry.write(kind, within, fill)
        self.tally.made += 1
        LOG.debug(f"cache: stored {self._named(entry, kind)}")
        return made


class _Partial:
    """What the computation of an entry has so far, in two places that are written in turn: one is always whole."""

    def __init__(self, store: Store, entry: Entry, kind: str) -> None:
        self._store, self._name = store, store._named(entry, kind)
        self._before, self._pause, self._last = replace(store.spent), PAUSE, time.monotonic()
        self._failing = False
        self._places = [
            Entry(entry.root, content_key({"partial": entry.key, "place": place})) for place in range(2)
        ]

    def read(self, load: Callable[[Arrays], T]) -> T | None:
        """Return the newest state that is whole and that ``load`` understands, and count its cost."""
        there = [place for place in self._places if place.there()]
        for place in sorted(there, key=_age):
            found = self._store._read(place, "partial", lambda folder: load(_load_arrays(folder)), True)
            if found is not None:
                self._places = [own for own in self._places if own != place] + [place]
                self._store.tally.say(f"cache: {self._name} was interrupted, and goes on from what was kept")
                return found[0]
        return None

    def write(self, state: Callable[[], Arrays]) -> None:
        """Keep a state instead of the last one, after ``PAUSE`` or, where that is slow, more seconds of work.

        Where the disk does not take it, the last one stays, one message says so, and it is tried again.
        """
        start = time.monotonic()
        if start - self._last < self._pause:
            return
        store, (place, last) = self._store, self._places

        def fill(folder: Path) -> None:
            _dump_arrays(state(), folder)
            spent = asdict(store.spent.since(self._before))
            _dump(folder / _COST, {"spent": spent, "cut": sorted(store.cuts.texts)})

        try:
            with place.locked(lambda _: None):
                place.remove()
                place.write("partial", dict(store.tally.within), fill)
        except UnwritableError as fault:
            if not self._failing:
                lost = "until it succeeds, an interruption costs the work since the last kept state"
                store.tally.say(f"{fault}; it is tried again every {PAUSE:.0f} s or more, and {lost}")
            self._failing = True
        else:
            last.remove()
            self._places, self._failing = [last, place], False
        self._last = time.monotonic()
        self._pause = max(PAUSE, _WORTH * (self._last - start))

    def remove(self) -> None:
        """Remove what was kept."""
        for place in self._places:
            if place.there():
                place.remove()


def _age(entry: Entry) -> float:
    """Seconds since 1970 when a place was written, the newest first; where that is unknown, last."""
    try:
        return -(entry.place / MANIFEST).lstat().st_mtime
    except OSError:
        return 0.0


def _dump_arrays(made: Arrays, folder: Path) -> None:
    from safetensors.numpy import save_file

    save_file({k: np.ascontiguousarray(v) for k, v in made.items()}, folder / _ARRAYS)


def _load_arrays(folder: Path) -> Arrays:
    from safetensors.numpy import load_file

    return dict(load_file(folder / _ARRAYS))


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _checked(entry: Entry, kind: str, load: Callable[[Path], T]) -> tuple[T, dict[str, Any]]:
    """Check an entry, then read it; raises DamagedError, also where a complete file cannot be understood."""
    entry.check(kind)
    try:
        account = _load(entry.place / _COST)
        Spent(**account["spent"]), sorted(account["cut"])
        return load(entry.place), account
    except MemoryError:
        raise
    except OSError as fault:
        if not of_the_entry(fault):
            raise entry.unreadable(fault) from fault
        raise DamagedError(f"it cannot be read ({fault.strerror or 'a file of it is missing'})") from None
    except Exception as fault:  # safetensors, JSON and the disk each have their own
        why = pathless(str(fault).replace(f"{entry.place}{os.sep}", ""))  # the line goes into the record
        raise DamagedError(f"it cannot be read ({why})") from fault
