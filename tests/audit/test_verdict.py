"""The verdict's table, row by row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prime_audit.audit.jackknife import Estimate
from prime_audit.audit.mean_auc import AucEstimate
from prime_audit.audit.verdict import BLIND, MIN_SHARERS, Against, PValues, best_control, verdict


def figure(value: float, ci: tuple[float, float] | None = (0.45, 0.6), sharers: int = 9) -> AucEstimate:
    reason = None if ci else "all members belong to one sharer"
    return AucEstimate(value=value, ci=ci, reason=reason, n=100, member_sharers=sharers, other_sharers=9)


def against(low: float | None, difference: float = 0.1) -> Against:
    ci = None if low is None else (low, 0.3)
    return Against("base", 0.6, Estimate(difference, ci))


STRONG = figure(0.7, (0.62, 0.78))
SURE, NOT = PValues(0.01, 0.99, 0.01), PValues(0.4, 0.6, 0.4)
ROWS: list[tuple[int, str, str, dict[str, Any]]] = [
    (1, "too few to say", "belong to one sharer", {"estimate": figure(0.9, None)}),
    (1, "too few to say", "no test", {"tests": PValues(None, None, None)}),
    (
        2,
        "too few to say",
        "items of 2 people",
        {"estimate": figure(0.9, (0.8, 1.0), MIN_SHARERS - 1), "tests": SURE},
    ),
    (3, "too few to say", "undefined for 51 %", {"estimate": STRONG, "tests": SURE, "undefined": 0.51}),
    (4, "too few to say", "smallest possible p is 0.1", {"tests": PValues(0.1, 1.0, 0.1, floor=0.1)}),
    (
        5,
        "leaks",
        "+0.100 [+0.020, +0.300] to the best control, base at 0.600",
        {"estimate": STRONG, "tests": SURE, "against": against(0.02)},
    ),
    (5, "leaks", "no control", {"estimate": STRONG, "tests": SURE}),
    (
        5,
        "leaks",
        "p over base 0.05",
        {"tests": PValues(0.3, 0.7, 0.05)},
    ),  # inclusive; base below chance
    (6, "leaks", "ε is at least 0.3", {"epsilon": 0.3}),
    (7, "confounded", "under the unmerged base", {"estimate": STRONG, "tests": PValues(0.01, 0.99, 0.2)}),
    (
        7,
        "confounded",
        "were selected",
        {"estimate": STRONG, "tests": SURE, "against": against(0.02), "randomised": False},
    ),
    (
        8,
        "confounded",
        "beyond chance (p = 0.01 for an AUC this low): signal against the direction",
        {"estimate": figure(0.408, (0.35, 0.46)), "tests": PValues(0.99, 0.01, 0.99)},
    ),
    (9, "too few to say", f"up to {BLIND:.3f}", {"estimate": figure(0.55, (0.4, BLIND))}),
    (10, "no leak found", "above 0.600 excluded", {}),
    (10, "no leak found", "above 0.600 excluded", {"epsilon": 0.0}),
    (10, "no leak found", "on the wrong side of ½", {"estimate": figure(0.48)}),
]


@pytest.mark.parametrize(("row", "word", "why", "given"), ROWS)
def test_each_row_of_the_table(row: int, word: str, why: str, given: dict[str, Any]) -> None:
    defaults = {"estimate": figure(0.52), "tests": NOT, "against": None, "randomised": True}
    found = verdict(**(defaults | given))
    assert found.word == word, f"row {row}"
    assert why in found.reason
    assert "\n" not in found.reason


def test_earlier_rows_decide_first() -> None:
    few = figure(0.9, (0.8, 0.95), 2)
    assert verdict(few, SURE, against(0.1), randomised=True, epsilon=1.0).word == "too few to say"
    both = PValues(0.05, 0.01, 0.2)
    assert "wrong direction" not in verdict(STRONG, both, None, randomised=True).reason


@given(st.floats(0, 1), st.tuples(*[st.floats(0.001, 1)] * 3), st.floats(0, 5), st.floats(-0.5, 0.5))
def test_what_was_selected_is_never_called_a_leak(
    value: float, ps: tuple[float, float, float], epsilon: float, gap: float
) -> None:
    found = verdict(
        figure(value, (value, value)), PValues(*ps), against(gap, gap), randomised=False, epsilon=epsilon
    )
    assert found.word != "leaks"


def test_the_best_control_is_the_highest_never_the_farthest_either_way() -> None:
    controls = {"base": figure(0.55), "length_only": figure(0.1), "bag_of_words": figure(0.58)}
    assert best_control(controls) == "bag_of_words"
    assert best_control({"base": figure(0.4), "length_only": figure(0.3)}) == "base"
    assert best_control({}) is None
    assert best_control({"similarity_only": figure(1.0), "base": figure(0.4)}, "similarity_only") == "base"
