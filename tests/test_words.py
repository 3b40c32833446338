"""Prose stays plain: docstrings, comments and messages of these rooms use none of the words below."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (".", "../attacks", "../baselines")
"""Folders and files, from ``prime_audit``."""
QUAINT = {
    "told": "reported, shown, passed",
    "lies": "is (in)",
    "stands": "is (in), shown",
    "bears": "has",
    "mend": "fix",
    "mended": "fixed",
    "her": "their",
    "hers": "theirs",
    "she": "they",
    "whom": "who",
    "nobody": "no user, no process",
    "somebody": "a user, another process",
    "thrice": "three times",
    "aught": "anything",
    "hence": "so",
    "made again": "recomputed, rebuilt",
    "asked again": "a second run",
    "run again": "rerun",
    "says nothing": "gives no score, is undefined",
    "has it that": "states",
    "no such thing": "none",
    "taken away": "deleted",
}
"""Word → plain ones."""
PATTERN = re.compile(rf"\b({'|'.join(QUAINT)})\b", re.IGNORECASE)
PUBLISHED = (
    "merges nobody",
    "equally similar to her",
    "the control says nothing of a target",
    "A merged sharer's members were drawn from her own items",
    "it does not ask whether she was merged",
    "Coins decided whom a target may merge",
    "of her history; it says nothing of",
)
"""Sentences of committed records and board pages, which a rewording would make differ from what is published."""
GENERATED = {"profiles.py"}
"""Its texts reach a model: changing one changes numbers."""


def sources() -> Iterator[Path]:
    """Yield the rooms' Python files."""
    for room in ROOMS:
        place = (ROOT / "prime_audit" / room).resolve()
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        yield from (file for file in files if file.name not in GENERATED)


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield comments and strings of several words, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, " ".join(node.value.split())
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_is_plain(path: Path) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word!r}, better: {QUAINT[word.lower()]}"
        for line, text in prose(path.read_text(encoding="utf-8"))
        for word in PATTERN.findall(text)
        if not any(sentence in text for sentence in PUBLISHED)
    ]
    assert not found, "\n".join(found)


def test_a_quaint_word_is_found() -> None:
    source = '"""A file that stands here."""\nx = f"run {1} again; mend it"  # her own\n'
    words = [word for _, text in prose(source) for word in PATTERN.findall(text)]
    assert words == ["stands", "mend", "her"]
