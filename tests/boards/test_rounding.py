"""A verdict on a percentage never contradicts numbers that could stand behind the printed ones."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prime_audit.boards.rounding import Holds, agrees, better, distance_from_half, gain, printed

# Numbers finer than what is printed: five decimals behind three.
fine = st.integers(1_000, 100_000).map(lambda n: Decimal(n) / 100_000)


def as_printed(x: Decimal, digits: str = "0.001") -> float:
    return float(x.quantize(Decimal(digits), ROUND_HALF_UP))


def true_gain(a: Decimal, b: Decimal, higher: bool) -> Decimal:
    return 100 * ((a - b) / b if higher else (b - a) / b)


@given(fine, fine, st.booleans(), st.integers(0, 2))
def test_a_truly_computed_percentage_is_never_denied(
    a: Decimal, b: Decimal, higher: bool, digits: int
) -> None:
    stated = str(true_gain(a, b, higher).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
    verdict = agrees(stated, gain(printed(as_printed(a)), printed(as_printed(b)), higher))
    assert verdict in (Holds.YES, Holds.ROUNDING)


@given(fine, fine, st.booleans(), st.integers(-400, 2000))
def test_a_denied_percentage_is_out_of_reach_of_every_corner(
    a: Decimal, b: Decimal, higher: bool, tenths: int
) -> None:
    x, y = printed(as_printed(a)), printed(as_printed(b))
    stated = Decimal(tenths) / 10
    span = gain(x, y, higher)
    assert span is not None
    corners = [
        100 * ((p - q) / q if higher else (q - p) / q) for p in (x.low, x.high) for q in (y.low, y.high)
    ]
    assert (span.low, span.high) == (min(corners), max(corners))
    reachable = min(corners) - Fraction(1, 20) <= Fraction(stated) <= max(corners) + Fraction(1, 20)
    assert (agrees(f"{stated:.1f}", span) is not Holds.NO) == reachable


@given(fine, fine, st.booleans())
def test_what_is_printed_better_is_truly_not_worse(a: Decimal, b: Decimal, higher: bool) -> None:
    verdict = better(printed(as_printed(a)), printed(as_printed(b)), higher)
    if verdict is Holds.YES:
        assert a > b if higher else a < b
    if verdict is Holds.NO:
        assert a < b if higher else a > b
    assert (verdict is Holds.ROUNDING) == (as_printed(a) == as_printed(b))


@given(fine)
def test_the_span_of_a_print_covers_the_distance_from_half_of_every_number_behind_it(auc: Decimal) -> None:
    assume(auc < 1)
    span = distance_from_half(printed(as_printed(auc)))
    assert span.low <= abs(Fraction(auc) - Fraction(1, 2)) <= span.high


@pytest.mark.parametrize(
    ("stated", "ours", "theirs", "higher", "verdict"),
    [
        ("44.1", 0.523, 0.363, True, Holds.YES),  # 44.077
        ("44", 0.523, 0.363, True, Holds.YES),
        ("10.5", 0.198, 0.179, True, Holds.ROUNDING),  # 10.61 as printed, 10.03 to 11.20
        ("11.3", 0.198, 0.179, True, Holds.NO),
        ("45.9", 0.272, 0.503, False, Holds.YES),
        ("45", 0.272, 0.503, False, Holds.NO),  # 45.92 rounds to 46
        ("13.8", 0.523, 0.463, True, Holds.NO),
        ("5", 0.523, 0.0, True, Holds.UNKNOWN),
    ],
)
def test_percentages_by_hand(stated: str, ours: float, theirs: float, higher: bool, verdict: Holds) -> None:
    assert agrees(stated, gain(printed(ours), printed(theirs), higher)) is verdict
