"""Numbers and texts for tables, in plain text, Markdown and LaTeX: no text becomes markup."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import PurePath

_TEX = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    # After a line break they would be read as its arguments.
    **{mark: f"{{{mark}}}" for mark in "[]*"},
    **{
        "`": r"\textasciigrave{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
    },
    **{"α": r"$\alpha$", "ε": r"$\varepsilon$", "±": r"$\pm$", "−": "$-$", "≥": r"$\geq$", "Δ": r"$\Delta$"},
    **{
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "–": r"\textendash{}",
        "—": r"\textemdash{}",
        "·": r"$\cdot$",
        "½": r"$\frac{1}{2}$",
    },
}


def number(value: float, signed: bool = False) -> str:
    """Three decimals, a true minus sign, no sign on zero."""
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    return text[1:] if float(text) == 0.0 and text[0] in "+-" else text.replace("-", "−")


def interval(ci: tuple[float, float] | None, signed: bool = False) -> str:
    """``[0.100, 0.200]``; empty where there is none."""
    return f"[{number(ci[0], signed)}, {number(ci[1], signed)}]" if ci else ""


_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters except tab and line feed: escape sequences begin with one
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that change the direction of the text after them
    "\u2028\u2029\ufeff\ud800-\udfff]"  # further line ends, invisible characters, half a character
)


def visible(text: str) -> str:
    """Return a text with control and hidden characters as JSON escapes; tabs and line feeds stay."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def encoded(text: str) -> bytes:
    """Encode in UTF-8; half a character (a lone surrogate, from broken input) becomes its own JSON escape."""
    return text.encode("utf-8", "backslashreplace")


def csv_text(text: str | None) -> str | None:
    """Write any text so that no spreadsheet reads it as a formula: with an apostrophe in front."""
    if not text:
        return text
    return ("'" if text.lstrip()[:1] in ("=", "+", "-", "@") else "") + visible(text)


def plain(text: str) -> str:
    """Return any text on one line, without invisible or control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def without_folder(word: str) -> str:
    """Return the last part of a machine's own path; any other word unchanged."""
    return PurePath(word).name if word.startswith(("/", "~")) or PurePath(word).is_absolute() else word


def without_folders(command: str) -> str:
    """Write a command without a machine's own paths: only their last parts stay."""
    try:
        words = shlex.split(command)
    except ValueError:  # an unclosed quote: not a real command, but a record may contain anything
        words = command.split()
    return shlex.join(map(without_folder, words))


def markdown_text(text: str) -> str:
    """Write any text so that Markdown shows it unchanged on one line: no markup, no HTML, no new column."""
    return re.sub(r"([\\`*_\[\]|~$#!])", r"\\\1", html.escape(plain(text), quote=False))


def code(text: str) -> str:
    """Format a name as Markdown code, so that it contains no markup."""
    return f"`{plain(text).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def fenced(command: str) -> str:
    """Format a command as a Markdown code block that it cannot close."""
    text = visible(command)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}sh\n{text}\n{fence}"


def latex_text(text: str) -> str:
    """Write any text so that LaTeX shows it unchanged on one line; letters beyond ASCII need LuaLaTeX or XeLaTeX."""
    written = "".join(_TEX.get(c, c) for c in plain(text))
    return re.sub("-(?=-)", "-{}", written)  # two hyphens would become a dash
