"""Compare the figures of two records: results, comparisons and leaks. ``python -m tests.same_record A B``.

A and B are run folders or ``record.json`` files. Every difference is printed; the exit code is 1 where there is one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PARTS = ("results", "comparisons", "leaks")
NAMES = ("task", "method", "baseline", "metric", "game", "attack")
"""What names a figure."""


def differences(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """Yield a line for every figure that is in one record only, differs, or is in another place."""
    for part in PARTS:
        ours, theirs = ({_name(x): x for x in record.get(part, [])} for record in (one, other))
        if any(len(x) != len(record.get(part, [])) for x, record in ((ours, one), (theirs, other))):
            yield f"{part}: a record holds a figure twice"
        for name in [*ours, *(n for n in theirs if n not in ours)]:
            if name not in ours or name not in theirs:
                yield f"{part}: {name} only in the {'first' if name in ours else 'second'}"
                continue
            for key in {**ours[name], **theirs[name]}:
                a, b = ours[name].get(key), theirs[name].get(key)
                if a != b:
                    yield f"{part}: {name}: {key} {a!r}, {b!r}"
        if list(ours) != list(theirs) and set(ours) == set(theirs):
            yield f"{part}: in another order"


def _name(entry: dict[str, Any]) -> str:
    return " ".join(str(entry[key]) for key in NAMES if entry.get(key) is not None)


def read(path: Path) -> dict[str, Any]:
    """Read a record."""
    file = path / "record.json" if path.is_dir() else path
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def main(words: Sequence[str]) -> int:
    """Print the differences of two records; return the exit code."""
    one, other = (read(Path(word)) for word in words)
    found = list(differences(one, other))
    for line in found:
        print(line)
    count = sum(len(one.get(part, [])) for part in PARTS)
    print(f"{len(found)} differences" if found else f"identical: {count} figures")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
