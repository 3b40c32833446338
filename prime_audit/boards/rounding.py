"""What printed numbers show: a number printed to three decimals covers all that round to it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction

from prime_audit.boards.cells import DECIMALS

_HALF = Fraction(1, 2 * 10**DECIMALS)


class Holds(Enum):
    """Whether a claim holds."""

    YES = "holds"
    """The cells as printed show it."""
    ROUNDING = "holds within rounding"
    """The cells as printed do not show it, but some numbers that round to them do."""
    NO = "does not hold"
    UNKNOWN = "cannot be checked"

    @property
    def holds(self) -> bool | None:
        """True, False, or None if it cannot be checked."""
        return {Holds.NO: False, Holds.UNKNOWN: None}.get(self, True)


@dataclass(frozen=True)
class Span:
    """A number as printed, and the closed range that it covers; exact."""

    low: Fraction
    mid: Fraction
    """As printed."""
    high: Fraction


def printed(value: float) -> Span:
    """Return the range of a cell: half a unit of its last digit to either side, not below 0."""
    mid = Fraction(str(value))
    return Span(max(Fraction(0), mid - _HALF), mid, mid + _HALF)


def distance_from_half(auc: Span) -> Span:
    """Return how far an AUC is from ½, in either direction: an attacker may flip a score."""
    ends = sorted(abs(x - Fraction(1, 2)) for x in (auc.low, auc.high))
    inside = auc.low <= Fraction(1, 2) <= auc.high
    return Span(Fraction(0) if inside else ends[0], abs(auc.mid - Fraction(1, 2)), ends[1])


def gain(ours: Span, theirs: Span, higher_is_better: bool) -> Span | None:
    """Return the relative improvement of ours over theirs, percent of theirs; None over zero.

    If lower is better it is the relative reduction. Both are monotonic in each number, so the ends of the range follow
    from the ends of the two.
    """
    if theirs.low <= 0:
        return None
    sign = 1 if higher_is_better else -1
    ends = sorted(sign * (a / b - 1) * 100 for a, b in ((ours.low, theirs.high), (ours.high, theirs.low)))
    return Span(ends[0], sign * (ours.mid / theirs.mid - 1) * 100, ends[1])


def agrees(stated: str, computed: Span | None) -> Holds:
    """Compare a stated percentage, with as many decimals as it states, with a computed one."""
    if computed is None:
        return Holds.UNKNOWN
    exponent = Decimal(stated).as_tuple().exponent
    assert isinstance(exponent, int)
    unit = Fraction(1, 2) * Fraction(10) ** exponent
    low, high = Fraction(stated) - unit, Fraction(stated) + unit
    if low <= computed.mid <= high:
        return Holds.YES
    return Holds.ROUNDING if computed.low <= high and low <= computed.high else Holds.NO


def better(ours: Span, theirs: Span, higher_is_better: bool) -> Holds:
    """Decide whether ours is better; equal prints may hide a difference either way.

    Prints that differ decide, because rounding keeps order.
    """
    margin = (ours.mid - theirs.mid) * (1 if higher_is_better else -1)
    return Holds.YES if margin > 0 else Holds.ROUNDING if margin == 0 else Holds.NO


def larger(ours: Span, theirs: Span) -> Holds:
    """Decide whether a computed number is larger; its range may reach beyond the other's."""
    if ours.mid > theirs.mid:
        return Holds.YES
    return Holds.ROUNDING if ours.high > theirs.low else Holds.NO
