"""Filed records: one method's part of a run, named by the hash of all that decides its figures; never changed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prime_audit.errors import UserError
from prime_audit.folder import read_json
from prime_audit.plan.plan import REFERENCE, label_parts
from prime_audit.record import Failure, Record, record_from_json

RECORDS = "records"
NOT_DECIDING = (
    *("methods", "plugins", "device", "batch_tokens", "read_tokens", "train_tokens", "chunk"),
    "against",
)
"""Entries of a specification that change a figure in its last bits at most, so they are not part of a run's id."""


@dataclass(frozen=True)
class Filed:
    """A record on a board."""

    path: Path
    """Relative to the board's folder: records/METHOD/ID.json."""
    record: Record
    """One method's part of a run."""

    @property
    def method(self) -> str:
        """Its label."""
        return next(iter(self.record.methods))

    @property
    def id(self) -> str:
        """The run's id."""
        return self.path.stem

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.record.seeds["run"]


def parts(record: Record) -> Iterator[Record]:
    """Split a run's record into one for each method: its figures, and all that describes the run."""
    for label, params in record.methods.items():
        yield replace(
            record,
            methods={label: params},
            failures=tuple(f for f in record.failures if _affects(f, label)),
            costs=tuple(c for c in record.costs if c.method in (None, label)),
            results=tuple(x for x in record.results if x.method == label),
            comparisons=tuple(x for x in record.comparisons if x.method == label),
            unaided=tuple(x for x in record.unaided if x.method == label),
            leaks=tuple(x for x in record.leaks if x.method == label),
            exposures=tuple(x for x in record.exposures if x.method == label),
            extractions=tuple(x for x in record.extractions if x.method == label),
            times=replace(
                record.times, stages=tuple(s for s in record.times.stages if s.method in (None, label))
            ),
            # These name people: who shares is the run's, not the method's; of single records, the figures say enough.
            community={},
            vulnerable=(),
        )


def _affects(failure: Failure, label: str) -> bool:
    """Whether a failure affects a method's figures: its own, its core's, np's (they are compared), or a sharer's."""
    if failure.method in (None, REFERENCE):
        return True
    parts_of_it = label_parts(failure.method)
    return label_parts(label)[: len(parts_of_it)] == parts_of_it


def run_id(part: Record) -> str:
    """Hash what decides a method's figures (specification, parameters, data, model, plugins) -> 16 hex digits."""
    spec = {k: v for k, v in part.spec.items() if k not in NOT_DECIDING}
    spec["settings"] = {
        task: {k: v for k, v in settings.items() if k not in NOT_DECIDING}
        for task, settings in part.spec.get("settings", {}).items()
    }
    decided = {
        "spec": spec,
        "methods": part.methods,
        "data": {d.task: [d.sha256, d.split_sha256] for d in part.data},
        "model": part.model.sha256,
        "plugins": {k: v for k, v in part.plugins.items() if _concerns(k, part)},
    }
    text = json.dumps(decided, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _concerns(plugin: str, part: Record) -> bool:
    """Whether a plugin decides this method's figures: every attack, and the method's own parts."""
    kind, _, name = plugin.partition(" ")
    return kind == "attack" or name in own_parts(next(iter(part.methods)))


def own_parts(label: str) -> list[str]:
    """``prime:alpha=0.6+rag`` -> ``["prime", "rag"]``."""
    return [part.partition(":")[0] for part in label_parts(label)]


def folder_of(label: str) -> str:
    """Name a method's folder: its label if that is a plain name, else a plain form of it with a hash.

    No label becomes a path: everything but letters, digits, ``=``, ``,``, ``.`` and ``-`` becomes an underscore.
    """
    plain = re.sub(r"[^A-Za-z0-9=,.-]+", "_", label)[:60].strip("._-") or "method"
    return plain if plain == label else f"{plain}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def place(part: Record) -> Path:
    """Return where a part is filed, relative to its board."""
    return Path(RECORDS) / folder_of(next(iter(part.methods))) / f"{run_id(part)}.json"


def dumped(part: Record) -> str:
    """Return a filed record as JSON, one line for each entry, so that diffs are readable."""
    content = part.to_json()
    lines = [f"{json.dumps(key)}: {_lines(value)}" for key, value in content.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _lines(value: Any) -> str:
    if isinstance(value, list | tuple) and value:
        return "[\n" + ",\n".join(_line(entry) for entry in value) + "\n]"
    return _line(value)


def _line(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def read_filed(folder: Path) -> list[Filed]:
    """Read all records of a board, in the order of their paths.

    Raises UserError if one is broken, has more or less than one method, or has another name than its content gives
    it.
    """
    found = []
    for path in sorted((folder / RECORDS).glob("*/*.json"), key=lambda p: p.as_posix()):
        record = record_from_json(read_json(path), str(path))
        if len(record.methods) != 1:
            raise UserError(f"{path} has {len(record.methods)} methods: file runs with leaderboard add")
        if (due := place(record)) != path.relative_to(folder):
            raise UserError(f"{path} was changed or moved: its content belongs to {due.as_posix()}")
        found.append(Filed(due, record))
    for path in sorted((folder / RECORDS).rglob("*")):
        if path.is_file() and path.relative_to(folder) not in {f.path for f in found}:
            raise UserError(f"{path} is not a record: only records/METHOD/ID.json belong there; remove it")
    return found


def same_figures(one: Record, other: Record) -> bool:
    """Whether two records with one id have the same figures; clock and machine may differ."""
    ours, theirs = one.to_json(), other.to_json()
    return all(ours[key] == theirs[key] for key in ("results", "comparisons", "leaks"))


def split_of(one: Filed, task: str) -> str:
    """Identify a task's people."""
    return next(d.split_sha256 for d in one.record.data if d.task == task)
