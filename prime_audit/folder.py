"""The folder of a run: created, written atomically, and read back."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prime_audit.cache.lock import BusyError, locked
from prime_audit.errors import UserError
from prime_audit.io import intake
from prime_audit.io.markup import encoded
from prime_audit.record import Record, record_from_json

if TYPE_CHECKING:
    import pandas as pd

RECORD, PREDICTIONS, SCORES = "record.json", "predictions.jsonl", "scores.jsonl"
VULNERABILITY, EXTRACTION = "vulnerability.jsonl", "extraction.jsonl"
MODELS = "models.jsonl"
_MODEL = {
    "task": str,
    "method": str,
    "target": str,
    "adapters": list,
    "weights": list,
    "rule": str,
    "sharers": list,
}
"""The fields of every line of ``models.jsonl``."""
_MARKER, _LOCK = "run.json", ".lock"
_DRAFT = re.compile(r"\..+\.\d+\.tmp")
"""Name of a file that ``write_atomic`` has not finished."""


@dataclass(frozen=True)
class RunFolder:
    """A folder that one run owns. Every file in it is written atomically."""

    path: Path
    """The folder."""

    @classmethod
    def create(cls, out: Path, record_hash: str, *, again: bool = False) -> RunFolder:
        """Create the folder of a run and its parents, or reopen it where it exists.

        ``record_hash`` hashes everything that decides the run's numbers. ``again``: ``out`` is known to contain an
        earlier attempt at this run, whatever its hash. UserError where it contains another run, or cannot be written.
        """
        _make(out)
        if not again:
            require_free(out, record_hash)
        folder = cls(out)
        folder.write_json(_MARKER, {"hash": record_hash})
        return folder

    @classmethod
    @contextmanager
    def claimed(cls, out: Path, record_hash: str, *, again: bool = False) -> Iterator[RunFolder]:
        """Lock ``out`` while the body runs. If the body fails, delete everything it wrote there.

        Older files stay, except the drafts of a killed run. Raises as :meth:`create`, and where another process has
        locked it.
        """
        created = [folder for folder in (out, *out.parents) if not os.path.lexists(folder)]
        try:
            _make(out)
            with _alone(out):
                before = _names(out)
                try:
                    folder = cls.create(out, record_hash, again=again)
                    for draft in (*out.glob(".*.tmp"), *out.glob("*/.*.tmp")):  # of a killed run
                        if _DRAFT.fullmatch(draft.name):
                            draft.unlink(missing_ok=True)
                    yield folder
                except BaseException:  # Ctrl-C too
                    _take_away(out, _names(out) - before)
                    raise
        except BaseException:
            for parent in created:
                with suppress(OSError):  # another process wrote a file there meanwhile
                    parent.rmdir()
            raise

    def write_json(self, name: str, content: Any) -> None:
        """Write one JSON file. Raises ValueError for NaN or infinity, and UserError where it cannot be saved."""
        write_atomic(self.path / name, [_dump(name, content, indent=2) + "\n"])

    def write_jsonl(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write one JSON object per line. Raises as ``write_json``; an unfinished file is deleted."""
        write_atomic(self.path / name, (_dump(name, row) + "\n" for row in rows))

    def write_record(self, record: Record) -> None:
        """Write ``record.json``, the last file of a run: its presence means that the run is complete."""
        self.write_json(RECORD, record.to_json())


def require_free(out: Path, record_hash: str) -> None:
    """Raise UserError where a folder holds another run than the one of this hash."""
    marker = out / _MARKER
    if os.path.lexists(marker):
        same = read_json(marker).get("hash") == record_hash
    else:
        same = not any(os.path.lexists(out / name) for name in (RECORD, PREDICTIONS, SCORES))
    if not same:
        raise UserError(f"output folder {out} holds another run: choose another --out, or delete it first")


