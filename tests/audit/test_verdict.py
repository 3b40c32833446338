"""The verdict's table, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from prime_audit.audit.bootstrap import Estimate
from prime_audit.audit.panels import AucEstimate
from prime_audit.audit.verdict import BLIND, MIN_SHARERS, Against, best_control, verdict


def figure(value: float, ci: tuple[float, float] | None = (0.45, 0.6), sharers: int = 9) -> AucEstimate:
    reason = None if ci else "all members are one sharer's"
    return AucEstimate(value, ci, reason, n=100, member_sharers=sharers, other_sharers=9)


def against(low: float | None, difference: float = 0.1) -> Against:
    ci = None if low is None else (low, 0.3)
    return Against("base", 0.6, Estimate(difference, ci))


STRONG = figure(0.7, (0.62, 0.78))
ROWS: list[tuple[int, str, str, dict[str, Any]]] = [
    (1, "too few to say", "one sharer's", {"estimate": figure(0.9, None)}),
    (1, "too few to say", "no test", {"p": None}),
    (
        2,
        "too few to say",
        "rests on 2 people",
        {"estimate": figure(0.9, (0.8, 1.0), MIN_SHARERS - 1), "p": 0.001},
    ),
    (3, "too few to say", "least possible p is 0.1", {"p": 0.1, "floor": 0.1}),
    (
        4,
        "leaks",
        "+0.100 to the best control, base at 0.600",
        {"estimate": STRONG, "p": 0.01, "against": against(0.02)},
    ),
    (5, "leaks", "no control was computed", {"estimate": STRONG, "p": 0.01}),
    (6, "confounded", "does not lie above 0", {"estimate": STRONG, "p": 0.01, "against": against(0.0)}),
    (6, "confounded", "no interval", {"estimate": STRONG, "p": 0.01, "against": against(None)}),
    (6, "confounded", "was selected", {"estimate": STRONG, "p": 0.01, "randomised": False}),
    (
        7,
        "confounded",
        "wrong direction",
        {"estimate": figure(0.408, (0.35, 0.46)), "p": 0.99, "p_reversed": 0.01},
    ),
    (8, "too few to say", f"up to {BLIND:.3f}", {"estimate": figure(0.55, (0.4, BLIND))}),
    (9, "no leak found", "above 0.600 excluded", {}),
    (9, "no leak found", "on the wrong side of ½", {"estimate": figure(0.48), "p_reversed": 0.2}),
]


@pytest.mark.parametrize(("row", "word", "why", "given"), ROWS)
def test_each_row_of_the_table(row: int, word: str, why: str, given: dict[str, Any]) -> None:
    defaults = {"estimate": figure(0.52), "p": 0.4, "p_reversed": 0.6, "against": None, "randomised": True}
    found = verdict(**(defaults | given))
    assert found.word == word, f"row {row}"
    assert why in found.reason
    assert "\n" not in found.reason


def test_earlier_rows_decide_first() -> None:
    few = figure(0.9, (0.8, 0.95), 2)
    assert verdict(few, 0.001, None, against(0.1), randomised=True).word == "too few to say"
    assert verdict(STRONG, 0.05, 0.01, against(0.1), randomised=True).word == "leaks"  # p <= alpha, inclusive


def test_the_best_control_is_the_highest_never_the_farthest_either_way() -> None:
    controls = {"base": figure(0.55), "length_only": figure(0.1), "bag_of_words": figure(0.58)}
    assert best_control(controls) == "bag_of_words"
    assert best_control({"base": figure(0.4), "length_only": figure(0.3)}) == "base"
    assert best_control({}) is None
