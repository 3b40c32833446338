"""Plain items, the format for your own product's data: rows of ``user, input, output``, ordered by ``time``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from prime_audit.errors import UserError
from prime_audit.io.tables import BadRecordError, open_table
from prime_audit.lamp.columns import Header, note_dates_as_ids, sort_by_time
from prime_audit.lamp.data import Item, Query, User
from prime_audit.lamp.records import Log, as_gold, as_id, as_object, as_text, user_name, without_answers
from prime_audit.lamp.split import Roles, SplitOptions, by_role, draw_roles
from prime_audit.lamp.tasks import Task

MOST_QUERIES = 10
"""Most questions taken from one history."""
TARGET_ITEMS = 5
"""Items a user needs to be a target: one becomes a question, four stay as history."""
ADAPT_ITEMS = 2
"""Items a user needs to adapt the base model: a question and an earlier item."""


class _Record(NamedTuple):
    """One valid row; there may be millions."""

    id: str
    input: str
    output: str
    time: object


def read_items(
    path: Path, task: Task, options: SplitOptions, log: Log, columns: Mapping[str, str] | None = None
) -> Roles:
    """Read a table (``io/tables.py``) and draw roles; ``columns`` names the column of a role of another name.

    Rows are sorted by ``time`` where it is there; otherwise their order is the file's, oldest first.
    The last items of targets and adapting users become their questions. Users with fewer than :data:`TARGET_ITEMS`
    (:data:`ADAPT_ITEMS`) items are never drawn for these roles, but may share. LaMP-7's output is the tweet; its
    input is a neutral wording, which only questions show. If an item is both a question and in the history, the
    question stays. A user with no history left is dropped and reported.
    """
    if task.name == "LaMP-1":  # its questions choose between two references
        raise UserError(f"{path}: plain items cannot contain LaMP-1's two references: use the Per-Pcs layout")
    if len(task.query_fields) > 1:
        fields = " and ".join((", ".join(task.query_fields[:-1]), task.query_fields[-1]))
        raise UserError(
            f"{path}: plain items cannot contain {task.name}'s {fields}: use LongLaMP's Parquet files"
        )
    people = _group(path, task, columns or {}, log)
    fit = {user for user, rows in people.items() if len(rows) >= TARGET_ITEMS}
    can_adapt = {user for user, rows in people.items() if len(rows) >= ADAPT_ITEMS}
    adapt, targets = draw_roles(people, can_adapt, fit, options)
    if not targets:
        raise UserError(
            f"{path}: no target can be drawn: {len(fit)} of {len(people)} users have the required "
            f"{TARGET_ITEMS} items, and some of these adapt and a third may share{log.first()}: "
            f"{log.remedy(sum(map(len, people.values())))}"
        )
    found, seen, asking = list[User](), set[str](), adapt | targets
    for name, rows in people.items():
        asked = max(1, min(MOST_QUERIES, int(options.queries * len(rows)))) if name in asking else 0
        found.append(_user(task, name, rows, asked, seen))
    users = [user for user in (_fit(task, user, path.name, log) for user in found) if user is not None]
    return by_role(users, adapt, targets)


def _group(path: Path, task: Task, columns: Mapping[str, str], log: Log) -> dict[str, list[_Record]]:
    table, people = open_table(path), dict[str, list[_Record]]()
    header = Header(path, columns, table.header)
    names, ids = header.names, dict[str, set[str]]()
    for where, value in table.rows(names.values()):
        try:  # not log.skipping, which would be a quarter of the time
            row = as_object(value)
            header.add(row)
            user = as_id(row, names["user"])
            record = _parse_row(task, where, row, names)
            seen = ids.setdefault(user, set())
            if record.id in seen:
                raise BadRecordError(f"its id {record.id[:40]!r} occurs twice for this user")
        except BadRecordError as problem:
            log.skip(path.name, where, problem)
            continue
        seen.add(record.id)
        people.setdefault(user, []).append(record)
    header.finish(log)
    note_dates_as_ids(people, "user", path.name, log)
    times = {user: [record.time for record in own] for user, own in people.items()}
    there = names["time"] in header.found
    orders = sort_by_time(times, path.name, names["time"], log, file_is_ordered=True, there=there)
    return {user: [own[n] for n in orders[user]] if user in orders else own for user, own in people.items()}


def _parse_row(task: Task, where: str, row: Mapping[str, object], names: Mapping[str, str]) -> _Record:
    text, output = as_text(row, names["input"]), as_gold(task, row, names["output"])
    # A row without an id gets its position in the file.
    given = row.get(names["id"])
    key = where.rpartition(" ")[2] if given is None or given == "" else as_id(row, names["id"])
    return _Record(key, text, output, row.get(names["time"]))


def _user(task: Task, name: str, rows: Sequence[_Record], n_questions: int, seen: set[str]) -> User:
    history = rows[: len(rows) - n_questions]
    queries = [
        Query(_query_id(name, row, seen), {task.text_field: row.input}, row.output)
        for row in rows[len(history) :]
    ]
    return User(
        name, tuple(Item(row.id, item_fields(task, row.input, row.output)) for row in history), tuple(queries)
    )


def _fit(task: Task, user: User, file: str, log: Log) -> User | None:
    """Remove a user's own questions from their history; None where no history is left."""
    history = without_answers(task, user.history, user.queries, file, user_name(user.id), log)
    if not history:
        log.skip(file, user_name(user.id), "no history")
        return None
    return replace(user, history=history)


def _query_id(user: str, row: _Record, seen: set[str]) -> str:
    key = f"{user}/{row.id}"
    while key in seen:  # "a/b" + "c" equals "a" + "b/c"
        key += "'"
    seen.add(key)
    return key


def item_fields(task: Task, text: str, gold: str) -> dict[str, str]:
    """Name a plain row's input and output as the task does."""
    # LaMP-7's text and gold are one field, the tweet: the later value wins.
    return {task.text_field: text, task.gold_field: gold}
