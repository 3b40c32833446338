"""Read a file of scores into columns, or say in one line why it cannot be read."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray
from prime_audit.errors import UserError
from prime_audit.io.tables import (
    BadRecordError,
    TableError,
    lookalikes,
    open_table,
    parse_columns,
    words_for,
)
from prime_audit.lamp.records import as_id
from prime_audit.scores.columns import OTHERS, ROLES

_KEY = ("task", "method", "game", "attack")
_IDS = ("target", "sharer", "item")
_TRUE, _FALSE = ("true", "yes", "member"), ("false", "no", "non-member", "nonmember", "non_member")
_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
"""A number with a decimal comma."""
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
"""A number that may have commas between thousands instead."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Group:
    """The scores of one attack in one task, method and game, in the file's order."""

    task: str | None
    method: str | None
    game: str | None
    """Who is a member, in the suite's names; like task and method, None where the file names none."""
    attack: str
    """The score's name; ``score`` where the file names none."""
    scores: FloatArray
    """Higher = member, [rows]; no NaN."""
    members: BoolArray
    targets: Sequence[str] | None
    """Whose model was attacked, [rows]; None where the file names none. So are ``sharers`` and ``items``."""
    sharers: Sequence[str] | None
    """Whose item it is."""
    items: Sequence[str] | None

    @property
    def name(self) -> str:
        """Join what the file names."""
        return "/".join(name for name in (self.task, self.method, self.game, self.attack) if name is not None)


def read_scores(path: Path, columns: str | Mapping[str, str] | None = None) -> tuple[list[Group], list[str]]:
    """Read a scores file -> its groups in the file's order, and what a reader must know about its columns.

    ``columns`` names the file's columns by role: ``score=s,member=label``. ``score=loss+minkp`` reads one column for
    each attack; a minus before a name turns the sign. UserError for whatever cannot be used.
    """
    given = parse_columns(columns, ROLES, "--columns")
    table = open_table(path, ".csv")
    needed = _needed(given, table.header or ())
    rows = _objects(path, table.rows(needed))
    try:
        first = next(rows, None)
    except TableError:
        if needed or table.header is None:
            raise
        first = None  # a column that is not needed; what is missing is said below
    names = [*(table.header or (first[1] if first else ()))]
    if table.header is not None or first:
        _require(path, names, given, first[1] if first else {})
    if not first:
        raise UserError(f"{path} holds no scores: give one row an item with columns score and member")
    read, found = _Reading(path, given, names, complete=table.header is not None), dict.fromkeys(names)
    read.add(*first)
    for where, row in rows:
        read.add(where, row)
        if table.header is None:
            found.update(dict.fromkeys(row))
    return read.groups(), _notes(given, found, {name for _, name in read.terms})


def _needed(given: Mapping[str, str], header: Sequence[str]) -> set[str] | None:
    """Return the columns to read; None, for all, where one is missing that must be there."""
    scores = {name for _, name in _terms(given.get("score", "score"), header)}
    if {*scores, given.get("member", "member")} <= {*header}:
        return scores | {given.get(role, role) for role in ROLES}
    return None


def _notes(given: Mapping[str, str], found: Iterable[str], scores: Collection[str]) -> list[str]:
    """Name the columns of similar names that are not read, with the option to pass."""
    used = {given.get(role, role) for role in ROLES} | {*scores}
    meant = _meant(given, found, used)
    if not meant:
        return []
    words = words_for(given, meant, ROLES)
    says = ", ".join(f"{name} is the {role}" for role, name in meant.items())
    return [f"columns that are not read: {', '.join(meant.values())}; if {says}, pass --columns {words}"]


def _meant(given: Mapping[str, str], found: Iterable[str], used: Collection[str] = ()) -> dict[str, str]:
    return lookalikes(found, {role: names for role, names in OTHERS.items() if role not in given}, used)


