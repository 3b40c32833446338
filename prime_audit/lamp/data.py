"""What every reader returns: users with histories and questions, split by role."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

_WORDS = re.compile(r"\w+")
_TO_SPACE = {code: " " for code in range(128) if not _WORDS.match(chr(code))}


def words_of(text: str) -> str:
    """Return a text's words in order, without case and punctuation: near-duplicates have the same words."""
    if text.isascii():  # the same, three times as fast
        return " ".join(text.lower().translate(_TO_SPACE).split())
    return " ".join(_WORDS.findall(text.casefold()))


def words_or_text(text: str) -> str:
    """Return a text's words, or the text itself where it has none: two emoji are not copies of each other."""
    return words_of(text) or text


@dataclass(frozen=True)
class Item:
    """One record of a user's history."""

    id: str
    """Unique within its user."""
    fields: Mapping[str, str]
    """The task's item fields (``tasks.TASKS[task].item_fields``), all strings, none empty."""

    @cached_property
    def words(self) -> str:
        """The words of all its fields: near-duplicates share them."""
        return words_or_text(" ".join(self.fields.values()))


@dataclass(frozen=True)
class Query:
    """One question to answer for a user."""

    id: str
    """Unique within its data set; the id of predictions and golds."""
    fields: Mapping[str, str]
    """The task's question fields (``tasks.TASKS[task].query_fields``), parsed out of the question's text."""
    gold: str
    """The expected output, stripped."""


@dataclass(frozen=True)
class User:
    """One person: history (oldest first), questions, and a profile text where the data has one."""

    id: str
    history: tuple[Item, ...]
    queries: tuple[Query, ...] = ()
    profile: str | None = None


@dataclass(frozen=True)
class Defect:
    """One problem of the input, and what happened to the record."""

    file: str
    record: str
    """The record's id, ``line 12`` or ``row 12`` where it has none, or empty for the whole file."""
    problem: str
    action: str = "skipped"
    """``skipped`` (the record is left out) or ``kept`` (only noted)."""

    def __str__(self) -> str:
        where = f"{self.file}: {self.record}" if self.record else self.file
        return f"{where}: {self.problem} ({self.action})"


@dataclass(frozen=True)
class GivenSharer:
    """A sharer whose adapter was trained elsewhere."""

    user: User
    """Their history, both trained and held-out items."""
    trained: tuple[str, ...]
    """Ids of the items on which their adapter was trained."""
    heldout: tuple[str, ...]
    """Ids of the items that the adapter never saw; empty without held-out items."""
    folder: Path
    """Path of their adapter in PEFT's format."""
    sha256: str
    """Hash of its files."""


@dataclass(frozen=True)
class Given:
    """All sharers whose adapters were trained elsewhere."""

    sharers: tuple[GivenSharer, ...]
    base: Path | None = None
    """The adapter that was merged into the base before the sharers' were trained; None for the plain base."""
    base_sha256: str | None = None
    """Hash of its files."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One task's users by role (the paper: 25 % adapt the base model, targets are tested, the rest may share)."""

    task: str
    source: str
    """What the user passed: a path, or ``world``."""
    layout: str
    """``official``, ``perpcs``, ``oppu``, ``items`` or ``world``."""
    adapt: tuple[User, ...]
    """Users whose questions adapt the base model."""
    targets: tuple[User, ...]
    """Users who are personalised and tested."""
    candidates: tuple[User, ...]
    """Users who may share an adapter."""
    defects: tuple[Defect, ...] = ()
    notes: tuple[str, ...] = ()
    """What a user should know of data that have no defect: the order of time, columns that are not read."""
    older: int = 0
    """Oldest history items left out because ``max_items`` caps histories."""
    given: Given | None = None
    """Sharers with adapters trained elsewhere, who are also candidates. None where the run trains adapters."""

    @property
    def sha256(self) -> str:
        """Hash of everything that was read, in order: roles, ids, texts, golds and given adapters."""
        roles = [
            [
                (
                    u.id,
                    u.profile,
                    [(i.id, dict(i.fields)) for i in u.history],
                    [(q.id, dict(q.fields), q.gold) for q in u.queries],
                )
                for u in users
            ]
            for users in (self.adapt, self.targets, self.candidates)
        ]
        read: list[object] = [self.task, roles]
        if self.given:
            own = [(s.user.id, s.trained, s.heldout, s.sha256) for s in self.given.sharers]
            read.append([self.given.base_sha256, own])
        return hashlib.sha256(json.dumps(read, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    @property
    def split_sha256(self) -> str:
        """Hash of the users' roles."""
        ids = [[u.id for u in users] for users in (self.adapt, self.targets, self.candidates)]
        return hashlib.sha256(json.dumps(ids).encode()).hexdigest()

    def capped(self, items: int) -> Dataset:
        """Keep each history's last ``items`` items (0 keeps all); ``older`` counts the dropped ones."""
        if not items:
            return self
        roles = [
            tuple(replace(u, history=u.history[-items:]) for u in users)
            for users in (self.adapt, self.targets, self.candidates)
        ]
        before = sum(len(u.history) for users in (self.adapt, self.targets, self.candidates) for u in users)
        after = sum(len(u.history) for users in roles for u in users)
        return replace(self, adapt=roles[0], targets=roles[1], candidates=roles[2], older=before - after)
