"""Single records: from parsed JSON of any shape to items and queries, or a defect that is reported."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Integral

from prime_audit.errors import UserError
from prime_audit.io.markup import visible
from prime_audit.io.tables import BadRecordError
from prime_audit.lamp.data import Defect, Item, Query, words_or_text
from prime_audit.lamp.files import type_name
from prime_audit.lamp.tasks import TASKS, Task, tasks_of_labels

MISSING = frozenset(
    {"NaN", "nan", "NAN", "None", "NONE", "none", "null", "NULL", "Null", "NaT", "<NA>", "#N/A"}
)
"""Texts that programs write for a missing value."""
SPREADSHEET_ERRORS = frozenset({"#NAME?", "#REF!", "#VALUE!", "#DIV/0!", "#NUM!", "#NULL!"})
_EXACT = 2**53
"""Floats are exact for whole numbers below it."""
_WHOLE_FLOAT = re.compile(r"-?(?:0|[1-9]\d{0,300})\.0+", re.ASCII)
_SHORTENED = re.compile(r"[+-]?\d(?:[.,]\d+)?[eE]\+\d+", re.ASCII)
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_SPREADSHEET_DATE = re.compile(rf"\d\d?-{_MONTH}(?:-\d\d)?|{_MONTH}-\d\d", re.ASCII)
MOST_DEFECTS = 1_000_000
"""Most defects that are collected; a small compressed file may contain many more."""
_SHOWN = 60
"""Characters of an id shown in a message."""


class OtherTaskError(BadRecordError):
    """A record that is none of the task, and may be one of other tasks."""

    def __init__(self, problem: str, tasks: Sequence[str], what: str) -> None:
        super().__init__(problem)
        self.tasks, self.what = tasks, what


@dataclass
class Log:
    """The defects found so far, in the order of reading."""

    defects: list[Defect] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a user should know of data that have no defect."""
    others: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many records may be of another task: its name, and what they are there (labels, questions, items)."""

    def keep(self, file: str, problem: str) -> None:
        """Report a problem of a whole file whose records are kept."""
        self.defects.append(Defect(file, "", problem, "kept"))

    def skip(self, file: str, record: str, problem: object) -> None:
        """Report a record that is left out. Raises UserError above ``MOST_DEFECTS``."""
        if len(self.defects) >= MOST_DEFECTS:
            raise UserError(
                f"{file}: more than {MOST_DEFECTS:,} defective records{self.first()}: is it the right file?"
            )
        self.defects.append(Defect(file, record, str(problem)))
        if isinstance(problem, OtherTaskError):
            self.others.update((name, problem.what) for name in problem.tasks)

    def remedy(self, kept: int, stated: str = "") -> str:
        """Say what to do where too few of the people are left, with ``kept`` records.

        Most records may be of another task; ``stated`` is the file that names the data's.
        """
        for (name, what), count in self.others.most_common(1):
            if 2 * count > kept + len(self.defects):
                return f"check --task{stated and f' and the task in {stated}'}: they are {what} of {name}"
        return "add more users"

    @contextmanager
    def skipping(self, file: str, record: str) -> Iterator[None]:
        """Report the record that the body reads, and leave out the rest of the body, where it cannot be used."""
        try:
            yield
        except BadRecordError as problem:
            self.skip(file, record, problem)

    def first(self) -> str:
        """Return the first defect, their number and the most common problem, in brackets; empty without defects."""
        if not self.defects:
            return ""
        ((problem, count),) = Counter(defect.problem for defect in self.defects).most_common(1)
        most = f"; {count} of them: {problem}" if problem != self.defects[0].problem else ""
        return f" (first of {len(self.defects)} defects: {self.defects[0]}{most})"

    def require_none(self, path: object) -> None:
        """Raise in strict reading: the first defect and the count."""
        if self.defects:
            count = len(self.defects)
            more = f" and {count - 1} more defects" if count > 1 else ""
            raise UserError(f"{path}: {self.defects[0]}{more}: correct the data, or read without --strict")


def as_object(value: object) -> Mapping[str, object]:
    """Return a record that is an object."""
    if isinstance(value, BadRecordError):
        raise value
    if not isinstance(value, dict):
        raise BadRecordError(f"is {type_name(value)}, not an object")
    return value


def as_list(record: Mapping[str, object], name: str) -> Sequence[object]:
    """Return a field that is a list."""
    value = record.get(name)
    if not isinstance(value, list):
        problem = f"no {name}" if value is None else f"{name} is {type_name(value)}, not a list"
        raise BadRecordError(problem)
    return value


def as_id(record: Mapping[str, object], name: str = "id") -> str:
    """Return an id as text: the same whether it is text, a whole number, or a whole float such as ``12.0``.

    Raises BadRecordError where different ids may have become the same text: a float beyond 2^53, a number that a
    spreadsheet shortened, an error of a spreadsheet, a word for a missing value.
    """
    value = record.get(name)
    if isinstance(value, str):
        text = as_text(record, name).strip()
        if text[0] not in "+-#0123456789":
            return text
        if _WHOLE_FLOAT.fullmatch(text):
            text = text.partition(".")[0]
            exact = abs(int(text)) < _EXACT
        else:
            exact = not _SHORTENED.fullmatch(text)
        if text in SPREADSHEET_ERRORS:
            raise BadRecordError(f"{name} is {text}, a spreadsheet's error: export it as text")
    elif isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    elif isinstance(value, float | Decimal):
        if not math.isfinite(value) or value != (whole := int(value)):
            raise BadRecordError(f"{name} is {value}, not a whole number or text")
        text, exact = str(whole), isinstance(value, Decimal) or abs(whole) < _EXACT
    else:
        return as_text(record, name)
    if not exact:
        raise BadRecordError(
            f"{name} {str(record[name]).strip()[:40]!r} has lost digits, so different ids look the same: "
            "export it as text"
        )
    return text


def as_text(record: Mapping[str, object], name: str) -> str:
    """Return a field that is non-empty text, unchanged. A word for a missing value, such as ``NaN``, is no text."""
    value = record.get(name)
    if value is None:
        raise BadRecordError(f"no {name}")
    if not isinstance(value, str):
        raise BadRecordError(f"{name} is {type_name(value)}, not text")
    if not (bare := value.strip()):
        raise BadRecordError(f"{name} is empty")
    if bare in MISSING:
        raise BadRecordError(f"{name} is {bare!r}, a word for a missing value")
    try:
        if not value.isascii():
            value.encode()
    except UnicodeEncodeError:
        raise BadRecordError(f"{name} contains half a character (a lone surrogate)") from None
    return value


def is_missing(text: str) -> bool:
    """Return whether a text is empty, or a word for a missing value."""
    bare = text.strip()
    return not bare or bare in MISSING


def is_spreadsheet_date(id: str) -> bool:
    """Return whether an id looks like a date that a spreadsheet made of it: ``2-1`` becomes ``1-Feb``."""
    return bool(_SPREADSHEET_DATE.fullmatch(id))


def as_label(task: Task, record: Mapping[str, object], name: str) -> str:
    """Return a label of the task, stripped. In LaMP-3, ``4``, ``4.0`` and the number 4 are the same."""
    value = record.get(name)
    if task.kind == "rating":
        value = _digits(value)
    label = as_text({name: value}, name).strip()
    if label not in task.labels:
        problem = f"{name} {label[:40]!r} is not one of the labels {', '.join(task.labels)}"
        raise OtherTaskError(problem, tasks_of_labels([label]), "labels")
    return label


def as_gold(task: Task, record: Mapping[str, object], name: str) -> str:
    """Return a question's expected output, stripped."""
    return as_label(task, record, name) if task.labels else as_text(record, name).strip()


