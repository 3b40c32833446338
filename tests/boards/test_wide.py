"""What a board's verdicts mean over all its cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prime_audit.boards.filed import Filed
from prime_audit.boards.wide import widened
from prime_audit.record import Leak
from prime_audit.report.columns import OLDER, older
from prime_audit.report.sheet import judged
from tests import records

from .invented import run_record


def filed(seed: int, method: str, *leaks: Leak, rules: int = 3) -> Filed:
    record = run_record(seed, methods=(method,), tasks=("LaMP-2",))
    record = replace(record, leaks=tuple(leaks), rules=rules)
    return Filed(Path("records") / method / f"{seed}.json", record)


def leak(method: str, p: float, game: str = "heldout", **changes: Any) -> Leak:
    given: Mapping[str, Any] = {"auc": 0.6 - p / 10, "verdict": "leaks", "why": "p is low", **changes}
    return records.leak(task="LaMP-2", method=method, game=game, p=p, p_adjusted=p, **given)


def words(files: list[Filed]) -> list[str]:
    wide = widened(files)
    return [wide.shown(row).leak.verdict for f in files for row in judged(f.record, f.id)]


def test_a_leak_that_only_its_record_calls_is_named_so() -> None:
    files = [
        filed(0, "perpcs", leak("perpcs", 0.03)),
        filed(0, "prime", leak("prime", 0.8, verdict="no leak found")),
    ]
    assert words(files) == ["leaks here, not board-wide", "no leak found"]
    (row,) = judged(files[0].record, "x")
    assert widened(files).shown(row).leak.why == "p is low; board-wide q 0.06"
    assert words([files[0]]) == ["leaks"]  # alone on its board
    base = leak("perpcs", 0.9, verdict="leaks, already in the base", p_auc=0.04, p_base=0.03)
    assert words([filed(0, "perpcs", base)]) == ["leaks here (already in the base), not board-wide"]


def test_the_note_counts_what_is_shown() -> None:
    weak = [filed(s, "prime", leak("prime", 0.06, verdict="too few to say", why="AUC 0.6")) for s in (0, 1)]
    assert words(weak) == ["leaks board-wide"] * 2
    base = leak("prime", 0.9, verdict="no leak found", p_auc=0.01, p_base=0.01)
    assert words([filed(0, "prime", base)]) == ["leaks board-wide, already in the base"]
    unfit = [
        filed(0, "prime", leak("prime", 0.001, verdict="confounded", why="signs of selection: dates")),
        filed(
            0, "perpcs", leak("perpcs", 0.002, verdict="too few to say", why="one side has items of 2 people")
        ),
    ]
    assert words(unfit) == ["confounded", "too few to say"]
    assert "of 1 cells" in widened([*weak, *unfit]).notes[0]
    assert "calls leaks in 1 " in widened([*weak, *unfit]).notes[0]


def test_seeds_of_a_cell_are_combined() -> None:
    files = [
        *(filed(seed, "perpcs", leak("perpcs", 0.03 + seed / 100)) for seed in (0, 1)),
        *(filed(seed, "prime", leak("prime", 0.7 + seed / 100, verdict="no leak found")) for seed in (0, 1)),
    ]
    assert words(files) == ["leaks"] * 2 + ["no leak found"] * 2
    wide = widened(files)
    assert wide.q["LaMP-2", "perpcs", "heldout", "loss"][0] < 0.02
    assert "of 2 cells" in wide.notes[0]
    assert "calls leaks in 1 (q ≤ 0.05); on average at most 0.05 of these are false" in wide.notes[0]


def test_labels_of_one_model_count_once_and_selected_members_not_at_all() -> None:
    same = [filed(0, m, leak(m, 0.03)) for m in ("perpcs", "perpcs+rag")]
    wide = widened(same)
    assert "of 1 cells" in wide.notes[0]
    assert set(wide.q.values()) == {(0.03, 1.0)}
    paper = [filed(0, "perpcs", leak("perpcs", 0.001, game="paper", verdict="confounded"))]
    assert widened(paper).q == {}
    assert words(paper) == ["confounded"]


@pytest.mark.parametrize(
    ("rules", "said"),
    [((1,), (OLDER[1],)), ((3,), ()), ((1, 3), (f"1 of 2 records: {OLDER[1]}",)), ((2, 2), (OLDER[2],))],
)
def test_the_page_says_which_rules_its_verdicts_follow(rules: tuple[int, ...], said: tuple[str, ...]) -> None:
    files = [filed(seed, "perpcs", leak("perpcs", 0.03), rules=edition) for seed, edition in enumerate(rules)]
    assert older(f.record for f in files) == said


def test_people_who_are_drawn_anew_for_every_target_must_pass_their_interval_too() -> None:
    """Records of edition 2 have the p of coins alone, so the board looks at the interval itself."""

    def calls(se: float) -> str:
        one = filed(0, "perpcs", leak("perpcs", 0.0001, game="inclusion"), rules=2)
        about = {"task": "LaMP-2", "method": "perpcs", "game": "inclusion", "attack": "loss"}
        gap = records.comparison(**about, baseline="base", metric="auc", difference=0.2, se=se, freedom=7)
        return words([replace(one, record=replace(one.record, comparisons=(gap,)))])[0]

    assert calls(se=0.02) == "leaks"
    assert calls(se=0.2) == "leaks here, not board-wide"
