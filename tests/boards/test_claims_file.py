"""The paper's claims as a file and as generated pages: complete, readable, and refused in one line if broken."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prime_audit.boards.cells import Cell
from prime_audit.boards.checks import Reading
from prime_audit.boards.claims import (
    Claim,
    ClaimResult,
    claims_json,
    claims_markdown,
    evaluate,
    read_claims,
    rendered,
)
from prime_audit.boards.paper_claims import CHECKS
from prime_audit.boards.rounding import Holds
from prime_audit.errors import UserError

from .invented import refusal

PAPER = Path(__file__).parents[2] / "leaderboards" / "paper"
FAILS, UNKNOWN = Holds.NO, Holds.UNKNOWN
LOWER, NEARER = Reading.LOWER, Reading.NEARER
Cells = tuple[Cell, ...]


def test_every_claim_with_an_auc_is_read_twice(
    paper: Cells, claims: tuple[Claim, ...], results: tuple[ClaimResult, ...]
) -> None:
    readings: dict[str, list[Reading | None]] = {}
    for r in results:
        readings.setdefault(r.claim.id, []).append(r.reading)
    assert list(readings) == [c.id for c in claims]
    # Where all AUCs are lost, exactly the claims that are read twice change.
    without = tuple(replace(c, value=None) if c.metric == "auc" else c for c in paper)
    lost = {
        a.claim.id
        for a, b in zip(results, evaluate(claims, without), strict=True)
        if a.finding.counterexamples != b.finding.counterexamples
        or a.finding.verdict is not b.finding.verdict
    }
    assert len(lost) > 15
    assert {id_ for id_, own in readings.items() if own == [LOWER, NEARER]} == lost
    assert all(own == [None] for id_, own in readings.items() if id_ not in lost)


def test_what_no_cell_decides_cannot_be_checked_and_says_why(results: tuple[ClaimResult, ...]) -> None:
    unchecked = {r.claim.id for r in results if CHECKS[r.claim.id] is None}
    assert {r.claim.id for r in results if r.finding.verdict is UNKNOWN} == {
        *unchecked,
        "decoding-variance",  # no number is stated
        "llama-3-multiple-alpha",  # two cells cannot be read
    }
    assert all(r.claim.note for r in results if r.claim.id in unchecked)


def test_the_table_and_the_json_show_every_result(results: tuple[ClaimResult, ...]) -> None:
    text = claims_markdown(results)
    lines = [line for line in text.splitlines() if line.startswith("| “")]
    assert len(lines) == len(results)
    for r, line in zip(results, lines, strict=True):
        assert f"`{r.claim.id}`" in line
        assert r.finding.verdict.value in line
    for r in results:
        for example in r.finding.counterexamples:
            assert example.replace("[", r"\[") in text.replace("\\_", "_")
    content = json.loads(json.dumps(claims_json(results), allow_nan=False))
    assert sum(content["counts"].values()) == len(content["claims"]) == len(results)
    assert content["counts"]["does not hold"] == sum(r.finding.verdict is FAILS for r in results)


def test_quotes_are_text_and_not_markup(results: tuple[ClaimResult, ...]) -> None:
    evil = replace(
        results[0],
        claim=replace(results[0].claim, quote="<script>|*x*"),
        finding=replace(results[0].finding, counterexamples=("<b>",)),
    )
    text = claims_markdown([evil])
    assert "<script>" not in text
    assert "<b>" not in text
    assert r"&lt;script&gt;\|\*x\*" in text


def test_rendering_is_the_same_under_any_hash_seed() -> None:
    code = (
        "import sys, pathlib; from prime_audit.boards.claims import rendered; "
        "sys.stdout.buffer.write(''.join(rendered(pathlib.Path(sys.argv[1])).values()).encode()); "
        "assert 'torch' not in sys.modules"
    )
    for seed in ("1", "2"):
        made = subprocess.run(
            [sys.executable, "-c", code, str(PAPER)],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed, "LC_ALL": "C", "TZ": "Asia/Tokyo"},
            capture_output=True,
            check=True,
        )
        assert made.stdout.decode() == "".join(rendered(PAPER).values())


@pytest.mark.parametrize("id_", [id_ for id_, check in CHECKS.items() if check])
def test_a_claim_without_its_cells_is_refused_in_one_line_naming_it(
    claims: tuple[Claim, ...], id_: str
) -> None:
    with pytest.raises(UserError, match=rf"^claim {id_}: no cell of table .*; restore the cells") as caught:
        evaluate([c for c in claims if c.id == id_], ())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("id_", "lost", "message"),
    [
        ("single-lora", {"row": "Per-Pcs"}, "no cell of method 'perpcs'"),
        (
            "single-lora",
            {"row": "Per-Pcs", "column": "LaMP-2 F1"},
            "nothing to compare Table 4, n = 1, LaMP-2 F1",
        ),
        ("utility-declines", {"row": "α=0.6"}, "no cell of method 'prime:alpha=0.6'"),
        ("robust-to-mia-everywhere", {"table": "6a"}, "no cell of table '6a'"),
    ],
)
def test_a_claim_that_lacks_some_cells_says_which(
    paper: Cells, claims: tuple[Claim, ...], id_: str, lost: dict[str, str], message: str
) -> None:
    rest = tuple(c for c in paper if not all(getattr(c, name) == value for name, value in lost.items()))
    with pytest.raises(UserError, match=f"^claim {id_}: {message}"):
        evaluate([c for c in claims if c.id == id_], rest)


def test_marks_and_errors_that_are_lost_are_refused(paper: Cells, claims: tuple[Claim, ...]) -> None:
    bare = tuple(replace(c, mark=None, stderr=None) for c in paper)
    for id_ in ("marks-table-1", "decoding-variance"):
        with pytest.raises(UserError, match=f"^claim {id_}: .*; restore the cells"):
            evaluate([c for c in claims if c.id == id_], bare)


Change = Callable[[list[dict[str, Any]]], Any]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[3].update(says={}), "row 4: unknown entry 'says'"),
        (lambda rows: rows[3].update(quote=None), "row 4: quote: unexpected null"),
        (lambda rows: rows[3].pop("note"), "row 4: missing note"),
        (lambda rows: rows[3].update(id="mine"), "row 4: id 'mine' has no check"),
        (lambda rows: rows.append(rows[0]), "is there twice"),
        (lambda rows: rows.pop(), "has no row for claim 'profiles-matter'"),
        (lambda rows: rows.insert(3, 7), "row 4: expected an object"),
    ],
)
def test_a_broken_claim_is_refused_in_one_line_naming_file_and_row(
    tmp_path: Path, change: Change, message: str
) -> None:
    content = json.loads((PAPER / "claims.json").read_text(encoding="utf-8"))
    change(content["claims"])
    assert message in refusal(read_claims, tmp_path / "claims.json", json.dumps(content))