@dataclass(frozen=True)
class Run:
    """A finished run, read back."""

    path: Path
    """Its folder."""
    record: Record
    """Its record."""

    def predictions(self) -> Iterator[dict[str, Any]]:
        """Yield rows of ``predictions.jsonl``: task, method, target, id, prediction, gold."""
        return _read_jsonl(self.path / PREDICTIONS)

    def scores(self) -> Iterator[dict[str, Any]]:
        """Yield rows of ``scores.jsonl``: task, method, game, attack, target, sharer, item, member, score."""
        return _read_jsonl(self.path / SCORES)

    def models(self) -> Iterator[dict[str, Any]]:
        """Yield rows of ``models.jsonl``, one per model: task, method, target, adapters, weights, rule and sharers."""
        for number, row in enumerate(_read_jsonl(self.path / MODELS), start=1):
            if not _is_model(row):
                raise UserError(
                    f"{self.path / MODELS}: line {number} describes no model: restore it or rerun compare"
                )
            yield row

    def frame(self, name: str) -> pd.DataFrame:
        """Return a table for pandas: results, comparisons, leaks, predictions, scores, models, costs … (``frames``)."""
        from prime_audit.io.frames import frame

        files = {"predictions": self.predictions, "scores": self.scores, "models": self.models}
        return frame(self.path, self.record, files, name)


def load_run(path: str | Path) -> Run:
    """Read a run from its folder or its ``record.json``.

    Raises
    ------
    UserError
        Where there is no record, or it is damaged, of another program, or written by a newer version.
    """
    place = Path(path)
    file = place / RECORD if place.is_dir() else place
    if place.is_dir() and not file.exists():
        raise UserError(f"{place} has no {RECORD}: pass the --out folder of a finished run")
    if file.is_file() and file.suffix not in ("", ".json"):
        raise UserError(f"{place} is not a record: pass the --out folder of a finished run, or its {RECORD}")
    return Run(file.parent, record_from_json(read_json(file), str(file)))


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot create output folder {out}: {error.strerror}; choose another --out"
        ) from None


def _names(out: Path) -> set[str]:
    try:
        return {path.name for path in out.iterdir()}
    except OSError as error:
        raise UserError(f"cannot read output folder {out}: {error.strerror}; choose another --out") from None


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Lock a folder for this process."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(out / _LOCK))
        except BusyError as other:
            raise UserError(
                f"output folder {out} is in use by {other}: wait for it or choose another --out"
            ) from None
        except OSError as error:
            raise UserError(
                f"cannot write into output folder {out}: {error.strerror}; free some space or "
                "choose another --out"
            ) from None
        yield


def _take_away(out: Path, names: Iterable[str]) -> None:
    for path in (out / name for name in names if name != _LOCK):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_atomic(path: Path, chunks: Iterable[str | bytes]) -> None:
    """Write a file atomically: to a temporary name beside it, through to the disk, then into place.

    UserError where it cannot be saved; an older version of the file stays unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            for chunk in chunks:
                stream.write(encoded(chunk) if isinstance(chunk, str) else chunk)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot save {path}: {error.strerror}; free some space or choose another --out"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def _dump(name: str, content: Any, indent: int | None = None) -> str:
    try:
        return json.dumps(content, allow_nan=False, ensure_ascii=False, indent=indent)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of one JSON object. Raises UserError where it cannot be read or contains anything else."""
    try:
        content = intake.read_json(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; pass the --out folder of a run") from None
    except ValueError as error:  # both JSON and UTF-8 errors
        raise UserError(f"{path} is damaged ({error}): restore it or rerun the command") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a prime-audit file: expected a JSON object")
    return content


def _is_model(row: Mapping[str, Any]) -> bool:
    """Return whether a row has everything that describes a model, with one number per adapter (layer or module)."""
    if not all(isinstance(row.get(key), kind) for key, kind in _MODEL.items()):
        return False
    if not all(isinstance(name, str) for name in (*row["adapters"], *row["sharers"])):
        return False
    table = row["weights"] if row["weights"] and isinstance(row["weights"][0], list) else [row["weights"]]
    return all(isinstance(one, list) and len(one) == len(row["adapters"]) for one in table) and all(
        isinstance(w, int | float) and abs(w) <= sys.float_info.max for one in table for w in one
    )


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with io.TextIOWrapper(intake.open_file(path), encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    row = intake.parse_json(line)
                    if not isinstance(row, dict):
                        raise ValueError("no object")
                except ValueError as error:
                    raise UserError(
                        f"{path}: line {number} is damaged ({error}): rerun the command"
                    ) from None
                yield row
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(f"cannot read {path}: {reason}; rerun the command to create it") from None
