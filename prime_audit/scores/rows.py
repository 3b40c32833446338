"""Read a file of scores, or say in one line why it cannot be read."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prime_audit.errors import UserError
from prime_audit.io import intake
from prime_audit.io.intake import twice

FAMILY = ("task", "method", "game")
"""Columns that tell runs apart; Holm corrects over the attacks of one family."""
_LARGEST_CELL = 1 << 20
"""Characters of a CSV cell."""
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One scored item."""

    family: tuple[str, ...]
    """Values of the FAMILY columns that are there."""
    attack: str
    """The score's name; ``score`` where the file names none."""
    target: str
    """Whose model was attacked; empty where the file names none."""
    sharer: str | None
    """Whose item it is; None where the file names none."""
    item: str | None
    """The item's id; None where the file names none."""
    game: str | None
    """Who is a member, in the suite's names; None where the file names none."""
    member: bool
    score: float
    """Higher = member."""


def read_scores(path: Path) -> list[Row]:
    """Read the rows of a scores file; UserError for whatever cannot be used."""
    try:
        lines = io.StringIO(intake.read_text(path), newline="")
        rows = list(
            _json_rows(lines, path) if path.suffix in (".jsonl", ".ndjson") else _csv_rows(lines, path)
        )
    except OSError as fault:
        raise UserError(f"{path}: {fault.strerror}; name a CSV or JSONL file of scores") from None
    except (UnicodeDecodeError, csv.Error) as fault:
        raise UserError(f"{path}: no text table ({fault}); give CSV or JSONL in UTF-8") from None
    if not rows:
        raise UserError(f"{path} holds no scores: give one row an item with columns score and member")
    missing = sum(math.isnan(row.score) for _, row in rows)
    if missing:
        line = next(line for line, row in rows if math.isnan(row.score))
        raise UserError(
            f"{path} line {line}: the score is no number ({missing} of {len(rows)} rows): "
            "leave such rows out or give undefined items a score, and say so"
        )
    for column in ("target", "sharer", "item"):
        without = [line for line, row in rows if not getattr(row, column)]
        if 0 < len(without) < len(rows):
            raise UserError(
                f"{path} line {without[0]}: {column} is empty ({len(without)} of {len(rows)} rows)"
            )
    return [row for _, row in rows]


def _csv_rows(lines: Iterable[str], path: Path) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.DictReader(lines, strict=True)
    _require_columns(reader.fieldnames or (), path)
    for entry in reader:
        where = f"{path} line {reader.line_num}"
        if None in entry or None in entry.values():
            raise UserError(f"{where}: more or fewer cells than columns; give one cell a column")
        yield reader.line_num, _row(entry, where)


def _json_rows(lines: Iterable[str], path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as fault:
            why = getattr(fault, "msg", None) or str(fault)[:80]
            raise UserError(f"{path} line {number}: no JSON ({why}); give one object a line") from None
        if not isinstance(entry, dict):
            raise UserError(f"{path} line {number}: no JSON object; give one object a line")
        _require_columns(entry, path, f" line {number}")
        yield number, _row(entry, f"{path} line {number}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"key {ascii(twice(pairs))[:60]} is given twice")
    return found


def _require_columns(columns: Iterable[str], path: Path, where: str = "") -> None:
    names = list(columns)
    lacking = [name for name in ("score", "member") if name not in names]
    if lacking:
        raise UserError(
            f"{path}{where} lacks {' and '.join(lacking)}: it has {', '.join(names)[:200] or 'no columns'}; "
            "name the columns so"
        )
    if again := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{path}{where}: column {again[:60]!r} appears twice; rename one")


def _row(entry: Mapping[str, Any], where: str) -> Row:
    try:
        score = float(entry["score"])
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    word = str(entry["member"]).strip().lower()
    if word not in _TRUE + _FALSE:
        raise UserError(f"{where}: member is {repr(entry['member'])[:60]}; give 1 or 0 (or true, false)")
    text = {key: str(value) for key, value in entry.items() if value not in (None, "")}
    return Row(
        family=tuple(text[key] for key in FAMILY if key in text),
        attack=text.get("attack", "score"),
        target=text.get("target", ""),
        sharer=text.get("sharer"),
        item=text.get("item"),
        game=text.get("game"),
        member=word in _TRUE,
        score=score,
    )
