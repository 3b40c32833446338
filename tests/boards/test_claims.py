"""The paper's claims: each shape of check against an independent computation, and one cell that flips a verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from prime_audit.boards.cells import Cell
from prime_audit.boards.checks import Printed, Reading
from prime_audit.boards.claims import (
    Claim,
    ClaimResult,
    evaluate,
)
from prime_audit.boards.rounding import Holds

PAPER = Path(__file__).parents[2] / "leaderboards" / "paper"
ROWS: list[dict[str, Any]] = json.loads((PAPER / "cells.json").read_text(encoding="utf-8"))["cells"]
HOLDS, ROUNDING, FAILS, UNKNOWN = Holds.YES, Holds.ROUNDING, Holds.NO, Holds.UNKNOWN
LOWER, NEARER = Reading.LOWER, Reading.NEARER
Cells = tuple[Cell, ...]


def find(results: tuple[ClaimResult, ...], id_: str, reading: Reading | None = None) -> ClaimResult:
    (one,) = (r for r in results if (r.claim.id, r.reading) == (id_, reading))
    return one


def verdict(results: tuple[ClaimResult, ...], id_: str, reading: Reading | None = None) -> Holds:
    return find(results, id_, reading).finding.verdict


def value(table: str, row: str, column: str) -> float:
    """Look a cell up in the raw file."""
    (found,) = (r["value"] for r in ROWS if (r["table"], r["row"], r["column"]) == (table, row, column))
    assert isinstance(found, float)
    return found


def changed(paper: Cells, source: str, to: float) -> Cells:
    """Return the cells with one value changed."""
    assert any(c.source == source for c in paper)
    return tuple(replace(c, value=to) if c.source == source else c for c in paper)


ALPHAS = ("α=0.0", "α=0.2", "α=0.6", "α=1.0", "α=2.0")
TABLE_2 = {"LaMP-2": ("Acc", "F1"), "LaMP-4": ("R-1", "R-L"), "LaMP-7": ("R-1", "R-L")}


def test_every_stated_percentage_of_the_text_against_a_division(results: tuple[ClaimResult, ...]) -> None:
    # (stated, ours, theirs, printed cells give it, and if not, whether numbers that round to them can)
    by_hand = {
        "gain-lamp-1-accuracy-over-perpcs": (2.7, 0.600, 0.584),
        "gain-lamp-1-f1-over-perpcs": (3.3, 0.598, 0.579),
        "gain-lamp-2-accuracy-over-perpcs": (44.1, 0.523, 0.363),
        "gain-lamp-2-f1-over-perpcs": (31.1, 0.388, 0.296),
        "gain-lamp-4-rouge-1-over-perpcs": (10.5, 0.198, 0.179),
        "gain-lamp-4-rouge-l-over-perpcs": (11.1, 0.179, 0.162),
        "gain-lamp-7-rouge-1-over-perpcs": (2.6, 0.520, 0.507),
        "gain-lamp-7-rouge-l-over-perpcs": (2.0, 0.469, 0.460),
        "gain-lamp-1-accuracy-over-oppu": (7.1, 0.600, 0.560),
        "gain-lamp-1-f1-over-oppu": (8.1, 0.598, 0.553),
        "gain-lamp-2-accuracy-over-oppu": (13.8, 0.523, 0.463),
        "gain-lamp-2-f1-over-oppu": (34.4, 0.388, 0.320),
        "gain-8b-lamp-2-accuracy": (35.0, 0.514, 0.381),
        "gain-8b-lamp-2-f1": (20.7, 0.408, 0.338),
        "gain-8b-lamp-4-rouge-1": (3.3, 0.203, 0.196),
        "gain-8b-lamp-4-rouge-l": (4.5, 0.184, 0.176),
        "gain-3b-lamp-2-accuracy": (51.7, 0.496, 0.327),
        "gain-3b-lamp-2-f1": (31.7, 0.366, 0.278),
        "gain-3b-lamp-4-rouge-1": (2.2, 0.184, 0.180),
        "gain-3b-lamp-4-rouge-l": (1.9, 0.165, 0.162),
        # Reductions: what is left of 1.
        "gain-lamp-3-mae-over-perpcs": (45.9, 2 - 0.272 / 0.503, 1.0),
        "gain-lamp-3-rmse-over-perpcs": (25.3, 2 - 0.543 / 0.727, 1.0),
    }
    assert {r.claim.id for r in results if r.claim.id.startswith("gain-")} == set(by_hand)
    for id_, (stated, ours, theirs) in by_hand.items():
        computed = 100 * (ours / theirs - 1)
        low, high = 100 * ((ours - 5e-4) / (theirs + 5e-4) - 1), 100 * ((ours + 5e-4) / (theirs - 5e-4) - 1)
        exact = round(computed, 1) == stated
        expected = HOLDS if exact else ROUNDING if low - 0.05 <= stated <= high + 0.05 else FAILS
        result = find(results, id_).finding
        assert result.verdict is expected, id_
        assert result.stated == f"{stated:.1f} %"
        assert result.computed.startswith(f"{computed:.2f} %"), id_


def test_the_auc_reduction_is_a_rise_by_distance_from_half(results: tuple[ClaimResult, ...]) -> None:
    lower = find(results, "risk-reduction-lamp-4", LOWER).finding
    assert lower.verdict is HOLDS
    assert lower.computed.startswith(f"{100 * (1 - 0.408 / 0.514):.2f} %")
    distance = find(results, "risk-reduction-lamp-4", NEARER).finding
    assert distance.verdict is FAILS
    assert distance.computed.startswith(f"{100 * (1 - 0.092 / 0.014):.2f} %")


def test_consistently_lowers_risk_against_a_loop_over_table_2(results: tuple[ClaimResult, ...]) -> None:
    above = [
        (task, alpha)
        for task in TABLE_2
        for alpha in ALPHAS
        if value("2", alpha, f"{task} AUC") >= value("2", "Per-Pcs", f"{task} AUC")
    ]
    result = find(results, "consistently-lowers-risk", LOWER).finding
    assert result.verdict is (FAILS if above else HOLDS)
    assert len(result.counterexamples) == len(above) == 5
    for task, alpha in above:
        assert any(x.startswith(f"Table 2, {alpha}, {task} AUC ") for x in result.counterexamples)


def test_strictly_better_tradeoffs_against_a_loop(results: tuple[ClaimResult, ...]) -> None:
    def dominates(table: str, alpha: str, task: str, metrics: tuple[str, str], distance: bool) -> bool | None:
        gaps = [value(table, alpha, f"{task} {m}") - value(table, "Per-Pcs", f"{task} {m}") for m in metrics]
        ours, theirs = value(table, alpha, f"{task} AUC"), value(table, "Per-Pcs", f"{task} AUC")
        if distance:
            ours, theirs = abs(ours - 0.5), abs(theirs - 0.5)
        gaps = [round(g, 3) for g in (*gaps, theirs - ours)]
        return False if min(gaps) < 0 else None if min(gaps) == 0 else True

    for reading in (LOWER, NEARER):
        found = [
            dominates("2", alpha, task, metrics, reading == NEARER)
            for alpha in ALPHAS[3:]
            for task, metrics in TABLE_2.items()
        ]
        expected = FAILS if False in found else ROUNDING if None in found else HOLDS
        result = find(results, "strictly-better-at-1-and-2", reading).finding
        assert result.verdict is expected
        assert result.computed == f"{found.count(True)} of 6"
        llama = [
            dominates(table, alpha, "LaMP-2", ("Acc", "F1"), reading == NEARER)
            for table in ("6a", "6b")
            for alpha in ALPHAS
        ]
        assert all(llama)
        assert verdict(results, "llama-3-lamp-2-all-alpha", reading) is HOLDS


def test_declining_utility_against_a_loop(results: tuple[ClaimResult, ...]) -> None:
    steps = [
        round(value("2", after, f"{task} {m}") - value("2", before, f"{task} {m}"), 3)
        for task, metrics in TABLE_2.items()
        for m in metrics
        for before, after in pairwise(ALPHAS)
    ]
    falling = sum(s < 0 for s in steps)
    result = find(results, "utility-declines").finding
    assert result.computed == f"{falling} of {len(steps)}"
    assert result.verdict is (HOLDS if falling > len(steps) / 2 else FAILS)
    assert len(find(results, "utility-declines-everywhere").finding.counterexamples) == len(steps) - falling


def test_like_with_like_against_a_loop_over_table_1(results: tuple[ClaimResult, ...]) -> None:
    rivals = {
        "Base": ("NP k=0", "Per-Pcs Base"),
        "+RAG": ("RAG k=1", "Per-Pcs +RAG"),
        "+PAG": ("PAG k=1", "Per-Pcs +PAG"),
    }
    against = 0
    for row in dict.fromkeys(r["row"] for r in ROWS if r["table"] == "1"):
        sign = -1 if row.startswith("LaMP-3") else 1
        for form, columns in rivals.items():
            against += sum(
                sign * (value("1", row, f"PriME {form}") - value("1", row, c)) <= 0 for c in columns
            )
    result = find(results, "outperforms-like-with-like").finding
    assert result.verdict is FAILS
    assert len(result.counterexamples) == against


def test_the_largest_gain_against_a_maximum(results: tuple[ClaimResult, ...]) -> None:
    gains = []
    for row in dict.fromkeys(r["row"] for r in ROWS if r["table"] == "1"):
        for form in ("Base", "+RAG", "+PAG"):
            ours, theirs = value("1", row, f"PriME {form}"), value("1", row, f"Per-Pcs {form}")
            gains.append(100 * ((theirs - ours) if row.startswith("LaMP-3") else (ours - theirs)) / theirs)
    result = find(results, "up-to-45-over-perpcs").finding
    assert result.computed.startswith(f"{max(gains):.2f} %")
    assert result.verdict is (HOLDS if round(max(gains)) == 45 else FAILS)


def test_marks_against_sorting_the_columns(results: tuple[ClaimResult, ...]) -> None:
    wrong = {True: 0, False: 0}
    for row in dict.fromkeys(r["row"] for r in ROWS if r["table"] == "1"):
        for with_oppu in wrong:
            line = [
                r
                for r in ROWS
                if (r["table"], r["row"]) == ("1", row) and (with_oppu or "OPPU" not in r["column"])
            ]
            order = sorted({r["value"] for r in line}, reverse=not row.startswith("LaMP-3"))
            for r in line:
                if r["mark"]:
                    wrong[with_oppu] += r["value"] != order[0 if r["mark"] == "bold" else 1]
    for id_, with_oppu in (("marks-table-1", True), ("marks-table-1-without-oppu", False)):
        result = find(results, id_).finding
        assert len(result.counterexamples) == wrong[with_oppu]
        assert result.verdict is (FAILS if wrong[with_oppu] else HOLDS)


def test_verdicts_decided_by_hand(results: tuple[ClaimResult, ...]) -> None:
    expected = {
        "slightly-outperforms-oppu": FAILS,  # LaMP-3 MAE 0.272 against 0.262
        "captures-preferences-better": FAILS,  # LaMP-5 0.492 against 0.494, 0.443 against 0.448
        "lags-oppu-on-lamp-7": HOLDS,
        "comparable-at-every-alpha": HOLDS,  # LaMP-4 R-1 at α=2.0 ties: comparable
        "utility-at-every-alpha": ROUNDING,  # … but no better
        "single-lora": HOLDS,
        "more-loras": FAILS,  # 4 of 12 steps
        "llama-3-outperforms": HOLDS,
        "small-prime-beats-large-perpcs": HOLDS,
        "perpcs-depends-on-rag": HOLDS,  # 21.8, 22.6, 36.4, 37.8 % against 2.7, 9.3, 5.4, 13.9 %
        "gpt-profiles-lamp-2": HOLDS,  # at least 10.0 % against at most 9.2 %
        "plateau": UNKNOWN,
        "decoding-variance": UNKNOWN,
    }
    assert {id_: verdict(results, id_) for id_ in expected} == expected
    # 0.517 at α = 0.2, 0.518 at 0.6
    (rise,) = find(results, "llama-3-lamp-2-auc-improves", LOWER).finding.counterexamples
    assert rise == "Table 6b, α=0.6, LaMP-2 AUC 0.518 against α=0.2, LaMP-2 AUC 0.517"
    assert find(results, "plateau").finding.verdict.holds is None
    assert find(results, "utility-at-every-alpha").finding.verdict.holds is True


@pytest.mark.parametrize(
    ("id_", "reading", "source", "to", "before", "after"),
    [
        ("gain-lamp-2-accuracy-over-perpcs", None, "Table 1, LaMP-2 Acc, PriME Base", 0.524, HOLDS, ROUNDING),
        ("gain-lamp-2-accuracy-over-perpcs", None, "Table 1, LaMP-2 Acc, PriME Base", 0.533, HOLDS, FAILS),
        ("slightly-outperforms-oppu", None, "Table 1, LaMP-3 MAE, PriME Base", 0.261, FAILS, HOLDS),
        ("slightly-outperforms-oppu", None, "Table 1, LaMP-3 MAE, PriME Base", 0.262, FAILS, ROUNDING),
        ("llama-3-outperforms", None, "Table 5b, LaMP-4 R-L, PriME +PAG", 0.171, HOLDS, FAILS),
        ("llama-3-lamp-2-auc-improves", LOWER, "Table 6b, α=0.6, LaMP-2 AUC", 0.516, FAILS, HOLDS),
        ("llama-3-lamp-2-all-alpha", LOWER, "Table 6a, α=0.6, LaMP-2 AUC", 0.527, HOLDS, FAILS),
        ("marks-table-1-without-oppu", None, "Table 1, LaMP-5 R-1, PriME +PAG", 0.510, HOLDS, FAILS),
        ("up-to-45-over-perpcs", None, "Table 1, LaMP-3 MAE, PriME Base", 0.277, FAILS, HOLDS),
        ("perpcs-depends-on-rag", None, "Table 1, LaMP-2 Acc, PriME +RAG", 0.640, HOLDS, FAILS),
        ("risk-falls-with-alpha", LOWER, "Table 2, α=2.0, LaMP-4 AUC", 0.407, ROUNDING, HOLDS),
    ],
)
def test_one_changed_cell_turns_a_verdict(
    paper: Cells,
    claims: tuple[Claim, ...],
    id_: str,
    reading: Reading | None,
    source: str,
    to: float,
    before: Holds,
    after: Holds,
) -> None:
    one = [c for c in claims if c.id == id_]
    assert verdict(evaluate(one, paper), id_, reading) is before
    again = evaluate(one, changed(paper, source, to))
    assert verdict(again, id_, reading) is after


def test_no_verdict_depends_on_an_uncertain_reading(
    paper: Cells, claims: tuple[Claim, ...], results: tuple[ClaimResult, ...]
) -> None:
    swaps = [
        ("Table 6b, α=2.0, LaMP-2 Acc", 0.499),
        ("Table 6b, α=2.0, LaMP-2 AUC", 0.458),
        ("Table 10, LaMP-4 R-1, GPT k=1", 0.206),
        ("Table 10, LaMP-4 R-L, Original k=1", 0.188),
    ]
    other = paper
    for source, to in swaps:
        other = changed(other, source, to)
    differing = [
        (a.claim.id, a.reading)
        for a, b in zip(results, evaluate(claims, other), strict=True)
        if a.finding.verdict is not b.finding.verdict
    ]
    # Another AUC at α = 2.0 is farther from ½ than Per-Pcs': only this reading depends on 0.499.
    assert differing == [("llama-3-lamp-2-all-alpha", NEARER)]


@pytest.mark.parametrize(("r1", "rl", "expected"), [(0.181, 0.163, HOLDS), (0.179, 0.163, FAILS)])
def test_a_claim_over_an_unreadable_cell_waits_for_it(
    paper: Cells, claims: tuple[Claim, ...], r1: float, rl: float, expected: Holds
) -> None:
    one = [c for c in claims if c.id == "llama-3-multiple-alpha"]
    before = find(evaluate(one, paper), "llama-3-multiple-alpha", LOWER).finding
    assert before.verdict is UNKNOWN
    assert any("(not readable)" in text for text in before.counterexamples)
    filled = changed(paper, "Table 6b, α=0.2, LaMP-4 R-1", r1)
    filled = changed(filled, "Table 6b, α=0.2, LaMP-4 R-L", rl)
    assert verdict(evaluate(one, filled), "llama-3-multiple-alpha", LOWER) is expected


def test_the_best_of_cells_is_unknown_where_one_cannot_be_read(paper: Cells) -> None:
    (best,) = (c for c in Printed(paper).best("1", ("rag", "pag")) if (c.task, c.metric) == ("LaMP-3", "MAE"))
    assert best.value == min(value("1", "LaMP-3 MAE", column) for column in ("RAG k=1", "PAG k=0", "PAG k=1"))
    lost = tuple(replace(c, value=None) if c.source == "Table 1, LaMP-3 MAE, PAG k=0" else c for c in paper)
    (best,) = (c for c in Printed(lost).best("1", ("rag", "pag")) if (c.task, c.metric) == ("LaMP-3", "MAE"))
    assert best.value is None
