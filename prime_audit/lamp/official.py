"""The official LaMP layout: ``dev_questions.json`` and ``dev_outputs.json`` side by side."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from prime_audit.errors import UserError
from prime_audit.lamp.columns import sort_by_time
from prime_audit.lamp.data import Query, User
from prime_audit.lamp.files import BadRecordError, load_list, load_object, type_name
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


def questions_file(folder: Path) -> Path:
    """Choose the split to read: dev, on which results are published; else train; else the only one."""
    found = sorted(folder.glob(f"*{QUESTIONS}"))
    named = [path for split in ("dev", "train") for path in found if path.name == f"{split}{QUESTIONS}"]
    if not named and len(found) > 1:
        raise UserError(
            f"{folder}: several splits ({', '.join(p.name for p in found)}): pass the file to read"
        )
    return (named or found)[0]


def outputs_file(questions: Path) -> Path:
    """Return the outputs file beside a questions file."""
    path = questions.with_name(questions.name.removesuffix(QUESTIONS) + OUTPUTS)
    if not path.is_file():
        raise UserError(f"{questions}: its golds are missing: add {path.name} beside it")
    return path


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
class _Person:
    """The records of one user, as parsed."""

    items: list[object] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)


def read_official(questions: Path, task: Task, options: SplitOptions, log: Log) -> Roles:
    """Read one split; each record is a question with its user's profile.

    Records of one ``user_id`` are one user: all their questions, and their profiles united by item id. Without
    ``user_id``, every question is a user of its own, named after the question's id. Profiles are sorted by the items'
    ``date``, where they have one.
    """
    outputs = outputs_file(questions)
    golds, records = load_outputs(outputs, log), load_list(questions)
    require_same_ids(ids_of(records), golds, f"{outputs} for {questions.name}")
    people: dict[str, _Person] = {}
    seen: set[str] = set()
    for number, value in enumerate(records, start=1):
        with log.skipping(questions.name, f"question {record_name(value, number)}"):
            record = as_object(value)
            user = as_id(record, "user_id" if record.get("user_id") is not None else "id")
            items = as_list(record, "profile")
            person = people.setdefault(user, _Person())
            person.queries += parse_queries(task, [record], golds, seen, questions.name, user_name(user), log)
            known = {repr(item) for item in person.items}  # from an earlier record of the user
            person.items += [item for item in items if repr(item) not in known]
    dates = {name: [_date(item) for item in person.items] for name, person in people.items()}
    orders = sort_by_time(dates, questions.name, "date", log, file_is_ordered=False)
    for name, order in orders.items():
        people[name].items = [people[name].items[n] for n in order]
    found = [_user(task, name, person, questions.name, log) for name, person in people.items()]
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


def _user(task: Task, name: str, person: _Person, file: str, log: Log) -> User | None:
    history = parse_history(task, person.items, file, user_name(name), log)
    # Another record's profile of the same user may contain the answer to this question.
    history = without_answers(task, history, person.queries, file, user_name(name), log)
    if not person.queries:
        return None  # reported with the question
    if not history:
        log.skip(file, user_name(name), "no history")
        return None
    return User(name, history, tuple(person.queries))


def _date(item: object) -> object:
    return item.get("date") if isinstance(item, dict) else None
