"""LongLaMP's public Parquet files: one row for each question, with the user's profile as a list of structures.

The column of the user names the task: ``name`` (abstract generation), ``author`` (topic writing), ``reviewerId``
(product reviews). ``input`` is the question, ``output`` its gold. Email completion is not public.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prime_audit.errors import UserError
from prime_audit.io import intake
from prime_audit.lamp.data import Query, User
from prime_audit.lamp.records import (
    Log,
    as_id,
    as_list,
    as_object,
    parse_history,
    parse_queries,
    user_name,
    without_answers,
)
from prime_audit.lamp.split import Roles, SplitOptions, by_role, draw_roles
from prime_audit.lamp.tasks import TASKS, Task

SUFFIX = ".parquet"
SPLITS = ("test", "val", "train")
"""Splits of a folder in the order of preference: LongLaMP's results are those of its test split."""
ANSWERED = ("input", "output", "profile")
_ROWS_AT_ONCE = 64
_ITEM = 128
"""Minimum bytes that an empty item takes in memory."""


def is_longlamp(path: Path, task: Task | None) -> bool:
    """Return whether a Parquet file, or the first of a folder's split, has LongLaMP's columns.

    A file that cannot be read is taken for one where ``task`` is LongLaMP's, so that its reader reports it.
    """
    files = [path] if path.name.lower().endswith(SUFFIX) and path.is_file() else _files(path)
    if not files:
        return False
    columns = _columns(files[0])
    if columns is None:
        return task is not None and task.user_column != ""
    return _task_of_columns(columns) is not None


def task_of(path: Path) -> Task | None:
    """Return the task that the columns name."""
    return _task_of_columns(_columns(_read_files(path)[0]) or [])


def read_longlamp(path: Path, task: Task, options: SplitOptions, log: Log) -> Roles:
    """Read a file, or all files of a folder's split, and draw roles.

    Rows of one user are one user: all their questions, and their profiles united. Profiles have no dates; abstracts
    are sorted by year where all have one, other items keep the file's order.
    """
    people: dict[str, _Person] = {}
    seen: set[str] = set()
    for file in _read_files(path):
        for number, value in enumerate(_rows(file, task), start=1):
            where = f"row {number}"
            with log.skipping(file.name, where):
                record = as_object(value)
                user = as_id(record, task.user_column)
                items = as_list(record, "profile")
                person = people.setdefault(user, _Person())
                asked = {"id": f"{user}/{file.name}/{number}", "input": record.get("input")}
                asked["gold"] = record.get("output")
                person.queries += parse_queries(task, [asked], {}, seen, file.name, user_name(user), log)
                person.add(items)
    users = [_user(task, name, person, path.name, log) for name, person in people.items()]
    kept = [user for user in users if user is not None]
    ids = {user.id for user in kept}
    return by_role(kept, *draw_roles(ids, ids, ids, options))


@dataclass
class _Person:
    """The records of one user."""

    items: list[object] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    known: set[bytes] = field(default_factory=set)
    """Hashes of the items: another row of the user repeats most of them."""

    def add(self, items: Sequence[object]) -> None:
        """Unite a row's profile with those of the rows before; what the row itself repeats stays."""
        hashes = [hashlib.sha256(repr(item).encode()).digest() for item in items]
        self.items += [item for item, own in zip(items, hashes, strict=True) if own not in self.known]
        self.known.update(hashes)


def _user(task: Task, name: str, person: _Person, file: str, log: Log) -> User | None:
    items = [_item(task, n, item) for n, item in enumerate(_oldest_first(person.items), start=1)]
    history = parse_history(task, items, file, user_name(name), log)
    history = without_answers(task, history, person.queries, file, user_name(name), log)
    if not person.queries:
        return None  # reported with the question
    if not history:
        log.skip(file, user_name(name), "no history")
        return None
    return User(name, history, tuple(person.queries))


def _item(task: Task, number: int, item: object) -> object:
    """Give an item an id where it has none, and write numbers (a rating) as the benchmark's code does."""
    if not isinstance(item, Mapping):
        return item
    texts = {key: str(item[key]) for key in task.item_fields if isinstance(item.get(key), int | float)}
    key = item.get("id")
    return {**item, **texts, "id": str(number) if key in (None, "") else key}


def _oldest_first(items: list[object]) -> list[object]:
    years = [str(item.get("year")) if isinstance(item, Mapping) else "" for item in items]
    if not all(year.isdecimal() and len(year) < 10 for year in years):
        return items
    return [item for _, item in sorted(zip(map(int, years), items, strict=True), key=lambda pair: pair[0])]


def _files(folder: Path) -> list[Path]:
    """List the Parquet files of a folder's split: ``test-00000-of-00002.parquet``, or ``test/0000.parquet``."""
    for split in SPLITS:
        if found := sorted([*folder.glob(f"{split}-*{SUFFIX}"), *folder.glob(f"{split}/*{SUFFIX}")]):
            return found
    return []


def _read_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else _files(path)


def _columns(path: Path) -> list[str] | None:
    """List a file's columns; None where it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError):
        return None


def _task_of_columns(columns: list[str]) -> Task | None:
    if not {"input", "profile"} <= {*columns}:
        return None
    return next((task for task in TASKS.values() if task.user_column and task.user_column in columns), None)


def _rows(path: Path, task: Task) -> Iterator[object]:
    """Read rows a few at a time; UserError for a damaged file, or one that expands beyond all measure."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = _columns(path)
    if columns is not None and "output" not in columns:
        raise UserError(f"{path}: has no column output, so nothing can be scored: read a split with outputs")
    most = intake.allowance(path.stat().st_size)
    try:
        left = most
        for batch in pq.ParquetFile(path).iter_batches(_ROWS_AT_ONCE, columns=[task.user_column, *ANSWERED]):
            profiles = batch.column("profile")
            items = len(profiles.values) if pa.types.is_list(profiles.type) else 0
            if (left := left - batch.nbytes - items * _ITEM) < 0:
                break
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        reason = " ".join(str(error).split())[:80]
        raise UserError(f"{path}: damaged or truncated Parquet ({reason}): fetch the file again") from None
    if left < 0:
        raise UserError(
            f"{path}: expands to more than {most >> 20} MiB, far more than its size: fetch it again"
        )
