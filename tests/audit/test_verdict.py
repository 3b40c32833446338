"""The verdict's table, row by row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prime_audit.audit.jackknife import Estimate
from prime_audit.audit.mean_auc import AucEstimate
from prime_audit.audit.permutation import Relabelled
from prime_audit.audit.verdict import (
    BLIND,
    MIN_SHARERS,
    OUTCOMES,
    RULE,
    SPARSE,
    Against,
    Evidence,
    Word,
    best_control,
    verdict,
)


def figure(value: float, ci: tuple[float, float] | None = (0.45, 0.54), sharers: int = 9) -> AucEstimate:
    reason = None if ci else "all members belong to one sharer"
    return AucEstimate(value=value, ci=ci, reason=reason, n=100, member_sharers=sharers, other_sharers=9)


def relabelled(**changed: Any) -> Relabelled:
    """Return tests in which nothing is beyond chance."""
    found = Relabelled(
        n=999,
        floor=0.001,
        p_auc=0.4,
        p_reversed=0.6,
        p_gain=0.4,
        p_tail=0.4,
        p_base=0.5,
        adjusted=0.6,
        adjusted_already=0.7,
        adjusted_auc=0.5,
        adjusted_reversed=0.8,
        gain=0.01,
        tail=0.5,
        top=10,
        items=40,
        members=20,
        excluded=0.04,
        detectable=0.56,
    )
    return replace(found, **changed)


def evidence(**changed: Any) -> Evidence:
    return replace(Evidence(estimate=figure(0.5), tests=relabelled(), drawn=True), **changed)


AGAINST = Against("base", 0.6, Estimate(0.1, (0.02, 0.3)))
SURE = relabelled(adjusted=0.01)
BOTH = relabelled(adjusted_auc=0.01, p_auc=0.01, adjusted_already=0.02)
ROWS: list[tuple[int, str, dict[str, Any]]] = [
    (1, "nothing to exchange", {"tests": "nothing to exchange"}),
    (1, f"at least {MIN_SHARERS}", {"estimate": figure(0.9, (0.8, 1.0), MIN_SHARERS - 1), "tests": SURE}),
    (1, "undefined for 51 %", {"tests": relabelled(adjusted=0.01), "undefined": 0.51}),
    (1, "smallest possible p is 0.1", {"tests": relabelled(floor=0.1)}),
    (1, "about 12 people on a side, now 9, or 1.3 times the items", {"tests": relabelled(floor=0.1)}),
    (1, "the score does not vary", {"tests": relabelled(still=True)}),
    (2, "the last of their owners", {"signs": ("held-out items are the last of their owners'",), "tests": SURE}),
    (2, "signs of selection", {"signs": ("any",)}),
    (3, "+0.100 [+0.020, +0.300] to the best control, base at 0.600", {"tests": SURE, "against": AGAINST}),
    (3, "q 0.05", {"tests": relabelled(adjusted=0.05)}),
    (3, "5 of the 10 items with the highest gains are members", {"tests": replace(BOTH, adjusted=0.01)}),
    (4, "unmerged base's together", {"tests": BOTH}),
    (5, "members were selected", {"drawn": False, "tests": relabelled(adjusted=0.05)}),
    (5, "against the attack's direction", {"drawn": False, "tests": relabelled(adjusted_reversed=0.05)}),
    (6, "score of the wrong sign", {"tests": relabelled(adjusted_reversed=0.05)}),
    (7, f"up to {BLIND:.3f}", {"estimate": figure(0.5, (0.4, BLIND))}),
    (7, "no interval: all members belong", {"estimate": figure(0.5, None)}),
    (7, "any share of fully memorised", {"tests": relabelled(excluded=None)}),
    (7, "11 % of fully memorised", {"tests": relabelled(excluded=SPARSE + 0.01)}),
    (7, "80 % would find a gain over the base of 0.060", {"tests": relabelled(excluded=None)}),
    (7, "about 29 people on a side, now 9", {"estimate": figure(0.5, (0.4, 0.6))}),
    (7, "about 13 people on a side, now 5", {"estimate": figure(0.5, (0.4, 0.6), 5)}),
    (7, "items (people, where these are drawn), now 40, would bound", {"tests": relabelled(excluded=None)}),
    (7, "no bound where people are exchanged", {"tests": relabelled(excluded=None, items=0)}),
    (7, "even the largest possible gain over the base", {"tests": relabelled(excluded=None, detectable=None)}),
    (7, "an unlucky draw", {"tests": relabelled(adjusted_auc=0.01), "estimate": figure(0.6, (0.5, 0.7))}),
    (8, "AUC above 0.540 and more than 4 % fully memorised members excluded", {}),
]  # fmt: skip


@pytest.mark.parametrize(("row", "reason", "changed"), ROWS)
def test_each_row_decides_with_its_reason(row: int, reason: str, changed: dict[str, Any]) -> None:
    said = verdict(evidence(**changed))
    assert said.word == RULE[row - 1].word
    assert reason in said.reason
    one = evidence(**changed)
    assert [bool(r.holds(one, one.p_leak, one.p_already)) for r in RULE[:row]] == [False] * (row - 1) + [True]


def test_a_p_that_others_tasks_make_weaker_is_no_leak() -> None:
    one = evidence(tests=relabelled(adjusted=0.01))
    assert verdict(one).word == "leaks"
    assert verdict(one, q=0.06, q_already=1.0).word == "no leak found"
    both = evidence(tests=BOTH)
    assert verdict(both, q=1.0, q_already=0.06).word == "no leak found"


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.3, 0.9), st.booleans())
def test_selected_members_never_leak_and_drawn_ones_are_never_confounded(
    adjusted: float, already: float, value: float, drawn: bool
) -> None:
    found = relabelled(adjusted=adjusted, adjusted_already=already, adjusted_auc=adjusted)
    word = verdict(evidence(estimate=figure(value, (value, value)), tests=found, drawn=drawn)).word
    assert not (word == "confounded" if drawn else word.startswith("leaks"))


def test_there_are_five_outcomes_and_the_docs_have_the_same_table() -> None:
    assert set(OUTCOMES) == set(get_args(Word)) == {row.word for row in RULE}
    page = (Path(__file__).parents[2] / "docs/concepts/verdicts.md").read_text(encoding="utf-8")
    for word, outcome in OUTCOMES.items():
        assert f"| **{word}** | {outcome.means} | {outcome.do} |" in page
    for number, row in enumerate(RULE, 1):
        assert f"| {number} | {row.when} | {row.word} |" in page


def test_the_best_control_is_the_highest_that_did_not_select() -> None:
    controls = {"base": figure(0.4), "bag_of_words": figure(0.6)}
    assert best_control(controls) == "bag_of_words"
    assert best_control({"base": figure(0.4), "length_only": figure(0.3)}) == "base"
    assert best_control({}) is None
    assert best_control({"similarity_only": figure(1.0), "base": figure(0.4)}, "similarity_only") == "base"
