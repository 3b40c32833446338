"""What a data set contains: sizes, lengths, labels, duplicates and defects, without running anything."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prime_audit.lamp.data import Dataset, Defect, User
from prime_audit.lamp.items import TARGET_ITEMS
from prime_audit.lamp.metrics import unseen
from prime_audit.lamp.readers import read, searchable
from prime_audit.lamp.records import item_words, question_words
from prime_audit.lamp.tasks import TASKS, Task
from prime_audit.settings import RECIPE_KEYS, Settings


@dataclass(frozen=True)
class Quantiles:
    """The spread of a count over users or texts."""

    min: int
    median: float
    p90: float
    max: int

    def __str__(self) -> str:
        return f"{self.min} / {self.median:g} / {self.p90:g} / {self.max}"


@dataclass(frozen=True, kw_only=True)
class RoleReport:
    """The users of one role."""

    role: str
    """``adapt``, ``targets`` or ``candidates``."""
    users: int
    items: int
    """History items of all its users."""
    queries: int
    history: Quantiles | None
    """Items in a user's history; None without users."""
    text_words: Quantiles | None
    """Words in an item's text."""
    gold_words: Quantiles | None
    """Words in an item's gold; None where items carry none (official LaMP-1)."""


@dataclass(frozen=True)
class Duplicates:
    """History items that repeat an earlier one, over all users and roles.

    Duplicates between people blur membership: a sharer's training item may also be another user's.
    """

    exact: int
    """Items whose text and gold both equal an earlier item's."""
    near: int
    """Items whose text has an earlier item's words, case and punctuation aside; the exact ones too."""
    across_users: int
    """Those of ``near`` whose first occurrence belongs to another user."""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Everything :func:`check` found."""

    task: str
    source: str
    layout: str
    sha256: str
    """Hash of everything that was read."""
    split_sha256: str
    """Hash of the users' roles."""
    searchable: bool
    """Whether histories have the fields that training and searching need (LaMP-1: citations)."""
    short_histories: int
    """Users with fewer than 5 history items: too few to be drawn as targets from plain items."""
    roles: tuple[RoleReport, ...]
    duplicates: Duplicates
    shared_questions: int
    """Targets' questions whose words also occur in another user's history. A sharer may have trained on them."""
    labels: dict[str, int]
    """How often each label is the gold of a history item or question; empty for generation."""
    golds: int
    """Golds of history items and questions."""
    unseen_golds: int
    """Those that official ROUGE cannot see (less than half of their letters); 0 where labels are predicted."""
    defects: tuple[Defect, ...]
    notes: tuple[str, ...] = ()
    """What to know of data that have no defect: the order of time, columns that are not read."""

    def to_json(self, **more: object) -> str:
        """Write the report as JSON, with what a caller adds."""
        return json.dumps(dataclasses.asdict(self) | more, indent=1, ensure_ascii=False, allow_nan=False)

    def headers(self) -> tuple[str, ...]:
        """Return the column heads of :meth:`rows`; lengths are min / median / 90 % / max."""
        return ("role", "users", "items", "queries", "items per user", "words per text", "words per gold")

    def rows(self) -> list[tuple[str, ...]]:
        """Return one table row for each role."""
        return [
            tuple("–" if value is None else str(value) for value in dataclasses.astuple(role)[:4])
            + tuple(
                "–" if spread is None else str(spread)
                for spread in (role.history, role.text_words, role.gold_words)
            )
            for role in self.roles
        ]


def check(
    path: str | Path,
    task: str | None = None,
    *,
    columns: str | Mapping[str, str] | None = None,
    time_column: str | None = None,
) -> CheckReport:
    """Read a data set and describe it. Raises UserError where :func:`read` does."""
    return describe(read(path, task, columns=columns, time_column=time_column))


def describe(data: Dataset) -> CheckReport:
    """Describe a data set that was read or generated."""
    task = TASKS[data.task]
    by_role = {"adapt": data.adapt, "targets": data.targets, "candidates": data.candidates}
    users, asked = [user for role in by_role.values() for user in role], _Asked(data)
    golds = _golds(task, users)
    return CheckReport(
        task=data.task,
        source=data.source,
        layout=data.layout,
        sha256=data.sha256,
        split_sha256=data.split_sha256,
        searchable=searchable(data),
        short_histories=sum(len(user.history) < TARGET_ITEMS for user in users),
        roles=tuple(_role(task, name, role) for name, role in by_role.items()),
        duplicates=_duplicates(task, users, asked),
        shared_questions=asked.shared(),
        labels=_labels(task, golds),
        golds=golds.total(),
        unseen_golds=0 if task.labels else sum(n for gold, n in golds.items() if unseen(gold)),
        defects=data.defects,
        notes=data.notes,
    )