def parse_item(task: Task, value: object) -> Item:
    """Read one item of a history."""
    record = as_object(value)
    fields = {}
    if missing := [name for name in task.item_fields if name not in record]:
        others = [other.name for other in TASKS.values() if {*other.item_fields} <= record.keys()]
        raise OtherTaskError(f"no {missing[0]}", others, "items")
    for name in task.item_fields:
        labelled = name == task.gold_field and task.labels
        fields[name] = as_label(task, record, name) if labelled else as_text(record, name)
    for name in task.optional_fields:
        # Absent and empty are the same here: LaMP-1's abstract is in no prompt, and a missing citation is found
        # later.
        if record.get(name) not in (None, ""):
            fields[name] = as_text(record, name)
    return Item(as_id(record), fields)


def parse_history(task: Task, items: Sequence[object], file: str, user: str, log: Log) -> tuple[Item, ...]:
    """Read a history. Items with a defect or a duplicate id are reported and left out."""
    kept: dict[str, Item] = {}
    for number, value in enumerate(items, start=1):
        with log.skipping(file, f"{user}, item {record_name(value, number)}"):
            item = parse_item(task, value)
            if item.id in kept:
                raise BadRecordError("its id occurs twice in the profile")
            kept[item.id] = item
    return tuple(kept.values())


