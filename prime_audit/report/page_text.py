"""What a page may hold: addresses that may become links, numbers as displayed, JSON inside HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

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


def thousandths(value: float | None) -> int | None:
    """Round to three decimals, as displayed, in thousandths: two programs cannot display one number in two ways.

    ValueError where ``value`` is not finite.
    """
    return None if value is None else int(f"{value:.3f}".replace(".", ""))


def dump(data: Mapping[str, Any]) -> str:
    """Write JSON for a script element: no text in it ends the element or starts another."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04X}")
    return text
