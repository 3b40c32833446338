"""Which column of a table of items is which, and the order of its rows in time."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from prime_audit.errors import UserError
from prime_audit.io.tables import PEOPLE, columns_of, lookalikes, parse_columns, require_columns, words_for
from prime_audit.lamp.records import Log, is_spreadsheet_date
from prime_audit.lamp.times import in_order, oldest_first, read_times

REQUIRED = ("user", "input", "output")
ROLES = (*REQUIRED, "id", "time")
"""What a column of items may be; a column has the name of its role unless ``--columns`` gives another."""
OTHER_NAMES = {
    "user": PEOPLE,
    "input": (
        *("text", "body", "content", "prompt", "question", "article", "review", "reviewtext", "description"),
        *("source", "context", "document", "message", "sentence", "abstract", "instruction"),
    ),
    "output": (
        *("label", "target", "gold", "answer", "response", "title", "headline", "tag", "rating", "score"),
        *("stars", "completion", "summary", "category", "class", "reference"),
    ),
    "id": ("itemid", "rowid", "postid", "tweetid", "reviewid", "documentid", "docid", "messageid"),
    "time": (
        *("timestamp", "date", "datetime", "createdat", "createdutc", "created", "publishedat", "published"),
        *("postedat", "unixreviewtime", "reviewtime", "year", "epoch"),
    ),
}
"""Role → other names that people give its column, in order of trust."""
_KEYS = 1000
"""Most names of columns that are remembered of rows that each name their own."""

Person = TypeVar("Person", bound=Hashable)


def read_columns(columns: str | Mapping[str, str] | None, time_column: str | None) -> dict[str, str]:
    """Merge ``--columns`` and ``--time-column`` into a dict from role to column. Raises UserError."""
    found = parse_columns(columns, ROLES, "--columns")
    if time_column is not None and found.setdefault("time", time_column) != time_column:
        raise UserError(
            f"--time-column {time_column}: --columns names {found['time']} for time; leave one of the two out"
        )
    for role, column in found.items():
        if column in REQUIRED and column not in (role, *found):
            raise UserError(
                f"--columns {role}={column}: {column} is read as {column} too; name the column of {column}"
            )
    return found


def names_of(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the column of every role; a column that is named for one is no other's. Raises UserError."""
    given = {role: [name] for role, name in columns.items()}
    return {**columns, **columns_of(given, ROLES, REQUIRED, "--columns")}


class Header:
    """The columns of a table of items: found in its header, or in rows that each name their own."""

    def __init__(
        self, path: Path, columns: Mapping[str, str], header: Sequence[str] | None, *, free: bool = False
    ) -> None:
        """``free``: rows may have a task's own fields instead, so no column is required."""
        self.path, self.columns, self.names = path, columns, names_of(columns)
        self.found: dict[str, None] = dict.fromkeys(header or ())
        self._last: list[str] = []
        if header is not None:
            if free:
                require_columns(path, header, (), header)
            else:
                self._require(header)

    def add(self, row: Mapping[str, object]) -> None:
        """Take in the names of one row."""
        names = [*row]
        if self._last != names and len(self.found) < _KEYS:
            self.found.update(dict.fromkeys(names))
            self._last = names

    def finish(self, log: Log) -> None:
        """Raise UserError where the rows have no column of a role; note a column that looks like an optional one."""
        if self.found:
            self._require([*self.found])
        self.note(log, self.path.name)

    def note(self, log: Log, file: str) -> None:
        """Note a column that looks like the id or the time of the rows and is not read."""
        near = self._near()
        for role in ("id", "time"):
            if role in near:
                word = f"--time-column {near[role]}" if role == "time" else f"--columns id={near[role]}"
                log.notes.append(
                    f"{file}: column {_shown(near[role])} is not read; if it is the {role} of the rows, "
                    f"pass {_shown(word)}"
                )

    def _near(self) -> dict[str, str]:
        taken = {self.names[role] for role in ROLES if self.names[role] in self.found}
        free = {role: names for role, names in OTHER_NAMES.items() if self.names[role] not in self.found}
        return lookalikes(self.found, free, taken)

    def _require(self, header: Sequence[str]) -> None:
        asked = [self.names[role] for role in ROLES if role in REQUIRED or role in self.columns]
        there = {role: name for role, name in self.columns.items() if name in header}
        near = self._near()
        # A role without a column, and without one that looks meant, is left to the reader of the message.
        lost = {role: "…" for role in ROLES if self.names[role] in asked and self.names[role] not in header}
        words = words_for(there, {**lost, **near}, ROLES)
        option = f"--columns {_shown(words)}" if words != "time=…" else "--time-column …"
        hint = f"pass {option}" if near else f"rename the columns, or pass {option}"
        rest = [self.names[role] for role in ROLES if self.names[role] not in asked]
        require_columns(self.path, header, asked, rest, hint)


def _shown(text: str) -> str:
    return ascii(text)[1:-1].replace("\\u2026", "…")[:200]


def sort_by_time(
    people: Mapping[Person, Sequence[object]],
    file: str,
    column: str,
    log: Log,
    *,
    file_is_ordered: bool,
    there: bool = False,
) -> dict[Person, Sequence[int]]:
    """Return the positions of a person's items, oldest first, where that changes their order.

    ``people`` have the items' times. Times that are missing or cannot be read are reported, and with
    ``file_is_ordered`` how many people's items the file has in another order. Only where the column is not ``there``
    may all be missing without a report.
    """
    values = [value for own in people.values() for value in own]
    times = read_times(values)
    if times.missing == len(values) and not (there or any(value is not None for value in values)):
        return {}
    bad = times.missing + times.unreadable
    if bad:
        at = next(n for n, key in enumerate(times.keys) if key is None)
        first = "empty" if values[at] is None or not str(values[at]).strip() else repr(values[at])
        place = (
            "the file's order is kept"
            if bad == len(values)
            else "each keeps its place behind the item before it"
        )
        log.keep(
            file,
            f"{bad} of {len(values)} items have no {column} that can be read (the first is {_shown(first)[:60]}); "
            f"{place}",
        )
    if times.ambiguous:
        log.notes.append(
            f"{file}: {times.ambiguous} of {len(values)} dates of {column} may be {' or '.join(sorted(times.orders))}; "
            f"they are read as {times.orders[0]}; write them as 2020-12-31 to be sure"
        )
    if times.mixed_zones:
        log.notes.append(
            f"{file}: some values of {column} have a time zone; those without one are read as UTC"
        )
    orders: dict[Person, Sequence[int]] = {}
    start = unlike = 0
    for person, own in people.items():
        keys = times.keys[start : start + len(own)]
        start += len(own)
        if not in_order(keys):
            unlike += 1
            orders[person] = oldest_first(keys)
    if unlike and file_is_ordered:
        log.notes.append(
            f"{file}: the rows of {unlike} of {len(people)} users are not in the order of {column}; "
            f"they are sorted by it, oldest first"
        )
    return orders


def note_dates_as_ids(ids: Collection[str], what: str, file: str, log: Log) -> None:
    """Report ids that look like dates that a spreadsheet made of them."""
    if found := [id for id in ids if is_spreadsheet_date(id)]:
        log.keep(
            file,
            f"{len(found)} {what} ids look like dates that a spreadsheet made of them (the first is {found[0]}), so "
            "that different ids may look the same; export them as text",
        )
