"""The folder of a run: made, written whole or not at all, and read back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from prime_audit.errors import UserError
from prime_audit.record import Record, record_from_json

RECORD, PREDICTIONS, SCORES = "record.json", "predictions.jsonl", "scores.jsonl"
_MARKER = "run.json"


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
        marker = out / _MARKER
        if marker.exists():
            mine = read_json(marker).get("hash") == record_hash
        else:
            mine = not any((out / name).exists() for name in (RECORD, PREDICTIONS, SCORES))
        if not mine and not again:
            raise UserError(
                f"output folder {out} holds another run: choose another --out, or delete it first"
            )
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot make output folder {out}: {error.strerror}; choose another --out"
            ) from None
        folder = cls(out)
        folder.write_json(_MARKER, {"hash": record_hash})
        return folder

    @classmethod
    @contextmanager
    def claimed(cls, out: Path, record_hash: str, *, again: bool = False) -> Iterator[RunFolder]:
        """Hold ``out`` while the body runs; where the body fails, all that it put there is taken away again.

        What stood there before stays. Raises as :meth:`create`.
        """
        before = {path.name for path in out.iterdir()} if out.is_dir() else set()
        made = [folder for folder in (out, *out.parents) if not folder.exists()]
        try:
            yield cls.create(out, record_hash, again=again)
        except BaseException:  # Ctrl-C too
            for path in out.iterdir() if out.is_dir() else ():
                if path.name not in before and path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path.name not in before:
                    path.unlink(missing_ok=True)
            for folder in made:
                with suppress(OSError):  # somebody else put a file there meanwhile
                    folder.rmdir()
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
                # A lone surrogate (half a character, from broken input) becomes its own JSON escape.
                stream.write(chunk.encode("utf-8", "backslashreplace") if isinstance(chunk, str) else chunk)
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


def _parse(text: str) -> Any:
    """Parse strict JSON: Python's reader takes NaN and Infinity, the format has neither."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of one JSON object; UserError where it cannot be read, or holds anything else."""
    try:
        content = _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; name the --out folder of a run") from None
    except ValueError as error:  # JSON and UTF-8 alike
        raise UserError(f"{path} is broken ({error}): restore it or run again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a prime-audit file: expected a JSON object")
    return content


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    yield _parse(line)
                except ValueError as error:
                    raise UserError(f"{path}: line {number} is broken ({error}): run again") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(f"cannot read {path}: {reason}; run again to make it") from None
