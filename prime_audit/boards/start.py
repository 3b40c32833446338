"""Starting a leaderboard: a ``board.toml`` to be changed."""

from __future__ import annotations

import os
import re
from pathlib import Path

from prime_audit.boards.config import FILE
from prime_audit.errors import UserError
from prime_audit.folder import write_atomic

_TEMPLATE = Path(__file__).with_name("template.toml")
"""A complete board, with NAME for its name."""


def new_board(home: Path, name: str) -> Path:
    """Write ``home/NAME/board.toml`` and return its path; UserError for a bad name or a board that exists."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise UserError(
            f"new leaderboard {name[:80]!r}: use at most 64 letters, digits, _ and -, beginning with a letter or digit"
        )
    path = home / name / FILE
    if os.path.lexists(path):
        raise UserError(f"{path}: exists already; change it, or choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UserError(
            f"{path.parent}: cannot be created ({fault.strerror}); choose another --home"
        ) from None
    write_atomic(path, [_TEMPLATE.read_text(encoding="utf-8").replace("NAME", name)])
    return path
