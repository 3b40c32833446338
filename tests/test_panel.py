"""The control panel as readers meet it: on the terminal, in a run's table.md and in a board's."""

from __future__ import annotations

import html
import io
from dataclasses import replace
from typing import get_args

import pytest
from rich.console import Console

from prime_audit.audit.panels import AucEstimate
from prime_audit.audit.verdict import BLIND, PValues, Word, verdict
from prime_audit.boards import tables
from prime_audit.games.deal import GAMES
from prime_audit.io.markup import markdown_text
from prime_audit.record import Comparison, Failure, Leak, Record
from prime_audit.report import page, panel
from prime_audit.report import tables as board
from prime_audit.report.from_record import sheet_of

from .boards.invented import run_record

LACKING = "over base n/a: the record holds no difference to the unmerged base's AUC"
TPR = {"0.1": 0.16, "0.01": 0.07, "0.001": None}


def leak(method: str, game: str, attack: str = "loss", verdict: str = "no leak found") -> Leak:
    """Return a figure whose AUC is 0.572."""
    return Leak(
        task="LaMP-2",
        method=method,
        game=game,
        attack=attack,
        auc=0.572,
        ci=(0.492, 0.642),
        verdict=verdict,
        why="because",
        p=0.0035,
        p_adjusted=0.007,
        best_control="bag_of_words",
        over_control=-0.271,
        over_control_ci=(-0.376, -0.192),
        tpr=TPR,
        members=40,
        others=360,
        undefined=0,
        undefined_base=0,
        both_sides=0,
        epsilon=0.11,
        epsilon_ceiling=2.55,
    )


def gap(of: Leak, difference: float | None = 0.124, reason: str | None = None) -> Comparison:
    """Return what a figure has over the base."""
    ci = None if difference is None else (difference - 0.03, difference + 0.03)
    return Comparison(
        task=of.task,
        method=of.method,
        baseline="base",
        metric="auc",
        difference=difference,
        ci=ci,
        n=400,
        reason=reason,
        game=of.game,
        attack=of.attack,
    )


def record_of(leaks: tuple[Leak, ...], gaps: tuple[Comparison, ...]) -> Record:
    """Return a run of one task with these figures."""
    made = run_record(tasks=("LaMP-2",))
    return replace(made, leaks=leaks, comparisons=(*made.comparisons, *gaps))


def shown(record: Record) -> str:
    """Return what the terminal shows of a record, 100 columns wide."""
    console = Console(width=100, file=io.StringIO(), force_terminal=False)
    console.print(board.terminal(record))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows_of(markdown: str) -> list[dict[str, str]]:
    """Read the control panel out of Markdown: a row's cells by their heads."""
    lines = markdown.split("### Control panel")[1].strip().split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def test_every_game_shows_what_its_auc_has_over_the_base() -> None:
    leaks = tuple(leak("prime", game) for game in ("paper", "heldout", "inclusion", "target"))
    record = record_of(leaks, tuple(gap(x, 0.1 + place / 100) for place, x in enumerate(leaks)))
    expected = [f"+{x:.3f} [+{x - 0.03:.3f}, +{x + 0.03:.3f}]" for x in (0.1, 0.11, 0.12, 0.13)]
    in_run = [row["over base"] for row in rows_of(board.markdown(record))]
    on_board = [row["over base"].replace("\\", "") for row in rows_of(tables.markdown(sheet_of(record, "r")))]
    assert [cell.replace("\\", "") for cell in in_run] == on_board == expected
    text = shown(record)
    assert all(figure in text for figure in ("+0.100", "+.070 +.130", "+0.130", "+.100 +.160"))
    assert "n/a: " not in text


def test_where_the_record_holds_none_it_says_why() -> None:
    leaks = (leak("prime", "paper"), leak("prime", "heldout"), leak("perpcs", "heldout"))
    record = record_of(leaks, (gap(leaks[0]), gap(leaks[1], None, "base undefined for all items")))
    for markdown in (board.markdown(record), tables.markdown(sheet_of(record, "r"))):
        found = {row["game"]: (row["method"].replace("`", ""), row["over base"]) for row in rows_of(markdown)}
        assert found["heldout"] == ("prime, perpcs", "n/a")
        assert found["paper"][1].startswith("+0.124")
        assert f"* loss, game heldout: {LACKING}" in markdown
        assert "* loss, game heldout: over base n/a: base undefined for all items" in markdown
    words = " ".join(shown(record).split())
    assert f"loss, game heldout: {LACKING}" in words
    assert "over base n/a: base undefined for all items" in words


@pytest.mark.parametrize("attack", ["loss", "reference", "lira_offline"])
def test_the_terminals_panel_fits_a_hundred_columns(attack: str) -> None:
    methods = ("prime", "prime:alpha=0.6,k=3+rag")
    verdicts = ("leaks", "confounded", "no leak found", "too few to say")
    games = ("paper", "heldout", "inclusion", "target")
    leaks = [leak(m, g, attack, v) for m in methods for g, v in zip(games, verdicts, strict=True)]
    gaps = [gap(x, 0.124 if x.method == "prime" else 0.125) for x in leaks]
    text = shown(record_of(tuple(leaks), tuple(gaps)))
    below = text.split("control panel")[1]
    assert max(map(len, below.splitlines())) <= 100
    for whole in (*games, attack, "+0.12", "+.09", "-.376 -.192", ".492 .642", "0.11", "/2.55"):
        assert below.count(whole) >= 2, whole
    assert "…" not in below  # nothing is cut off


