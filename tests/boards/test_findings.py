"""Claims in words asked of a measured board."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from prime_audit.boards.add import add
from prime_audit.boards.build import rendered
from prime_audit.boards.compared import AGAINST, FOR, OPEN, Compared
from prime_audit.boards.config import read_board
from prime_audit.boards.findings import verdict
from prime_audit.errors import UserError
from prime_audit.record import Ability, Comparison, Record
from prime_audit.report.abilities import line_of
from prime_audit.report.table import Cell
from tests import records

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
        told = [float(line.split("|")[7].split()[0].replace("−", "-")) for line in shown if task in line]
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
    assert replace(sure, beside=1000).word == OPEN
    assert [replace(sure, least=0.05, values=(Cell(v), Cell(0.0))).word for v in (0.04, 0.05)] == [OPEN, FOR]
    assert verdict([]) == "no run tests it"


@pytest.mark.parametrize(
    "claim", ['quote = "x"', 'quote = "x"\npairs = [["a"]]', 'quote = "x"\npairs = [["a", "b"]]\nof = "fun"']
)
def test_a_finding_that_cannot_be_read(tmp_path: Path, claim: str) -> None:
    folder = board_at(tmp_path, BOARD.replace("[columns]", f"[[findings]]\n{claim}\n[columns]"))
    with pytest.raises(UserError, match=r"toy/board\.toml: "):
        read_board(folder)


SHARED = """
[[findings]]
quote = "the model can do it"
pairs = [["prime", "no model"]]
[[findings]]
quote = "merging takes away what sharing leaks"
of = "sharing"
attacks = ["loss"]
pairs = [["prime", "adapter"]]
"""


def ability_of(shown: bool, task: str = "LaMP-2") -> Ability:
    """Make what the record of one seed says."""
    told = {"metric": "accuracy", "method": "prime", "value": 0.5, "without": 0.4, "how": "always comedy"}
    return Ability(task=task, shown=shown, questions=36, targets=4, **told)  # type: ignore[arg-type]


def with_more(record: Record, ahead: float, taken: float) -> Record:
    """Let all be ``ahead`` of no model in accuracy, and prime's heldout AUC be ``taken`` below the adapters'."""
    beside = records.comparison(
        task="LaMP-2",
        baseline="always comedy",
        metric="accuracy",
        difference=ahead,
        ci=(ahead - 0.05, ahead + 0.05),
    )
    other = replace(
        beside, metric="f1", difference=0.5, ci=(0.45, 0.55)
    )  # where random guesses win: says nothing
    unaided = tuple(replace(c, method=m, se=0.02, freedom=9) for m in record.methods for c in (beside, other))
    keys = {"task": "LaMP-2", "method": "prime", "metric": "auc", "attack": "loss"}
    aucs = [
        records.result(**keys, game=game, value=value, ci=(value - 0.05, value + 0.05), n=40)
        for game, value in (("heldout", 0.9 - taken), ("adapter", 0.9))
    ]
    less = records.comparison(**keys, game="heldout", baseline="adapter", difference=-taken, ci=None)
    less = replace(less, ci=(-taken - 0.05, 0.05 - taken), se=0.02, freedom=9)
    every = {
        "results": (*record.results, *aucs),
        "comparisons": (*record.comparisons, less),
        "unaided": unaided,
        "abilities": (ability_of(ahead > 0.1),),
    }
    return replace(record, **every)


@pytest.mark.parametrize(("ahead", "said"), [(0.3, FOR), (0.001, OPEN), (-0.3, AGAINST)])
def test_what_no_model_can_do_and_what_sharing_leaks(tmp_path: Path, ahead: float, said: str) -> None:
    folder = board_at(tmp_path / "boards", BOARD.replace("[columns]", SHARED + "[columns]"))
    for seed in (0, 1):
        add(run_at(tmp_path / f"{seed}", with_more(run_record(seed), ahead, 0.2)), read_board(folder))
    text = " ".join(rendered(read_board(folder))["findings.md"].split())
    values = [r.value for s in (0, 1) for r in run_record(s).results if (r.task, r.method, r.metric) == KEY]
    value = sum(v for v in values if v is not None) / 2
    plain = f"{value - ahead:.3f}".replace("-", "−")
    assert f"| no model: always comedy | {plain} | accuracy |" in text
    assert ("Not shown: that this model can do LaMP-2." in text) == (said != FOR)
    assert "| f1 |" not in text
    assert f"{ahead:+.3f}".replace("-", "−") in text
    assert f"| {said} |" in text.split("the model can do it")[-1].split("merging takes away")[0]
    last = text.split("merging takes away")[-1]
    assert "| prime | 0.700 [0.6" in last
    assert "| the shared adapters | 0.900" in last
    assert "AUC, game heldout, attack loss | +0.200 [+0.1" in last


KEY = ("LaMP-2", "prime", "accuracy")


def test_a_claim_may_be_of_some_games_and_attacks(tmp_path: Path) -> None:
    claim = CLAIMS.replace('of = "auc"', 'of = "auc"\ngames = ["heldout"]')
    folder = board_at(tmp_path / "boards", BOARD.replace("[columns]", claim + "[columns]"))
    for seed in (0, 1):
        add(run_at(tmp_path / f"{seed}", run_record(seed)), read_board(folder))
    text = rendered(read_board(folder))["findings.md"]
    assert "game paper" not in text
    assert "no run tests it" in text


@pytest.mark.parametrize(("gains", "able"), [((0.3, 0.3), True), ((0.3, 0.0), False), ((0.0, 0.0), False)])
def test_one_rule_over_all_seeds_decides_what_a_board_says_of_an_ability(
    tmp_path: Path, gains: tuple[float, float], able: bool
) -> None:
    """The line above the table, the † behind verdicts, the files and the findings agree, whatever one seed says."""
    folder = board_at(tmp_path / "boards", BOARD.replace("[columns]", SHARED + "[columns]"))
    for seed, gain in enumerate(gains):
        record = with_more(run_record(seed), gain, 0.2)
        told = tuple(line_of(a) for a in record.abilities if not a.shown)
        add(run_at(tmp_path / f"{seed}", replace(record, warnings=told)), read_board(folder))
    files = rendered(read_board(folder))
    line = "> **LaMP-2: no method answers measurably better than is possible without a model, with 2 seeds together"
    assert files["table.md"].count("no method answers") == files["table.md"].count(line) == (not able)
    assert ("confounded †" in files["table.md"]) == (not able)
    assert ("| True | True" in files["table.csv"] or ",True | True" in files["table.csv"]) == (not able)
    assert ("Not shown: that this model can do LaMP-2." in files["findings.md"]) == (not able)


def test_an_ability_of_a_seed_that_is_missing_is_not_shown(tmp_path: Path) -> None:
    folder = board_at(tmp_path / "boards")
    add(run_at(tmp_path / "0", with_more(run_record(0), 0.3, 0.2)), read_board(folder))
    assert "no method has figures of all 2 seeds" in rendered(read_board(folder))["table.md"]
