"""The official LaMP layout: ``dev_questions.json`` and ``dev_outputs.json`` side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from prime_audit.errors import UserError
from prime_audit.io.tables import BadRecordError, unpacked_name
from prime_audit.lamp.columns import sort_by_time
from prime_audit.lamp.data import Query, User
from prime_audit.lamp.files import load_list, load_object, type_name
from prime_audit.lamp.records import (
    Log,
    as_id,
    as_list,
    as_object,
    parse_history,
    parse_outputs,
    parse_queries,
    record_name,
    user_name,
    without_answers,
)
from prime_audit.lamp.split import Roles, SplitOptions, by_role, draw_roles
from prime_audit.lamp.tasks import Task, find_task

QUESTIONS = "_questions.json"
OUTPUTS = "_outputs.json"


def split_of(path: Path, kind: str = QUESTIONS) -> str | None:
    """Return the split that a file's name has, such as ``dev``; None for other names. It may be packed, in any case."""
    name = unpacked_name(path.name)
    return name.removesuffix(kind) if name.endswith(kind) else None


def questions_files(folder: Path) -> list[Path]:
    """Return a folder's files of questions."""
    return sorted(path for path in folder.iterdir() if split_of(path) is not None)


def questions_file(folder: Path) -> Path:
    """Choose the split to read: dev, on which results are published; else train; else the only one."""
    found = questions_files(folder)
    named = next(
        (own for split in ("dev", "train") if (own := [p for p in found if split_of(p) == split])), found
    )
    if len(named) > 1:
        raise UserError(
            f"{folder}: several splits ({', '.join(p.name for p in named)}): pass the file to read"
        )
    return named[0]


def outputs_file(questions: Path) -> Path:
    """Return the outputs file beside a questions file."""
    split = split_of(questions)
    found = [path for path in sorted(questions.parent.iterdir()) if split_of(path, OUTPUTS) == split]
    if len(found) > 1:
        raise UserError(
            f"{questions}: {found[0].name} and {found[1].name} both have its golds: keep one of them"
        )
    if not found or not found[0].is_file():
        if split == "test":
            raise UserError(
                f"{questions}: its golds are missing, and LaMP publishes none of its test split: read "
                f"dev{QUESTIONS} or train{QUESTIONS} with their outputs"
            )
        raise UserError(f"{questions}: its golds are missing: add {split}{OUTPUTS} beside it")
    return found[0]


def stated_task(path: Path) -> Task | None:
    """Return the task in an outputs or label file, if it has one."""
    name = load_object(path).get("task")
    if name is None:
        return None
    if not isinstance(name, str):
        raise UserError(f"{path}: task is {type_name(name)}, not a task's name: correct it")
    try:
        return find_task(name)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def load_outputs(path: Path, log: Log) -> dict[str, str | None]:
    """Read ``{"task", "golds": [{"id", "output"}]}`` as a dict from id to text; None for a defective output."""
    golds = load_object(path).get("golds")
    if not isinstance(golds, list):
        raise UserError(
            f"{path}: golds is {type_name(golds)}, not a list of id and output: is it the right file?"
        )
    return parse_outputs(golds, path.name, log)


def require_same_ids(query_ids: Collection[str], answered: Collection[str], where: str) -> None:
    """Raise where two files have different ids."""
    missing, extra = sorted(set(query_ids) - set(answered)), sorted(set(answered) - set(query_ids))
    parts = [
        f"{len(ids)} {what} (first: {ascii(ids[0])[1:-1][:60]})"
        for what, ids in (("missing", missing), ("too many", extra))
        if ids
    ]
    if parts:
        raise UserError(f"{where}: the ids do not match: {', '.join(parts)}: use files of the same split")


@dataclass
class Person:
    """The records of one user, as parsed."""

    items: list[object] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    known: set[bytes] = field(default_factory=set)
    """Hashes of the items: another record of the user repeats most of them."""

    def add(self, items: Sequence[object]) -> None:
        """Unite a record's profile with those of the records before; what the record itself repeats stays."""
        hashes = [hashlib.sha256(repr(item).encode()).digest() for item in items]
        self.items += [item for item, own in zip(items, hashes, strict=True) if own not in self.known]
        self.known.update(hashes)

    def user(self, task: Task, name: str, file: str, log: Log) -> User | None:
        """Return the user; None, and a report, where no question or no history is left."""
        history = parse_history(task, self.items, file, user_name(name), log)
        # Another record's profile of the same user may contain the answer to this question.
        history = without_answers(task, history, self.queries, file, user_name(name), log)
        if not self.queries:
            return None  # reported with the question
        if not history:
            log.skip(file, user_name(name), "no history")
            return None
        return User(name, history, tuple(self.queries))


def sort_items(people: Mapping[str, Person], field: str, file: str, log: Log) -> None:
    """Sort everyone's items by a field, oldest first, where any has it."""
    times = {
        name: [item.get(field) if isinstance(item, dict) else None for item in person.items]
        for name, person in people.items()
    }
    for name, order in sort_by_time(times, file, field, log, file_is_ordered=False).items():
        people[name].items = [people[name].items[n] for n in order]


def read_official(questions: Path, task: Task, options: SplitOptions, log: Log) -> Roles:
    """Read one split; each record is a question with its user's profile.

    Records of one ``user_id`` are one user: all their questions, and their profiles united by item id. Without
    ``user_id``, every question is a user of its own, named after the question's id. Profiles are sorted by the items'
    ``date``, where they have one.
    """
    outputs = outputs_file(questions)
    golds, records = load_outputs(outputs, log), load_list(questions)
    require_same_ids(ids_of(records), golds, f"{outputs} for {questions.name}")
    people: dict[str, Person] = {}
    seen: set[str] = set()
    for number, value in enumerate(records, start=1):
        with log.skipping(questions.name, f"question {record_name(value, number)}"):
            record = as_object(value)
            user = as_id(record, "user_id" if record.get("user_id") is not None else "id")
            items = as_list(record, "profile")
            person = people.setdefault(user, Person())
            person.queries += parse_queries(task, [record], golds, seen, questions.name, user_name(user), log)
            person.add(items)
    sort_items(people, "date", questions.name, log)
    found = [person.user(task, name, questions.name, log) for name, person in people.items()]
    users = [user for user in found if user is not None]
    ids = {user.id for user in users}
    return by_role(users, *draw_roles(ids, ids, ids, options))


def ids_of(queries: Iterable[object]) -> set[str]:
    """Return the ids of questions, including those that will be found defective."""
    found = set()
    for query in queries:
        with suppress(BadRecordError):  # reported when the question is read
            found.add(as_id(as_object(query)))
    return found
