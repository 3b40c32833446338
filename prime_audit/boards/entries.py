"""JSON that people write by hand for a board, read strictly: every message names the place and the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from prime_audit.errors import UserError
from prime_audit.io import intake
from prime_audit.record import built

_T = TypeVar("_T")


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


def entry(cls: type[_T], content: Any, where: str, **given: Any) -> _T:
    """Build a dataclass from an object that has only its fields, without those that are ``given``; else UserError."""
    try:
        return built(cls, content, where, strict=True, given=given)
    except ValueError as error:
        raise UserError(f"{error}; fix it") from None
