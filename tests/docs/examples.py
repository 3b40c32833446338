"""Pages of the documentation, and the Python examples in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "leaderboards/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def python_blocks() -> Iterator[tuple[str, str]]:
    """Yield (title, code) of every fenced Python block."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        yield from re.findall(r'^```python(?: title="(.*?)")?\n(.*?)^```', text, re.DOTALL | re.MULTILINE)


def example(title: str) -> str:
    """Return the code of the one example with a title."""
    (code,) = (code for name, code in python_blocks() if name == title)
    return code
