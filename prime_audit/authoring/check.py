"""One line of a doctor's report."""

from __future__ import annotations

from dataclasses import dataclass


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


def in_line(fault: BaseException) -> str:
    """Write a fault in one line."""
    return " ".join(str(fault).split())