def parse_queries(
    task: Task,
    queries: Sequence[object],
    golds: Mapping[str, str | None],
    seen: set[str],
    file: str,
    user: str,
    log: Log,
) -> tuple[Query, ...]:
    """Read a user's questions. ``golds`` are the label file's, ``seen`` the ids of the data set so far."""
    kept = []
    for number, value in enumerate(queries, start=1):
        with log.skipping(file, f"{user}, query {record_name(value, number)}"):
            query = _parse_query(task, as_object(value), golds)
            if query.id in seen:
                raise BadRecordError("its id occurs twice in the data set")
            seen.add(query.id)
            kept.append(query)
    return tuple(kept)


def without_answers(
    task: Task, history: Sequence[Item], queries: Sequence[Query], file: str, user: str, log: Log
) -> tuple[Item, ...]:
    """Remove items that are one of the user's own questions: their answer would be in the prompt."""
    questions = {words for query in queries for words in question_words(task, query)}
    if not questions:  # most users; the words of all items would take long
        return tuple(history)
    kept = []
    for item in history:
        if item_words(task, item) in questions:
            log.skip(
                file, f"{user}, item {record_name({'id': item.id}, 0)}", "is also one of the user's questions"
            )
        else:
            kept.append(item)
    return tuple(kept)


def question_words(task: Task, query: Query) -> set[str]:
    """Return the words (without case and punctuation) that identify a history item as this question."""
    texts = [query.fields.get(task.text_field, "")]
    # LaMP-7's questions show another wording than the item, whose text is the gold. A label is no item's text.
    texts += [] if task.labels else [query.gold]
    return {words_or_text(text) for text in texts if text}


def item_words(task: Task, item: Item) -> str:
    """Return the words of an item's text, to compare with :func:`question_words`."""
    return words_or_text(item.fields[task.text_field])


def parse_outputs(outputs: Sequence[object], file: str, log: Log) -> dict[str, str | None]:
    """Read ``[{"id", "output"}]`` as a dict from id to text. Empty text stays; a defect becomes None."""
    found: dict[str, str | None] = {}
    for number, value in enumerate(outputs, start=1):
        with log.skipping(file, record_name(value, number)):
            record = as_object(value)
            key, output = as_id(record), record.get("output")
            if not isinstance(output, str):
                output = _digits(output)
            if key in found:
                raise BadRecordError("its id occurs twice")
            found[key] = output if isinstance(output, str) else None
            if found[key] is None:
                raise BadRecordError(f"output is {type_name(output)}, not text")
    return found


def record_name(value: object, number: int, key: str = "id") -> str:
    """Name a record in a message by its id, or else by its position."""
    name = value.get(key) if isinstance(value, dict) else None
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)[:_SHOWN]
    return ascii(name)[1:-1][:_SHOWN] if isinstance(name, str) and name else f"number {number}"


def user_name(id: str) -> str:
    """Name a user in a message: one line of limited length, whatever the id contains."""
    return f"user {visible(' '.join(id.split()))[:_SHOWN]}"


def _parse_query(task: Task, record: Mapping[str, object], golds: Mapping[str, str | None]) -> Query:
    key = as_id(record)
    asked = task.parse_question(as_text(record, "input"))
    if asked is None:
        text = as_text(record, "input")
        others = [other.name for other in TASKS.values() if other.parse_question(text) is not None]
        why = f"it has {' or '.join(others)}'s" if others else "its marker is missing or ambiguous"
        raise OtherTaskError(f"the question does not have {task.name}'s form ({why})", others, "questions")
    fields = {name: as_text(asked, name) for name in task.query_fields}
    own, labelled = record.get("gold"), golds.get(key)
    if own is None:
        own = labelled
    gold = as_gold(task, {"gold": own}, "gold")
    if labelled is not None and gold != as_gold(task, {"gold": labelled}, "gold"):
        raise BadRecordError("its gold differs from the label file's")
    return Query(key, fields, gold)


def _digits(value: object) -> object:
    """Write a number as text, a whole one without decimals (``"4.0"`` becomes 4). Other values stay unchanged."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return value
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else str(value)
