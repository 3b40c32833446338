"""JSON files of data sets, and the names of their values' types."""

from __future__ import annotations

from pathlib import Path

from prime_audit.errors import UserError
from prime_audit.io.tables import BadRecordError, parse_json, read_text


def load_json(path: Path) -> object:
    """Read a JSON file (``.gz`` too)."""
    return parse_json(path, read_text(path))


def load_list(path: Path) -> list[object]:
    """Read a JSON file that must contain a list."""
    content = load_json(path)
    if not isinstance(content, list):
        raise UserError(
            f"{path}: contains {type_name(content)}, not a list of records: is it the right file?"
        )
    return content


def load_object(path: Path) -> dict[str, object]:
    """Read a JSON file that must contain an object."""
    content = load_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: contains {type_name(content)}, not an object: is it the right file?")
    return content


def type_name(value: object) -> str:
    """Name a JSON value's type in words."""
    names: dict[type, str] = {
        type(None): "null",
        bool: "true/false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
        BadRecordError: "an object with a duplicate key",
    }
    return names.get(type(value), type(value).__name__)
