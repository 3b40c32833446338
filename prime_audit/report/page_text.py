"""What a page may hold: addresses that may become links, numbers as displayed, sentences, JSON inside HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

GAP, SAME = "\x00", "\x01"
"""In a text with gaps: the next number of ``told``; a field of the panel, by the letter that follows."""
_NUMBER = re.compile(r"[+-]?[0-9]+\.[0-9]{3}(?![0-9])")
_ADDRESS = re.compile(r"https://[^\s<>\"'`\\\x00-\x20]+")


def link(href: str) -> str | None:
    """Return an address a page may link to: https, or a path relative to the page; else None.

    The characters of a path that an address reserves are quoted.
    """
    if _ADDRESS.fullmatch(href):
        return href
    first = href.split("/", 1)[0]
    if not first or ":" in first or "\\" in href or any(ord(c) < 32 for c in href):
        return None
    return quote(href, safe="/:=+,@~!'()*;&", errors="replace")


def thousandths(value: float | None, digits: int = 3) -> int | None:
    """Round to ``digits`` decimals, as displayed, in thousandths: two programs cannot display one number in two ways.

    ValueError where ``value`` is not finite.
    """
    return None if value is None else int(f"{value:.{digits}f}".replace(".", "")) * 10 ** (3 - digits)


def gapped(why: str, fields: Mapping[str, float | None]) -> tuple[str, str]:
    """Take the numbers out of a sentence, so that equal sentences stand in the page once.

    Returns the sentence with gaps and the numbers that fill them, a space between them. A number that is one of
    ``fields`` (by letter) is named by its letter instead.
    """
    if GAP in why or SAME in why:
        return why, ""
    known = {letter: value for letter, value in fields.items() if value is not None}
    letters = {f"{value:{sign}.3f}": letter for letter, value in known.items() for sign in ("+", "")}
    told: list[str] = []

    def gap(found: re.Match[str]) -> str:
        letter = letters.get(found[0])
        if letter and float(found[0]):  # a zero may carry a sign
            return SAME + (letter.upper() if found[0][0] == "+" else letter)
        told.append(found[0])
        return GAP

    return _NUMBER.sub(gap, why), " ".join(told)


def dump(data: Mapping[str, Any]) -> str:
    """Write JSON that can stand in a script element: no text of it ends the element or starts another."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04X}")
    return text
