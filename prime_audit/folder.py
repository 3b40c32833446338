"""The folder of a run: made, written whole or not at all, and read back."""

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
"""What every line of ``models.jsonl`` says."""
_MARKER, _LOCK = "run.json", ".lock"
_DRAFT = re.compile(r"\..+\.\d+\.tmp")
"""What ``write_atomic`` calls a file before it is whole."""


@dataclass(frozen=True)
class RunFolder:
    """A folder that one run owns; every file in it appears whole or not at all."""

    path: Path
    """The folder."""

    @classmethod
    def create(cls, out: Path, record_hash: str, *, again: bool = False) -> RunFolder:
        """Make ``out`` this run's folder, or take it up again where it already is.

        Parameters
        ----------
        out
            The folder; parents are made.
        record_hash
            Identifies the run: a hash of all that decides its numbers.
        again
            Whether what ``out`` holds is known to be an earlier attempt at this run, whatever its hash.

        Raises
        ------
        UserError
            Where ``out`` holds another run, or cannot be written.
        """
        _make(out)
        marker = out / _MARKER
        if _lies(marker):
            mine = read_json(marker).get("hash") == record_hash
        else:
            mine = not any(_lies(out / name) for name in (RECORD, PREDICTIONS, SCORES))
        if not mine and not again:
            raise UserError(
                f"output folder {out} holds another run: choose another --out, or delete it first"
            )
        folder = cls(out)
        folder.write_json(_MARKER, {"hash": record_hash})
        return folder

    @classmethod
    @contextmanager
    def claimed(cls, out: Path, record_hash: str, *, again: bool = False) -> Iterator[RunFolder]:
        """Hold ``out`` while the body runs; where the body fails, all that it put there is taken away again.

        What stood there before stays, but for the drafts of a run that was killed. Raises as :meth:`create`, and where
        another process holds it.
        """
        made = [folder for folder in (out, *out.parents) if not _lies(folder)]
        try:
            _make(out)
            with _alone(out):
                before = _names(out)
                try:
                    folder = cls.create(out, record_hash, again=again)
                    _sweep(out)
                    yield folder
                except BaseException:  # Ctrl-C too
                    _take_away(out, _names(out) - before)
                    raise
        except BaseException:
            for parent in made:
                with suppress(OSError):  # somebody else put a file there meanwhile
                    parent.rmdir()
            raise

    def write_json(self, name: str, content: Any) -> None:
        """Write one JSON file; NaN and infinity raise ValueError, failing to save raises UserError."""
        write_atomic(self.path / name, [_dump(name, content, indent=2) + "\n"])

    def write_jsonl(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write one JSON object a line; errors as ``write_json``, and then nothing of the file is left."""
        write_atomic(self.path / name, (_dump(name, row) + "\n" for row in rows))

    def write_record(self, record: Record) -> None:
        """Write ``record.json``: the last file of a run, the sign that it is complete."""
        self.write_json(RECORD, record.to_json())


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
        """Yield rows of ``models.jsonl``: task, method, target, adapters, weights, rule, sharers …; one a model."""
        for number, row in enumerate(_read_jsonl(self.path / MODELS), start=1):
            if not _is_model(row):
                raise UserError(
                    f"{self.path / MODELS}: line {number} describes no model; restore it, or run compare again"
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
        Where there is none, or it is broken, foreign, or written by a newer version.
    """
    given = Path(path)
    file = given / RECORD if given.is_dir() else given
    if given.is_dir() and not file.exists():
        raise UserError(f"{given} has no {RECORD}: name the --out folder of a finished run")
    return Run(file.parent, record_from_json(read_json(file), str(file)))


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make output folder {out}: {error.strerror}; choose another --out") from None


def _lies(path: Path) -> bool:
    """Whether anything is there, as far as can be seen."""
    return os.path.lexists(path)


def _names(out: Path) -> set[str]:
    try:
        return {path.name for path in out.iterdir()}
    except OSError as error:
        raise UserError(f"cannot read output folder {out}: {error.strerror}; choose another --out") from None


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold a folder for this process."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(out / _LOCK))
        except BusyError as other:
            raise UserError(
                f"output folder {out} is being written by {other}: wait for it, or choose another --out"
            ) from None
        except OSError as error:
            raise UserError(
                f"cannot write into output folder {out}: {error.strerror}; make room or choose another --out"
            ) from None
        yield


def _sweep(out: Path) -> None:
    """Take away the drafts that a killed run left in a folder which is now ours alone."""
    for draft in (*out.glob(".*.tmp"), *out.glob("*/.*.tmp")):
        if _DRAFT.fullmatch(draft.name):
            draft.unlink(missing_ok=True)


def _take_away(out: Path, names: Iterable[str]) -> None:
    for path in (out / name for name in names if name != _LOCK):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_atomic(path: Path, chunks: Iterable[str | bytes]) -> None:
    """Write a file whole: to a temporary name beside it, through to the disk, then into place.

    Raises
    ------
    UserError
        Where it cannot be saved; the file, if it was there before, is as it was.
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
        raise UserError(f"cannot save {path}: {error.strerror}; make room or choose another --out") from None
    finally:
        temporary.unlink(missing_ok=True)


def _dump(name: str, content: Any, indent: int | None = None) -> str:
    try:
        return json.dumps(content, allow_nan=False, ensure_ascii=False, indent=indent)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of one JSON object; UserError where it cannot be read, or holds anything else."""
    try:
        content = intake.read_json(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; name the --out folder of a run") from None
    except ValueError as error:  # JSON and UTF-8 alike
        raise UserError(f"{path} is broken ({error}): restore it or run again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a prime-audit file: expected a JSON object")
    return content


def _is_model(row: Mapping[str, Any]) -> bool:
    """Tell whether a row has all that describes a model, with a number an adapter (in each layer or module)."""
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
                    raise UserError(f"{path}: line {number} is broken ({error}): run again") from None
                yield row
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(f"cannot read {path}: {reason}; run again to make it") from None