def shared_questions(data: Dataset) -> int:
    """Count the targets' questions whose words also occur in another user's history. Their golds may differ."""
    task, asked = TASKS[data.task], _Asked(data)
    for user in (*data.adapt, *data.targets, *data.candidates):
        for item in user.history:
            asked.add(item_words(task, item), user.id)
    return asked.shared()


ROLES_GIVEN = ("perpcs", "oppu")
"""Layouts with their own roles."""


def no_effect(data: Dataset, settings: Settings) -> Iterator[str]:
    """Say of settings that ``--set`` names for a task, or for all, that they change nothing on these data."""
    task = data.task

    def idle(keys: Iterable[str], why: str) -> Iterator[str]:
        for key in keys:
            if (said := settings.override(key, task)) is not None:
                yield f"{key}={said} has no effect: {why}"

    if data.layout in ROLES_GIVEN:
        yield from idle(
            ("targets", "adapt_share"),
            "these data have their own roles (set them with data import --targets and --adapt-share when you import "
            "plain items)",
        )
    of_adaptation = [f"adaptation.{key}" for key in RECIPE_KEYS]
    if data.given:
        yield from idle(of_adaptation, "with --sharers the base is not adapted")
    elif not data.adapt:
        yield from idle(of_adaptation, "no user adapts the base")
    if not settings.get("sampling", task):
        yield from idle(("temperature", "top_p", "decode_seed"), "answers are not sampled (sampling = false)")


class _Asked:
    """The targets' questions, and in whose histories their words occur."""

    def __init__(self, data: Dataset) -> None:
        task = TASKS[data.task]
        self._questions = [(u.id, question_words(task, query)) for u in data.targets for query in u.queries]
        self._owners: dict[str, set[str]] = {words: set() for _, own in self._questions for words in own}

    def add(self, words: str, user: str) -> None:
        """Take in an item of a history."""
        if (owners := self._owners.get(words)) is not None:
            owners.add(user)

    def shared(self) -> int:
        """Count the questions that occur in another user's history."""
        return sum(any(self._owners[words] - {user} for words in own) for user, own in self._questions)


def _role(task: Task, name: str, users: Sequence[User]) -> RoleReport:
    items = [item for user in users for item in user.history]
    golds = [item.fields[task.gold_field] for item in items if task.gold_field in item.fields]
    return RoleReport(
        role=name,
        users=len(users),
        items=len(items),
        queries=sum(len(user.queries) for user in users),
        history=_quantiles([len(user.history) for user in users]),
        text_words=_quantiles([len(item.fields[task.text_field].split()) for item in items]),
        gold_words=_quantiles([len(gold.split()) for gold in golds]),
    )


def _quantiles(counts: Sequence[int]) -> Quantiles | None:
    if not counts:
        return None
    low, median, p90, high = np.quantile(counts, [0, 0.5, 0.9, 1])
    return Quantiles(int(low), float(median), float(p90), int(high))


def _duplicates(task: Task, users: Sequence[User], asked: _Asked) -> Duplicates:
    first_owner: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    exact = near = across = 0
    for user in users:
        for item in user.history:
            text, gold = item.fields[task.text_field], item.fields.get(task.gold_field, "")
            exact += (text, gold) in seen
            seen.add((text, gold))
            owner = first_owner.get(key := item_words(task, item))
            asked.add(key, user.id)
            near += owner is not None
            across += owner is not None and owner != user.id
            first_owner.setdefault(key, user.id)
    return Duplicates(exact, near, across)


def _golds(task: Task, users: Sequence[User]) -> Counter[str]:
    """Count the golds of all questions and history items; official LaMP-1's items have none."""
    golds = Counter(query.gold for user in users for query in user.queries)
    items = (item.fields.get(task.gold_field) for user in users for item in user.history)
    golds.update(gold for gold in items if gold is not None)
    return golds


def _labels(task: Task, golds: Mapping[str, int]) -> dict[str, int]:
    return {label: golds.get(label, 0) for label in task.labels}
