"""What was trained once is not trained again: adapters and gates kept by the hash of all that decides them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prime_audit.engine.mixture import Spent
from prime_audit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from prime_audit.engine.adapters import Adapter

Gates = dict[str, "tuple[Tensor, ...]"]
T = TypeVar("T")
_COST = "cost.json"


def default_cache() -> Path:
    """Folder of the user's cache: ``$PRIME_AUDIT_CACHE``, or prime-audit below the XDG cache folder."""
    if own := os.environ.get("PRIME_AUDIT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prime-audit"


def content_key(what: Mapping[str, Any]) -> str:
    """Hash of plain JSON data."""
    return hashlib.sha256(json.dumps(what, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def place_of(key: str, number: int) -> str:
    """Return where the adapter of a training's ``number``-th owner lies below a cache's root, as a POSIX path."""
    return f"{key[:2]}/{key}/{_folder(number)}"


def _folder(number: int) -> str:
    return f"{number:04d}"


class Store:
    """A cache folder; ``Store(None)`` keeps nothing. Entries are named by number, never by a user's id.

    What a training asked of the model is kept with it and counted in ``spent`` again when it is read back: a
    record says what its numbers took, whether or not an earlier run had already done part of it.
    """

    def __init__(self, root: Path | None, spent: Spent) -> None:
        self.root, self.spent = root, spent

    def adapters(
        self, key: str, names: Sequence[str], train: Callable[[], dict[str, Adapter]], base_model: str = ""
    ) -> dict[str, Adapter]:
        """Return the adapters under ``key``, one a name, training and keeping them where they are absent."""
        from prime_audit.engine.adapters import load_adapter, save_adapter

        def save(made: Mapping[str, Adapter], folder: Path) -> None:
            for number, name in enumerate(names):
                save_adapter(made[name], folder / _folder(number), base_model=base_model)

        def load(folder: Path) -> dict[str, Adapter]:
            return {name: load_adapter(folder / _folder(number)) for number, name in enumerate(names)}

        return self._keep(key, train, save, load)

    def gates(self, key: str, names: Sequence[str], train: Callable[[], Gates]) -> Gates:
        """Return the gates under ``key``, likewise, as one safetensors file."""
        from safetensors.torch import load_file, save_file

        def save(made: Gates, folder: Path) -> None:
            tensors = {
                f"{n:04d}.{i:04d}": g.contiguous()
                for n, name in enumerate(names)
                for i, g in enumerate(made[name])
            }
            save_file(tensors, str(folder / "gates.safetensors"))

        def load(folder: Path) -> Gates:
            tensors = load_file(str(folder / "gates.safetensors"))
            sites = len(tensors) // len(names)
            return {
                name: tuple(tensors[f"{n:04d}.{i:04d}"] for i in range(sites)) for n, name in enumerate(names)
            }

        return self._keep(key, train, save, load)

    def _keep(
        self, key: str, make: Callable[[], T], save: Callable[[T, Path], None], load: Callable[[Path], T]
    ) -> T:
        if self.root is None:
            return make()
        place = self.root / key[:2] / key
        if place.is_dir():
            try:
                kept = load(place)
                self.spent.add(Spent(**json.loads((place / _COST).read_text(encoding="utf-8"))))
            except Exception as fault:  # safetensors, JSON and the disk each have their own
                raise UserError(f"cache {place}: cannot be read ({fault}); delete this folder") from fault
            return kept
        before = replace(self.spent)
        made = make()
        cost = self.spent.since(before)

        def fill(folder: Path) -> None:
            save(made, folder)
            (folder / _COST).write_text(json.dumps(asdict(cost)), encoding="utf-8")

        self._write(place, fill)
        return made

    def _write(self, place: Path, save: Callable[[Path], None]) -> None:
        """Fill a folder aside and move it into place whole; a twin that another run put there first is as good."""
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(dir=place.parent, prefix=".making-"))
        except OSError as fault:
            raise UserError(
                f"cache {place.parent}: cannot be written ({fault.strerror}); give --cache DIR or --no-cache"
            ) from fault
        try:
            save(aside)
            aside.rename(place)
        except OSError as fault:
            if not place.is_dir():
                raise UserError(
                    f"cache {place}: cannot be written ({fault}); give --cache DIR or --no-cache"
                ) from fault
        finally:
            shutil.rmtree(aside, ignore_errors=True)
