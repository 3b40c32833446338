"""A publication's claims as data: ``claims.json``, one row a statement, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from prime_audit.boards.entries import object_in, read_object
from prime_audit.boards.statements import KINDS
from prime_audit.errors import UserError, unknown

FILE = "claims.json"
SCHEMA = "prime-audit/claims/1"
_TEXTS = ("id", "quote", "place")
_KEYS = (*_TEXTS, "says", "unchecked", "note")
_SHARED = ("table", "row", "column", "task", "metric", "method", "core", "front", "variant", "model")
"""Fields of a cell that ``like``, ``per`` and ``by`` may name."""


@dataclass(frozen=True)
class Claim:
    """One statement that can be true or false."""

    id: str
    """Unique, short, of lower-case letters, digits and hyphens."""
    quote: str
    """The publication's words, verbatim."""
    place: str
    """Where they stand."""
    says: Mapping[str, Any] | None
    """The statement (see ``statements``); None where the cells cannot decide it."""
    unchecked: str
    """Why they cannot; empty where they can."""
    note: str
    """How the words were read."""


def read_claims(path: Path) -> tuple[Claim, ...]:
    """Read ``path`` (a ``claims.json``); UserError names the file and the row, counted from 1."""
    rows = read_object(path, SCHEMA).get("claims")
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path}: lacks claims; give a list of rows")
    claims: dict[str, Claim] = {}
    for number, row in enumerate(rows, start=1):
        claim = _claim(row, f"{path}: row {number}")
        if claim.id in claims:
            raise UserError(f"{path}: row {number}: id {claim.id!r} is taken; choose another")
        claims[claim.id] = claim
    return tuple(claims.values())


def _claim(row: Any, where: str) -> Claim:
    for key in object_in(row, where):
        if key not in _KEYS:
            raise UserError(f"{where}: {unknown('entry', key, _KEYS)}")
    for key in (*_TEXTS, "unchecked", "note"):
        if not isinstance(row.get(key, "" if key not in _TEXTS else None), str):
            raise UserError(f"{where}: {key} is no text; mend it")
    if not re.fullmatch(r"[a-z0-9-]+", row["id"]):
        raise UserError(f"{where}: id {row['id']!r}: use lower-case letters, digits and hyphens")
    if ("says" in row) == bool(row.get("unchecked")):
        raise UserError(f"{where}: give says, or unchecked with the reason, one of the two")
    if "says" in row:
        _require_statement(row["says"], f"{where}: says")
    told = {"says": None, "unchecked": "", "note": ""}
    return Claim(**(told | row))


def _require_statement(says: Any, where: str) -> None:
    if not isinstance(says, dict) or not isinstance(says.get("kind"), str):
        raise UserError(f"{where}: is no statement with a kind; see prime_audit/boards/statements.py")
    if says["kind"] not in KINDS:
        raise UserError(f"{where}: {unknown('kind', says['kind'], KINDS)}")
    _, needed, optional = KINDS[says["kind"]]
    for key in says:
        if key not in ("kind", *needed, *optional):
            raise UserError(f"{where}: {unknown('entry', key, (*needed, *optional))}")
    if lacking := [key for key in needed if key not in says]:
        raise UserError(f"{where}: lacks {', '.join(lacking)}; add it")
    for key in ("relation", "along"):
        if not isinstance(says.get(key, ""), str):
            raise UserError(f"{where}: {key} is no text; mend it")
    if not isinstance(says.get("quantifier", "all"), str | int):
        raise UserError(f"{where}: quantifier is no word and no whole number; mend it")
    for key in ("like", "per", "by", "without"):
        names = says.get(key, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{where}: {key} is no list of texts; mend it")
        if key != "without" and not set(names) <= set(_SHARED):
            raise UserError(f"{where}: {key} names what no cell has; choose of {', '.join(_SHARED)}")
    if "than" in says and not (isinstance(says["than"], dict) and set(says["than"]) == {"of", "over"}):
        raise UserError(f"{where}: than is no pair of of and over; mend it")
    _require_percent(says.get("percent", "0"), where)


def _require_percent(text: Any, where: str) -> None:
    try:
        sound = isinstance(text, str) and Decimal(text).is_finite()
    except InvalidOperation:
        sound = False
    if not sound:
        raise UserError(
            f'{where}: percent {text!r} is no number in quotes; write it as stated, for instance "44.1"'
        )
