"""JSON that people write by hand for a board, read strictly: every message names the place and the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prime_audit.errors import UserError, unknown
from prime_audit.io import intake


def read_object(path: Path, schema: str) -> dict[str, Any]:
    """Read a file of one JSON object of this schema, without NaN; UserError if it is anything else."""
    try:
        content = intake.read_json(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; restore it") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({str(error)[:80]}); fix it") from None
    if not isinstance(content, dict) or content.get("schema") != schema:
        raise UserError(f"{path}: schema is not {schema!r}; use a file of that schema")
    return content


def flat(cls: type[Any], content: Any, where: str) -> Any:
    """Build a dataclass of texts and whole numbers from a JSON object with exactly its fields."""
    names: dict[str, str] = cls.__annotations__
    entry = object_in(content, where)
    for key in entry:
        if key not in names:
            raise UserError(f"{where}: {unknown('entry', key, names)}")
    for key, kind in names.items():
        if type(entry.get(key)).__name__ != kind:
            raise UserError(f"{where}: {key} is not of type {kind}; fix it")
    return cls(**entry)


def object_in(content: Any, where: str) -> dict[str, Any]:
    """Return ``content`` if it is a JSON object; UserError if not."""
    if not isinstance(content, dict):
        raise UserError(f"{where}: is not a JSON object; fix it")
    return content
