"""Claims in words asked of a measured board."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from prime_audit.boards.add import add
from prime_audit.boards.build import rendered
from prime_audit.boards.config import read_board
from prime_audit.boards.findings import AGAINST, FOR, OPEN, Compared, verdict
from prime_audit.errors import UserError
from prime_audit.record import Comparison, Record

from .invented import BOARD, board_at, run_at, run_record

CLAIMS = """
[[findings]]
quote = "prime | beats np"
pairs = [["prime", "np"]]
[[findings]]
quote = "np beats prime"
pairs = [["np", "prime"]]
[[findings]]
quote = "prime leaks less"
of = "auc"
pairs = [["prime", "perpcs"]]
"""


def with_gains(record: Record, gain: float) -> Record:
    """Let prime be better than np by ``gain`` ± 0.1 in every metric, of errors too."""

    def better(c: Comparison) -> Comparison:
        if c.method != "prime":
            return c
        signed = -gain if c.metric in ("MAE", "RMSE") else gain
        return replace(c, difference=signed, ci=(signed - 0.1, signed + 0.1))

    return replace(record, comparisons=tuple(map(better, record.comparisons)))


def findings(tmp_path: Path, gain: float) -> list[str]:
    folder = board_at(tmp_path / "boards", BOARD.replace("[columns]", CLAIMS + "[columns]"))
    for seed in (0, 1):
        add(run_at(tmp_path / f"{seed}", with_gains(run_record(seed), gain)), read_board(folder))
    return rendered(read_board(folder))["findings.md"].splitlines()


@pytest.mark.parametrize(
    ("gain", "first", "second"),
    [
        (0.2, "| 4 | 4 | 4 | 0 | 0 | holds |", "| 4 | 0 | 0 | 0 | 4 | **contradicted** |"),
        (0.01, "| 4 | 4 | 0 | 4 | 0 | open |", "| 4 | 0 | 0 | 4 | 0 | open |"),
        (-0.2, "| 4 | 0 | 0 | 0 | 4 | **contradicted** |", "| 4 | 4 | 4 | 0 | 0 | holds |"),
    ],
)
def test_a_claim_and_its_reverse(tmp_path: Path, gain: float, first: str, second: str) -> None:
    """Errors count the other way round; a difference filed as prime − np says the same of np against prime."""
    lines = [" ".join(line.split()) for line in findings(tmp_path, gain)]
    assert any("prime \\| beats np" in line and line.endswith(first) for line in lines)
    assert any("np beats prime" in line and line.endswith(second) for line in lines)


def test_an_auc_has_two_readings_with_the_figures_own_difference(tmp_path: Path) -> None:
    lines = findings(tmp_path, 0.0)
    aucs = {
        (task, method): sum(
            r.value
            for seed in (0, 1)
            for r in run_record(seed).results
            if (r.task, r.method, r.metric) == (task, method, "auc") and r.value is not None
        )
        / 2
        for task in ("LaMP-2", "LaMP-3")
        for method in ("prime", "perpcs")
    }
    shown = [line for line in lines if "game paper, attack loss" in line]
    assert len(shown) == 4
    for task in ("LaMP-2", "LaMP-3"):
        own, other = aucs[task, "prime"], aucs[task, "perpcs"]
        told = [float(line.split("|")[5].split()[0].replace("−", "-")) for line in shown if task in line]
        assert told == pytest.approx([other - own, abs(other - 0.5) - abs(own - 0.5)], abs=6e-4)


def test_verdicts() -> None:
    def one(gain: float, ci: tuple[float, float] | None) -> Compared:
        return Compared(task="LaMP-2", method="a", baseline="b", what="f1", gain=gain, ci=ci)

    sure, unsure, wrong = one(0.2, (0.1, 0.3)), one(0.2, (-0.1, 0.5)), one(-0.2, (-0.3, -0.1))
    assert [c.word for c in (sure, unsure, wrong, one(0.2, None))] == [FOR, OPEN, AGAINST, OPEN]
    assert verdict([sure, sure]) == "holds"
    assert verdict([sure, unsure]) == "open"
    assert verdict([sure, wrong]) == "contradicted"
    assert verdict([sure, sure, wrong], "often") == "holds"
    assert verdict([sure, unsure], "often") == "open"
    assert verdict([wrong, wrong, sure], "often") == "contradicted"
    assert verdict([unsure, sure], "no worse") == "not contradicted"
    assert verdict([wrong, sure], "no worse") == "contradicted"
    assert replace(sure, wide=3.0).word == OPEN
    assert verdict([]) == "no run tests it"


@pytest.mark.parametrize(
    "claim", ['quote = "x"', 'quote = "x"\npairs = [["a"]]', 'quote = "x"\npairs = [["a", "b"]]\nof = "fun"']
)
def test_a_finding_that_cannot_be_read(tmp_path: Path, claim: str) -> None:
    folder = board_at(tmp_path, BOARD.replace("[columns]", f"[[findings]]\n{claim}\n[columns]"))
    with pytest.raises(UserError, match=r"toy/board\.toml: "):
        read_board(folder)
