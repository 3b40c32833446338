"""The processed layouts of Per-Pcs (the paper's data) and of OPPU: users with profile, queries and golds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from prime_audit.errors import UserError
from prime_audit.io.tables import BadRecordError
from prime_audit.lamp.columns import sort_by_time
from prime_audit.lamp.data import User
from prime_audit.lamp.files import load_json, load_list, type_name
from prime_audit.lamp.official import ids_of, load_outputs, require_same_ids
from prime_audit.lamp.records import (
    Log,
    as_id,
    as_list,
    as_object,
    as_text,
    parse_history,
    parse_outputs,
    parse_queries,
    record_name,
    user_name,
    without_answers,
)
from prime_audit.lamp.split import Roles, SplitOptions, by_role, draw_roles
from prime_audit.lamp.tasks import Task

ADAPT = "user_base_LLM.json"
CANDIDATES = "user_anchor_candidate.json"
TARGETS = "test_100/user_test_100.json"
LABELS = "test_100/user_test_100_label.json"
PROFILES = "profile-id2text.json"
TIMES = ("date", "time")
"""Fields of an item that may have its time; the first that a file has sorts its profiles."""
OPPU_TARGETS = "user_*_100_history.json"
"""A pattern: OPPU names its tweet folder's targets ``user_more_100_history.json``, the others ``user_top_…``."""
OPPU_OTHERS = "user_others.json"
OPPU_PROFILES = ("profile_user_100.json", "profile_user_others.json")


@dataclass(kw_only=True)
class _Folder:
    """One folder being read, with what its files share."""

    path: Path
    task: Task
    log: Log
    profiles: dict[str, str] = field(default_factory=dict)
    users: set[str] = field(default_factory=set)
    queries: set[str] = field(default_factory=set)

    def read_profiles(self, *names: str) -> None:
        """Read profile texts by user; a missing file means that there are none."""
        for name in names:
            if (self.path / name).is_file():
                self.profiles |= _profile_texts(self.path / name, name, self.log)

    def note_unused_profiles(self, *names: str) -> None:
        """Note profile texts that fit no user."""
        if unused := [key for key in self.profiles if key not in self.users]:
            self.log.notes.append(
                f"{' and '.join(names)}: {len(unused)} of {len(self.profiles)} profile texts fit no user "
                f"(the first is of {user_name(unused[0])})"
            )

    def read_users(self, name: str, *, labels: str = "", ask: bool = False) -> list[User]:
        """Read a file of users; ``labels`` has their golds, ``ask`` means that users have questions only."""
        records = load_list(self.path / name)
        golds: Mapping[str, str | None] = {}
        if labels and (self.path / labels).is_file():
            golds = load_outputs(self.path / labels, self.log)
            asked = (record.get("query") for record in records if isinstance(record, dict))
            queries = chain.from_iterable(own for own in asked if isinstance(own, list))
            require_same_ids(ids_of(queries), golds, str(self.path / labels))
        self._sort_by_time(records, name)
        users = []
        for number, value in enumerate(records, start=1):
            with self.log.skipping(name, f"user {record_name(value, number, 'user_id')}"):
                users.append(self._user(value, golds, name, ask))
        return users

    def _sort_by_time(self, records: Sequence[object], file: str) -> None:
        """Sort the items of all profiles, oldest first, where any has a time."""
        profiles = {
            number: items
            for number, record in enumerate(records)
            if isinstance(record, dict) and isinstance(items := record.get("profile"), list)
        }
        rows = [item for items in profiles.values() for item in items if isinstance(item, dict)]
        column = next((name for name in TIMES if any(name in row for row in rows)), None)
        if column is None:
            return
        times = {
            number: [item.get(column) if isinstance(item, dict) else None for item in items]
            for number, items in profiles.items()
        }
        orders = sort_by_time(times, file, column, self.log, file_is_ordered=True, there=True)
        for number, order in orders.items():
            profiles[number][:] = [profiles[number][n] for n in order]

    def _user(self, value: object, golds: Mapping[str, str | None], file: str, ask: bool) -> User:
        record = as_object(value)
        key = as_id(record, "user_id")
        if key in self.users:
            raise BadRecordError("duplicate user")
        items = as_list(record, "profile")
        questions = as_list(record, "query") if record.get("query") is not None or ask else []
        history = parse_history(self.task, items, file, user_name(key), self.log)
        queries = parse_queries(self.task, questions, golds, self.queries, file, user_name(key), self.log)
        history = without_answers(self.task, history, queries, file, user_name(key), self.log)
        if not history:
            raise BadRecordError("no history")
        if ask and not queries:
            raise BadRecordError("no question")
        self.users.add(key)
        return User(key, history, queries, self.profiles.get(key))


def read_perpcs(folder: Path, task: Task, log: Log) -> Roles:
    """Read a Per-Pcs folder. ``user_reserve_10_percent.json`` is ignored: no experiment uses it."""
    _require_files(folder, ADAPT, TARGETS, CANDIDATES)
    reader = _Folder(path=folder, task=task, log=log)
    reader.read_profiles(PROFILES)
    adapt = reader.read_users(ADAPT, ask=True)
    targets = reader.read_users(TARGETS, labels=LABELS, ask=True)
    candidates = reader.read_users(CANDIDATES)
    reader.note_unused_profiles(PROFILES)
    return tuple(adapt), tuple(targets), tuple(candidates)


def read_oppu(folder: Path, task: Task, options: SplitOptions, log: Log) -> Roles:
    """Read an OPPU folder. Its top 100 are targets; the adapting share is drawn from the others."""
    if len(found := oppu_targets(folder)) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder}: {names}: each holds the targets; keep the one to read")
    asked = found[0].name if found else OPPU_TARGETS.replace("*", "top")
    _require_files(folder, asked, OPPU_OTHERS)
    reader = _Folder(path=folder, task=task, log=log)
    reader.read_profiles(*OPPU_PROFILES)
    targets = reader.read_users(asked, labels=_oppu_labels(asked), ask=True)
    others = reader.read_users(OPPU_OTHERS)
    reader.note_unused_profiles(*OPPU_PROFILES)
    ids = [user.id for user in (*targets, *others)]
    adapt, _ = draw_roles(ids, {user.id for user in others if user.queries}, set(), options)
    return by_role([*targets, *others], adapt, {user.id for user in targets})


def oppu_targets(folder: Path) -> list[Path]:
    """Return an OPPU folder's files of targets: one, or none."""
    return sorted(folder.glob(OPPU_TARGETS))


def _oppu_labels(targets: str) -> str:
    return f"{targets.removesuffix('.json')}_label.json"


def labels_file(folder: Path) -> Path | None:
    """Return the folder's label file, which contains the task's name, where there is one."""
    names = (LABELS, *(_oppu_labels(path.name) for path in oppu_targets(folder)))
    return next((path for name in names if (path := folder / name).is_file()), None)


def _require_files(folder: Path, *names: str) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder}: {', '.join(missing)} missing: add the missing files")


def _profile_texts(path: Path, name: str, log: Log) -> dict[str, str]:
    content = load_json(path)
    if isinstance(content, list):
        texts: Mapping[str, object] = parse_outputs(content, name, log)
    elif isinstance(content, dict):
        texts = content
    else:
        raise UserError(f"{path}: contains {type_name(content)}, not texts by user: is it the right file?")
    kept: dict[str, str] = {}
    for key in texts:
        with log.skipping(name, f"user {record_name({'id': key}, 0)}"):
            user = as_id({"id": key})
            if user in kept:
                raise BadRecordError("its id occurs twice")
            kept[user] = as_text({"profile text": texts[key]}, "profile text")
    return kept