def _objects(path: Path, rows: Iterator[tuple[str, object]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, row in rows:
        if isinstance(row, BadRecordError):
            raise UserError(f"{path} {where}: {row}; fix it")
        if not isinstance(row, dict):
            raise UserError(f"{path} {where}: no JSON object; give one object a row")
        yield where, row


def _require(path: Path, names: Sequence[str], given: Mapping[str, str], first: Mapping[str, Any]) -> None:
    """Refuse a file without a column that is needed or was named, with the words that may help."""
    shown = ", ".join(ascii(name)[1:-1] for name in names)[:200] or "no columns"
    for role, name in given.items():
        wanted = [name] if role != "score" or name in names else [column for _, column in _terms(name, names)]
        if lost := next((column for column in wanted if column not in names), None):
            raise UserError(f"{path} has no column {ascii(lost)[1:-1][:60]}: it has {shown}; check --columns")
    lacking = [role for role in ("score", "member") if role not in names and role not in given]
    if lacking:
        meant = _meant(given, names)
        if "score" in lacking and "score" not in meant:
            taken = {*meant.values(), *given.values(), *ROLES}
            wide = [name for name in names if name not in taken and math.isfinite(_number(first.get(name)))]
            meant |= {"score": "+".join(wide)} if wide else {}
        words = words_for({**given, **{role: role.upper() for role in lacking}}, meant, ROLES)
        raise UserError(
            f"{path} lacks {' and '.join(lacking)}: it has {shown}; name the columns: --columns {words}"
        )
    if again := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{path}: column {again[:60]!r} appears twice; rename one")


def _terms(name: str, names: Sequence[str]) -> list[tuple[int, str]]:
    """Split ``loss+-minkp`` into signs and columns; a column of just this name is one."""
    if name in names:
        return [(1, name)]
    words = [word.strip() for word in name.split("+")]
    return [(1, w) if w in names or not w.startswith("-") else (-1, w[1:].strip()) for w in words]


class _Reading:
    """Columns as they grow, row by row."""

    def __init__(self, path: Path, given: Mapping[str, str], names: Sequence[str], *, complete: bool) -> None:
        self.path = path
        self.terms = _terms(given.get("score", "score"), names)
        columns = {role: given.get(role, role) for role in ROLES}
        self.member = columns["member"]
        self.key_columns = [
            columns[role] if columns[role] in names or not complete else None for role in _KEY
        ]
        self.id_columns = [(role, columns[role]) for role in _IDS if columns[role] in names or not complete]
        self.scores = [_Numbers(name) for _, name in self.terms]
        self.members = bytearray()
        self.sides: dict[str, bool] = {}
        self.ids: dict[str, list[str | None]] = {role: [] for role, _ in self.id_columns}
        self.lost: dict[str, str] = {}
        self.seen: dict[str, str] = {}
        """Texts to ids."""
        self.keys: dict[tuple[str | None, ...], int] = {}
        self.key_of = array("l")

    def add(self, where: str, row: Mapping[str, Any]) -> None:
        """Take one row."""
        for numbers in self.scores:
            numbers.add(where, row.get(numbers.name))
        self.members.append(self._side(where, row.get(self.member)))
        for role, column in self.id_columns:
            value = row.get(column)
            known = self.seen.get(value) if isinstance(value, str) else None
            self.ids[role].append(known or self._id(where, role, value))
        key = tuple(column and _text(row.get(column)) for column in self.key_columns)
        self.key_of.append(self.keys.setdefault(key, len(self.keys)))

    def _id(self, where: str, role: str, value: object) -> str | None:
        if _text(value) is None:
            self.lost.setdefault(role, where)
            return None
        try:
            known = as_id({role: value}, role)
        except BadRecordError as error:
            raise UserError(f"{self.path} {where}: {error}") from None
        if isinstance(value, str):
            self.seen[value] = known
        return known

    def _side(self, where: str, value: object) -> bool:
        word = str(value).strip().lower()
        if word not in self.sides:
            number = _number(word)
            if word not in _TRUE + _FALSE and number not in (1.0, 0.0, -1.0):
                raise UserError(
                    f"{self.path} {where}: member is {repr(value)[:60]}; give 1 or 0 (or true, false)"
                )
            self.sides[word] = word in _TRUE or number == 1.0
            if {0.0, -1.0} <= {_number(known) for known in self.sides}:
                raise UserError(
                    f"{self.path} {where}: member has both 0 and -1: use one of them for non-members"
                )
        return self.sides[word]

    def groups(self) -> list[Group]:
        """Split the rows by task, method, game and attack, and then by column."""
        tables = [
            sign * numbers.values(self.path)
            for (sign, _), numbers in zip(self.terms, self.scores, strict=True)
        ]
        count = len(self.members)
        for role, values in self.ids.items():
            lacking = sum(value is None for value in values)
            if 0 < lacking < count:
                raise UserError(f"{self.path} {self.lost[role]}: {role} is empty ({lacking} of {count} rows)")
        if len(self.terms) > 1 and any(key[-1] for key in self.keys):
            raise UserError(
                f"{self.path}: attacks are columns (--columns score=…), and there is a column attack too"
            )
        members = np.frombuffer(self.members, dtype=np.bool_)
        key_of = np.asarray(self.key_of)
        order = np.argsort(key_of, kind="stable")
        parts = np.split(order, np.cumsum(np.bincount(key_of))[:-1])
        return [
            self._group(key, rows, name if len(self.terms) > 1 else None, scores, members)
            for key, rows in zip(self.keys, parts, strict=True)
            for (_, name), scores in zip(self.terms, tables, strict=True)
        ]

    def _group(
        self,
        key: Sequence[str | None],
        rows: IntArray,
        column: str | None,
        scores: FloatArray,
        members: BoolArray,
    ) -> Group:
        places = rows.tolist()
        targets, sharers, items = (
            [str(self.ids[role][place]) for place in places] if role in self.ids.keys() - self.lost else None
            for role in _IDS
        )
        task, method, game, attack = key
        return Group(
            task=task,
            method=method,
            game=game,
            attack=attack or column or "score",
            scores=scores[rows],
            members=members[rows],
            targets=targets,
            sharers=sharers,
            items=items,
        )


class _Numbers:
    """One column of scores as it grows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._values = array("d")
        self._texts: dict[int, str] = {}
        """Texts with a comma, by row: numbers, if commas are decimal."""
        self._points = False
        """Whether another text has a decimal point."""
        self._firsts: dict[bool, tuple[str, str]] = {}
        """Position and text of the first with a comma, and of the first that is no number anyway; in order."""

    def add(self, where: str, value: object) -> None:
        number = _number(value)
        if math.isnan(number):
            comma = isinstance(value, str) and "," in value
            if comma not in self._firsts:
                self._firsts[comma] = where, repr(value)[:60]
            if comma:
                self._texts[len(self._values)] = str(value).strip()
        elif isinstance(value, float) or (isinstance(value, str) and "." in value):
            self._points = True
        self._values.append(number)

    def values(self, path: Path) -> FloatArray:
        """Return the numbers, or refuse what is none."""
        numbers = np.array(self._values)
        texts = self._texts
        if texts and not self._points and all(map(_COMMA.fullmatch, texts.values())):
            if all(map(_THOUSANDS.fullmatch, texts.values())):
                where, shown = self._firsts[True]
                raise UserError(
                    f"{path} {where}: the score {shown} may be a thousand or a fraction: write it with a decimal "
                    "point, and no commas"
                )
            numbers[[*texts]] = [float(text.replace(",", ".")) for text in texts.values()]
            self._firsts.pop(True)
        missing = int(np.isnan(numbers).sum())
        if missing:
            where, shown = next(iter(self._firsts.values()))
            todo = "leave such rows out or give undefined items a score, and say so"
            if shown.strip("'").lower() in ("true", "false"):
                todo = "is it the label? Name the columns: --columns score=COLUMN,member=COLUMN"
            raise UserError(
                f"{path} {where}: {self.name} is not a number: {shown} ({missing} of {numbers.size} rows): {todo}"
            )
        return numbers


def _number(value: object) -> float:
    """Return a number, or NaN for what is none: true and false, 1_000, text."""
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        return math.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _text(value: object) -> str | None:
    """Return a name as text, or None where there is none."""
    if value is None or value == "" or value != value:
        return None
    return str(value)
