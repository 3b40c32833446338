"""LongLaMP's public Parquet files: one row for each question, with the user's profile as a list of structures.

The column of the user names the task: ``name`` (abstract generation), ``author`` (topic writing), ``reviewerId``
(product reviews). ``input`` is the question, ``output`` its gold. Email completion is not public.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prime_audit.errors import UserError
from prime_audit.io.tables import TableError, open_table
from prime_audit.lamp.official import Person, sort_items
from prime_audit.lamp.records import Log, as_id, as_list, as_object, parse_queries, user_name
from prime_audit.lamp.split import Roles, SplitOptions, by_role, draw_roles
from prime_audit.lamp.tasks import TASKS, Task

SUFFIX = ".parquet"
SPLITS = ("test", "val", "train")
"""Splits of a folder in the order of preference: LongLaMP's results are those of its test split."""
ANSWERED = ("input", "output", "profile")


def is_longlamp(path: Path, task: Task | None) -> bool:
    """Return whether a Parquet file, or the first of a folder's split, has LongLaMP's columns.

    A file that cannot be read is taken for one where ``task`` is LongLaMP's, so that its reader reports it.
    """
    files = [path] if path.name.lower().endswith(SUFFIX) and path.is_file() else _files(path)
    if not files:
        return False
    try:
        return _task_of_columns(_columns(files[0])) is not None
    except TableError:
        return task is not None and task.user_column != ""


def task_of(path: Path) -> Task | None:
    """Return the task that the columns name."""
    return _task_of_columns(_columns(_read_files(path)[0]))


def read_longlamp(path: Path, task: Task, options: SplitOptions, log: Log) -> Roles:
    """Read a file, or all files of a folder's split, and draw roles.

    Rows of one user are one user: all their questions, and their profiles united. Profiles have no dates; abstracts
    are sorted by year, other items keep the file's order.
    """
    people: dict[str, Person] = {}
    seen: set[str] = set()
    for file in _read_files(path):
        table = open_table(file, nested=True)
        if "output" not in (table.header or ()):
            raise UserError(
                f"{file}: has no column output, so nothing can be scored: read a split with outputs"
            )
        for where, value in table.rows([task.user_column, *ANSWERED]):
            with log.skipping(file.name, where):
                record = as_object(value)
                user = as_id(record, task.user_column)
                items = as_list(record, "profile")
                person = people.setdefault(user, Person())
                number = where.rpartition(" ")[2]
                asked = {"id": f"{user}/{file.name}/{number}", "input": record.get("input")}
                asked["gold"] = record.get("output")
                person.queries += parse_queries(task, [asked], {}, seen, file.name, user_name(user), log)
                person.add(items)
    sort_items(people, "year", path.name, log)
    for person in people.values():
        person.items = [_item(task, n, item) for n, item in enumerate(person.items, start=1)]
    users = [person.user(task, name, path.name, log) for name, person in people.items()]
    kept = [user for user in users if user is not None]
    ids = {user.id for user in kept}
    return by_role(kept, *draw_roles(ids, ids, ids, options))


def _item(task: Task, number: int, item: object) -> object:
    """Give an item an id where it has none, and write numbers (a rating) as the benchmark's code does."""
    if not isinstance(item, Mapping):
        return item
    texts = {key: str(item[key]) for key in task.item_fields if isinstance(item.get(key), int | float)}
    key = item.get("id")
    return {**item, **texts, "id": str(number) if key in (None, "") else key}


def _files(folder: Path) -> list[Path]:
    """List the Parquet files of a folder's split: ``test-00000-of-00002.parquet``, or ``test/0000.parquet``."""
    for split in SPLITS:
        if found := sorted([*folder.glob(f"{split}-*{SUFFIX}"), *folder.glob(f"{split}/*{SUFFIX}")]):
            return found
    return []


def _read_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else _files(path)


def _columns(path: Path) -> list[str]:
    return open_table(path).header or []


def _task_of_columns(columns: list[str]) -> Task | None:
    if not {"input", "profile"} <= {*columns}:
        return None
    return next((task for task in TASKS.values() if task.user_column and task.user_column in columns), None)