def test_methods_of_one_module_share_a_row() -> None:
    leaks = (leak("soup", "heldout"), leak("prime", "heldout"), leak("nearest", "heldout"))
    record = record_of(leaks, (gap(leaks[0]), gap(leaks[1]), gap(leaks[2], 0.2)))
    assert [row[0] for row in panel.rows(record, "LaMP-2")] == ["soup, prime", "nearest"]


def test_the_two_ps_are_named_apart() -> None:
    """Where members were drawn the test is of the AUC minus the base's, in the paper's game of the AUC."""
    leaks = tuple(leak("prime", game) for game in GAMES)
    record = record_of(leaks, tuple(map(gap, leaks)))
    for markdown in (board.markdown(record), tables.markdown(sheet_of(record, "r"))):
        found = {row["game"]: (row["p AUC"], row["p over base"]) for row in rows_of(markdown)}
        assert found == {
            name: ("–", "0.007") if g.randomised else ("0.007", "–") for name, g in GAMES.items()
        }
        assert "p" not in rows_of(markdown)[0]
    lines = [line for line in shown(record).split("control panel")[1].splitlines() if "0.007" in line]
    assert ["– " in line.partition("0.007")[0] for line in lines] == [g.randomised for g in GAMES.values()]


def test_a_verdict_names_its_ps_as_the_panel_does() -> None:
    estimate = AucEstimate(value=0.7, ci=(0.6, 0.8), reason=None, member_sharers=9, other_sharers=9)
    said = verdict(estimate, PValues(0.02, 0.9, 0.03), None, randomised=True)
    assert said.reason == "AUC 0.700, p AUC 0.02, no control; p over base 0.03"


def test_one_legend_under_every_panel() -> None:
    """On the terminal, in a run's and a board's table.md, on the page, in a module's card: the same words."""
    leaks = (leak("prime", "paper"), leak("prime", "heldout"))
    record = record_of(leaks, tuple(map(gap, leaks)))
    sheet = sheet_of(record, "r")
    read = html.unescape(page.render(sheet))
    below = " ".join(shown(record).split("control panel")[1].split())
    for line in panel.LEGEND:
        assert line in below
        assert line in read
        for markdown in (board.markdown(record), tables.markdown(sheet)):
            assert f"* {markdown_text(line)}\n" in markdown
    lost = [r for r in record.results if (r.method, r.metric) == ("prime", "auc")]
    failures = tuple(
        Failure(task=r.task, stage=f"game {r.game}", method=r.method, attack=r.attack, error="x")
        for r in lost
    )
    results = tuple(replace(r, value=None, reason="failed: x") if r in lost else r for r in record.results)
    broken = replace(record, results=results, leaks=(), failures=failures)
    for line in panel.LEGEND:  # also where attacks that failed are all there is
        assert line in " ".join(shown(broken).split())
        assert line in html.unescape(page.render(sheet_of(broken, "r")))
        assert f"* {markdown_text(line)}\n" in board.markdown(broken)
    bare = replace(record, leaks=())
    assert panel.LEGEND[0] not in " ".join(shown(bare).split())
    assert panel.LEGEND[0] not in tables.markdown(sheet_of(bare, "r"))


@pytest.mark.parametrize("upper", [BLIND - 0.001, BLIND])
def test_the_legend_tells_what_parts_too_few_from_none_found(upper: float) -> None:
    estimate = AucEstimate(value=0.55, ci=(0.45, upper), reason=None, member_sharers=9, other_sharers=9)
    said = verdict(estimate, PValues(0.4, 0.6, 0.4), None, randomised=True).word
    words = panel.LEGEND[-1]
    assert f"{said}: " in words
    after = words.split(f"{said}: ")[1].split(". ")[0]
    assert ("ends below 0.7" in after, "of 0.7 cannot be excluded" in after) == (
        upper < BLIND,
        upper >= BLIND,
    )


@pytest.mark.parametrize(
    ("tests", "epsilon", "randomised", "word"),
    [
        (PValues(0.5, 0.5, 0.01), None, True, "leaks"),
        (PValues(0.5, 0.5, 0.5), 0.1, True, "leaks"),
        (PValues(0.01, 0.9, 0.5), 0.0, True, "confounded"),
        (PValues(0.01, 0.9, 0.01), None, False, "confounded"),
    ],
)
def test_the_legend_tells_which_p_makes_which_verdict(
    tests: PValues, epsilon: float | None, randomised: bool, word: str
) -> None:
    estimate = AucEstimate(value=0.7, ci=(0.6, 0.8), reason=None, member_sharers=9, other_sharers=9)
    assert verdict(estimate, tests, None, randomised=randomised, epsilon=epsilon).word == word
    drawn, paper = panel.LEGEND[1].split("In games that drew their members ")[1].split("; ")[:2]
    if not randomised:
        assert (
            paper
            == "in the paper's game p AUC is shown, and makes confounded at most. Both are Holm-corrected "
            + ("over the attacks of a method and game.")
        )
    elif word == "leaks":
        assert drawn.startswith("p over base (or a bound on ε above 0) makes leaks")
    else:
        assert drawn.endswith("and p AUC, which stands in the verdict's reason, makes confounded")


def test_every_verdict_and_column_is_in_the_legend() -> None:
    for word in get_args(Word):
        assert f"{word}: " in panel.LEGEND[-1]
    told = " ".join(panel.LEGEND).lower()
    for column in ("AUC", "over base", "over it", "p AUC", "p over base", "TPR", "ε ≥"):
        assert column.lower() in told
