"""One line of a doctor's report."""

from __future__ import annotations

from dataclasses import dataclass

from prime_audit.plugins import Attack, Game, Method
from prime_audit.plugins.loading import kind_of


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    """What was seen, in one line."""
    remedy: str = ""
    """What to do, where it is not ok."""

    def line(self) -> str:
        """``ok    needs: …`` or ``FAIL  needs: …; do this``."""
        text = f"{'ok  ' if self.ok else 'FAIL'}  {self.name}: {self.found}"
        return text if self.ok or not self.remedy else f"{text}; {self.remedy}"


def described(plugin: Method | Attack | Game) -> Check:
    """Check that a plugin says what it is and where it comes from, a game also what its figures mean."""
    said, wanted = bool(plugin.summary and plugin.source), "source="
    if isinstance(plugin, Game):
        said, wanted = said and bool(plugin.says), "source= and says="
    remedy = f"begin the file with a docstring of one line, and give {wanted} in @{kind_of(plugin)}"
    return Check("described", said, plugin.summary or "no summary", remedy)


def in_line(fault: BaseException) -> str:
    """Write a fault in one line."""
    return " ".join(str(fault).split())
