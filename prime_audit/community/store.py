"""What was made once is not made again: adapters, answers, signals, searches, by the hash of all that decides them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from prime_audit.engine.mixture import Cuts, Spent
from prime_audit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from prime_audit.engine.adapters import Adapter
    from prime_audit.engine.divergence import Divergence

Gates = dict[str, "tuple[Tensor, ...]"]
T = TypeVar("T")
_COST, _LOST = "cost.json", "diverged.json"
_PACKAGE = Path(__file__).parents[1]


def default_cache() -> Path:
    """Folder of the user's cache: ``$PRIME_AUDIT_CACHE``, or prime-audit below the XDG cache folder."""
    if own := os.environ.get("PRIME_AUDIT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prime-audit"


def content_key(what: Mapping[str, Any]) -> str:
    """Hash of plain JSON data."""
    return hashlib.sha256(json.dumps(what, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@cache
def code_sha256(files: tuple[str, ...], libraries: tuple[str, ...]) -> str:
    """Hash of the package's source ``files`` and of libraries' versions: what other code made is something else."""
    digest = hashlib.sha256()
    for name in files:
        digest.update(name.encode() + b"\0" + (_PACKAGE / name).read_bytes() + b"\0")
    for name in libraries:
        digest.update(f"{name} {version(name)}\0".encode())
    return digest.hexdigest()


def place_of(key: str, number: int) -> str:
    """Return where the adapter of a training's ``number``-th owner lies below a cache's root, as a POSIX path."""
    return f"{key[:2]}/{key}/{_folder(number)}"


def _folder(number: int) -> str:
    return f"{number:04d}"


class Store:
    """A cache folder; ``Store(None)`` keeps nothing. Entries are named by number, never by a user's id.

    What making an entry asked of the model, and which texts lost their front in it, is kept with it and counted again
    when it is read back: a record says what its numbers took, whether or not an earlier run had done part of it.
    """

    def __init__(self, root: Path | None, spent: Spent, cuts: Cuts | None = None) -> None:
        self.root, self.spent, self.cuts = root, spent, cuts or Cuts()

    def adapters(
        self,
        key: str,
        names: Sequence[str],
        train: Callable[[], dict[str, Adapter]],
        base_model: str = "",
        lost: list[Divergence] | None = None,
    ) -> dict[str, Adapter]:
        """Return the adapters under ``key``, one a name, training and keeping them where they are absent.

        ``lost``: names that ``train`` makes no adapter for, and puts in there. That is kept with the others', for a
        training of the same content diverges again.
        """
        from prime_audit.engine.adapters import load_adapter, save_adapter
        from prime_audit.engine.divergence import Divergence

        gone: list[Divergence] = [] if lost is None else lost

        def save(made: Mapping[str, Adapter], folder: Path) -> None:
            if gone:
                (folder / _LOST).write_text(json.dumps([asdict(d) for d in gone]), encoding="utf-8")
            for number, name in enumerate(names):
                if name not in {d.owner for d in gone}:
                    save_adapter(made[name], folder / _folder(number), base_model=base_model)

        def load(folder: Path) -> dict[str, Adapter]:
            told = json.loads((folder / _LOST).read_text("utf-8")) if (folder / _LOST).exists() else []
            gone[:] = [Divergence(**one) for one in told]
            left = {d.owner for d in gone}
            return {n: load_adapter(folder / _folder(i)) for i, n in enumerate(names) if n not in left}

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

    def texts(self, key: str, make: Callable[[], list[str]]) -> list[str]:
        """Return the texts under ``key``, likewise, as one JSON file."""

        def save(made: list[str], folder: Path) -> None:
            (folder / "texts.json").write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")

        def load(folder: Path) -> list[str]:
            return [str(t) for t in json.loads((folder / "texts.json").read_text(encoding="utf-8"))]

        return self._keep(key, make, save, load)

    def arrays(self, key: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return the arrays under ``key``, likewise, as one safetensors file."""
        from safetensors.numpy import load_file, save_file

        def save(made: dict[str, np.ndarray], folder: Path) -> None:
            save_file(
                {k: np.ascontiguousarray(v) for k, v in made.items()}, str(folder / "arrays.safetensors")
            )

        def load(folder: Path) -> dict[str, np.ndarray]:
            return dict(load_file(str(folder / "arrays.safetensors")))

        return self._keep(key, make, save, load)

    def _keep(
        self, key: str, make: Callable[[], T], save: Callable[[T, Path], None], load: Callable[[Path], T]
    ) -> T:
        if self.root is None:
            return make()
        place = self.root / key[:2] / key
        if place.is_dir():
            try:
                kept = load(place)
                account = json.loads((place / _COST).read_text(encoding="utf-8"))
                self.spent.add(Spent(**account["spent"]))
                self.cuts.texts.update(map(str, account["cut"]))
            except Exception as fault:  # safetensors, JSON and the disk each have their own
                raise UserError(f"cache {place}: cannot be read ({fault}); delete this folder") from fault
            return kept
        before = replace(self.spent)
        with self.cuts.noting():
            made = make()
            cut = sorted(self.cuts.texts)  # what was kept and read back on the way has its own share in it
        account = {"spent": asdict(self.spent.since(before)), "cut": cut}

        def fill(folder: Path) -> None:
            save(made, folder)
            (folder / _COST).write_text(json.dumps(account), encoding="utf-8")

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
