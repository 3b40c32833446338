"""Kinds of options: how one value is written on the command line, in a config file and in a record.

A value has three forms. *Given*: what a caller of ``compare()`` passes. *Plain*: what a record's ``spec`` holds, as
JSON. *TOML*: what ``config.toml`` holds. Each kind converts between them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prime_audit.io.tables import columns_words


class Value:
    """A text; the base of the other kinds."""

    type: type = str
    """The type of one value on the command line."""
    annotation = "str"
    """The type of the keyword of ``compare()``, as documented."""
    takes = "text"
    """What a config file must hold, in words."""
    repeated = False
    """Whether the option may be given several times on the command line."""
    always_in_spec = True
    """Whether a record's ``spec`` names the option where it has no value."""

    def takes_given(self, value: Any) -> bool:
        """Whether a caller of ``compare()`` may pass a value: by its type alone."""
        return isinstance(value, self.type) and isinstance(value, bool) == (self.type is bool)

    def from_toml(self, value: Any) -> Any:
        """Turn a value of a config file into a given one; ValueError where it is of another type."""
        if not self.takes_given(value):
            raise ValueError
        return value

    def words(self, option: str, value: Any) -> list[str]:
        """Write a given value as words of the command line; ``option`` is ``--name``."""
        return [option, str(value)]

    def plain(self, value: Any) -> Any:
        """Turn a plan's value into plain JSON."""
        return value

    def given(self, plain: Any) -> Any:
        """Turn plain JSON back into a given value."""
        return plain

    def toml(self, value: Any) -> Any:
        """Turn a plan's value into TOML's."""
        return self.given(self.plain(value))


TEXT = Value()


class Whole(Value):
    """A whole number."""

    type = int
    annotation = "int"
    takes = "a whole number"


class Shorthand(Whole):
    """A whole number that a setting takes: a record has the setting."""

    always_in_spec = False


class Flag(Value):
    """A switch that is off by default."""

    type = bool
    annotation = "bool"
    takes = "true or false"

    def words(self, option: str, value: Any) -> list[str]:
        """Write the option alone where it is on."""
        return [option] if value else []


class Names(Value):
    """Names joined by commas; a list does too."""

    annotation = "str or sequence of str"
    takes = "text, or a list of texts"

    def takes_given(self, value: Any) -> bool:
        """Accept a text or a sequence of texts."""
        return isinstance(value, str) or _is_sequence(value, str)

    def from_toml(self, value: Any) -> Any:
        """Join a list."""
        return ",".join(value) if _is_texts(value) else super().from_toml(value)

    def words(self, option: str, value: Any) -> list[str]:
        """Join a sequence."""
        return [option, value if isinstance(value, str) else ",".join(value)]

    def plain(self, value: Any) -> Any:
        """List the names; a method's is its label."""
        return [str(name) for name in value]


class Folder(Value):
    """The path of a file or folder that the run reads; a record names it without this machine's own path."""

    type = Path
    annotation = "str or Path"
    always_in_spec = False

    def takes_given(self, value: Any) -> bool:
        """Accept a path, or None: no folder."""
        return value is None or isinstance(value, str | Path)

    def from_toml(self, value: Any) -> Any:
        """Accept a text."""
        return TEXT.from_toml(value)

    def plain(self, value: Any) -> Any:
        """Drop the folders above where the path is absolute: the record has the hash of what is in it."""
        if value is None:
            return None
        return value.name if value.is_absolute() or ".." in value.parts else value.as_posix()

    def toml(self, value: Any) -> Any:
        """Write the whole path."""
        return value and str(value)


class Texts(Value):
    """Texts, one each time the option is given."""

    annotation = "sequence of str"
    takes = "text, or a list of texts"
    repeated = True

    def takes_given(self, value: Any) -> bool:
        """Accept a sequence; one text alone is a sequence of characters."""
        return not isinstance(value, str) and _is_sequence(value, str, self.type)

    def from_toml(self, value: Any) -> Any:
        """Accept one text or several."""
        if not isinstance(value, str) and not _is_texts(value):
            raise ValueError
        return [value] if isinstance(value, str) else list(value)

    def words(self, option: str, value: Any) -> list[str]:
        """Repeat the option."""
        return [word for one in value for word in (option, str(one))]


class Files(Texts):
    """Paths of files, one each time the option is given."""

    type = Path
    annotation = "sequence of str or Path"

    def plain(self, value: Any) -> Any:
        """List the names of the files: their folders are this machine's own."""
        return [path.name for path in value]

    def toml(self, value: Any) -> Any:
        """List the whole paths."""
        return [str(path) for path in value]


class Assignments(Texts):
    """``KEY=VALUE``, one each time the option is given; a table in a config file."""

    takes = "a table, [set]"

    def from_toml(self, value: Any) -> Any:
        """Turn a table into ``KEY=VALUE``; ``lora.rank`` may be a dotted key or in ``[set.lora]``."""
        if not isinstance(value, dict):
            raise ValueError
        return [f"{key}={text}" for key, text in _flat(value)]

    def given(self, plain: Any) -> Any:
        """Write a table as ``KEY=VALUE``."""
        return [f"{key}={value_text(value)}" for key, value in plain.items()]

    def toml(self, value: Any) -> Any:
        """Write the table as it is."""
        return dict(value)


class Terms(Value):
    """``key=value`` terms joined by commas, which a plan holds as a dataclass: ``epsilon=8,delta=1e-5``."""

    def plain(self, value: Any) -> Any:
        """Turn the dataclass into a dictionary."""
        return value and asdict(value)

    def given(self, plain: Any) -> Any:
        """Join the terms that have a value."""
        return plain and ",".join(f"{key}={value}" for key, value in plain.items() if value is not None)


class Column(Value):
    """The name of a column; a record names it where it is given."""

    always_in_spec = False


class Columns(Value):
    """``ROLE=COLUMN`` terms joined by commas, which a plan holds as a dict; a table in a config file, too."""

    annotation = "str or dict"
    takes = "text, or a table"
    always_in_spec = False

    def takes_given(self, value: Any) -> bool:
        """Accept a text or a table of texts."""
        return isinstance(value, str) or (
            isinstance(value, Mapping) and _is_sequence([*value, *value.values()], str)
        )

    def from_toml(self, value: Any) -> Any:
        """Join a table."""
        if isinstance(value, dict) and _is_texts([*value.values()]):
            return columns_words(value)
        return super().from_toml(value)

    def words(self, option: str, value: Any) -> list[str]:
        """Join a dict."""
        return [option, value if isinstance(value, str) else columns_words(value)]

    def plain(self, value: Any) -> Any:
        """Copy the dict; None for an empty one."""
        return dict(value) or None

    def given(self, plain: Any) -> Any:
        """Join the terms."""
        return plain and columns_words(plain)


class SettingError(ValueError):
    """A value of ``[set]`` that no setting can have; its text names key and value."""


def value_text(value: Any) -> str:
    """Write a setting's value as ``--set`` reads it."""
    if isinstance(value, list):
        return "+".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def _is_sequence(value: object, *types: type) -> bool:
    return isinstance(value, Sequence) and all(isinstance(one, types) for one in value)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """List the settings of a nested table by dotted key, as text."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        elif isinstance(value, str | bool | int | float) or _is_texts(value):
            yield f"{before}{key}", value_text(value)
        else:
            shown = json.dumps(value, default=str)[:40]
            raise SettingError(f"set.{before}{key} is a number, true, false or text, not {shown}")
