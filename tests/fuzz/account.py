"""No silent loss: every record of an input is in the result or reported, counted by other code than the readers'."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from prime_audit.lamp.data import Dataset, User
from prime_audit.lamp.items import MOST_QUERIES

from .attempt import Lost


def rows(path: Path) -> int:
    """Count the rows of a table that was read."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return int(pq.read_table(path, columns=["user"]).num_rows)
    unpack = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}.get(path.suffix, bytes)
    text = unpack(path.read_bytes()).decode("utf-8-sig")
    if path.suffix == ".json":
        with suppress(ValueError):
            content = json.loads(text)
            return len(content["data"] if isinstance(content, dict) else content)
    if ".csv" in path.name or ".tsv" in path.name:
        marked, _, rest = text.partition("\n")
        if marked[:4].lower() == "sep=" and marked[4:5] in (",", ";", "\t"):
            return _cells(rest, marked[4])
        return max((_cells(text, mark) for mark in ",;\t"), default=0)
    return sum(bool(line.strip()) for line in text.split("\n"))


def _cells(text: str, mark: str) -> int:
    """Count the rows below a header that names a user; 0 where it does not."""
    found = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark) if row]
    return len(found) - 1 if found and "user" in [name.strip() for name in found[0]] else 0


def everyone(data: Dataset) -> list[User]:
    """Return the users of all roles."""
    return [*data.adapt, *data.targets, *data.candidates]


def require_rows(data: Dataset, path: Path) -> None:
    """Raise Lost unless every row of plain items is an item, a question, or in a defect."""
    total = rows(path)
    kept = sum(len(user.history) + len(user.queries) for user in everyone(data))
    people = sum(defect.problem == "no history" for defect in data.defects)  # with their questions
    lost = total - kept - (sum(defect.action == "skipped" for defect in data.defects) - people)
    if not people <= lost <= people * MOST_QUERIES:
        raise Lost(f"{total} rows, {kept} kept, {len(data.defects)} reported, of them {people} people")


def require_users(data: Dataset, files: list[Path]) -> None:
    """Raise Lost unless every user of a Per-Pcs or OPPU folder is there whole, or defects say what is not."""
    records = [record for path in files for record in json.loads(path.read_bytes())]
    names = Counter(_name(record) for record in records)
    kept = {user.id: user for user in everyone(data)}
    missing = len(records) - len(kept)
    for record in records:
        user = kept.get(_name(record))
        if user and names[user.id] == 1:
            missing += len(record["profile"]) - len(user.history)
            missing += len(record.get("query") or []) - len(user.queries)
    if missing > len(data.defects):
        raise Lost(f"{missing} users, items and questions missing, {len(data.defects)} reported")


def require_questions(data: Dataset, path: Path) -> None:
    """Raise Lost unless every official question is there, or reported; whole users count with their questions."""
    records = json.loads(path.read_bytes())
    most = max(Counter(_name(record, "user_id") or repr(record) for record in records).values())
    missing = len(records) - sum(len(user.queries) for user in everyone(data))
    said = [d for d in data.defects if not re.search(r", item [^,]*$", d.record)]
    if missing > len(said) * most:
        raise Lost(f"{missing} questions missing, {len(said)} reported")


def _name(record: Any, key: str = "user_id") -> str:
    return str(record.get(key, "")).strip() if isinstance(record, dict) else ""
