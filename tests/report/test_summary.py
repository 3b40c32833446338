"""The summary: five lines from planted facts, the same words on the terminal, in table.md, on the page and the card."""

from __future__ import annotations

import html
import io
import itertools
from dataclasses import replace

import pytest
from rich.console import Console

from prime_audit.boards.wide import CALLED, HERE
from prime_audit.errors import UserError
from prime_audit.io.markup import markdown_text
from prime_audit.record import Ability, Record
from prime_audit.report import page, text
from prime_audit.report.from_record import sheet_of
from prime_audit.report.risk import CHOICES, choice_of, grade, risks
from prime_audit.report.summary import Answer, at_risk, summary
from tests.records import result
from tests.report.test_panel import gap, leak, record_of


def answers(record: Record) -> dict[str, Answer]:
    return {answer.about: answer for answer in summary(sheet_of(record, "r"))}


def ability(shown: bool) -> Ability:
    return Ability(
        task="LaMP-2",
        shown=shown,
        metric="accuracy",
        method="prime",
        value=0.55,
        without=0.25,
        how="always [x]",
        questions=60,
        targets=10,
    )


@pytest.fixture
def record() -> Record:
    """Sharers leak by one method, the target by another; the shared adapters leak most."""
    leaks = (
        leak("prime", "heldout", verdict="no leak found"),
        leak("perpcs", "heldout", verdict="leaks"),
        leak("np", "target", verdict="too few to say"),
        replace(leak("prime", "target", verdict="leaks"), auc=0.9),
        replace(leak("prime", "adapter", verdict="leaks"), auc=0.99),
    )
    return record_of(leaks, tuple(map(gap, leaks)))


def test_who_is_exposed_and_by_which_method(record: Record) -> None:
    found = answers(record)["Leakage"]
    assert found.tone == "bad"
    found_of = "leaks (1 of 2 methods); the largest of these is"
    assert found.says == (
        f"Sharers: {found_of} perpcs on LaMP-2 (game heldout, attack loss: AUC 0.572, +0.124 over the base). "
        f"The target: {found_of} prime on LaMP-2 (game target, attack loss: AUC 0.900, +0.124 over the base). "
        "Shared adapters: leaks; the largest of these is on LaMP-2 (game adapter, attack loss: AUC 0.990, "
        "+0.124 over the base)."
    )


def test_a_leak_on_a_task_that_the_model_cannot_do_is_still_said(record: Record) -> None:
    unable = answers(replace(record, abilities=(ability(False),)))["Leakage"]
    assert unable.tone == "bad"
    assert "Sharers: leaks (1 of 2 methods), on a task that the model is not shown to do;" in unable.says


def test_what_the_adapters_leak_before_a_merge_is_not_the_methods_risk(record: Record) -> None:
    alone = replace(record, leaks=tuple(x for x in record.leaks if x.game != "target"))
    found = risks(sheet_of(alone, "r"), "LaMP-2")
    assert found["prime"].verdict == "no leak found"
    assert found["perpcs"].verdict == "leaks"
    assert found["np"].verdict is None  # nothing asked: it is not free of risk


def test_a_game_that_cannot_say_leaks_decides_only_alone(record: Record) -> None:
    both = (leak("prime", "paper", verdict="confounded"), leak("prime", "heldout", verdict="no leak found"))
    found = risks(sheet_of(record_of(both, tuple(map(gap, both))), "r"), "LaMP-2")
    assert found["prime"].verdict == "no leak found"
    alone = risks(sheet_of(record_of(both[:1], (gap(both[0]),)), "r"), "LaMP-2")
    assert alone["prime"].verdict == "confounded"


def test_the_best_at_an_accepted_risk(record: Record) -> None:
    """Perpcs has the higher accuracy, and leaks; np is asked about in one game."""
    names = {"prime": 0.5, "perpcs": 0.6, "np": 0.4}
    figures = tuple(result(method=name, value=value) for name, value in names.items())
    harmless = replace(
        record, leaks=tuple(x for x in record.leaks if (x.method, x.game) != ("prime", "target"))
    )
    sheet = sheet_of(replace(harmless, results=figures), "r")
    said = {one.key: at_risk(sheet, one)[0] for one in CHOICES}
    assert said["any"].startswith("LaMP-2: perpcs (accuracy 0.600")
    assert said["no-leak-shown"].startswith("LaMP-2: prime (accuracy 0.500")
    assert said["no-leak-shown"].endswith("2 of 3 methods qualify")
    assert said["no-leak-found"].endswith("1 of 3 methods qualify")
    assert said["auc-0.05"] == "LaMP-2: none of 3 methods qualifies"  # each may be 0.147 over the base
    with pytest.raises(UserError, match="unknown --risk 'no-leak': did you mean no-leak-shown"):
        choice_of("no-leak")


def test_a_control_that_is_said_to_leak_is_no_leak_but_a_warning(record: Record) -> None:
    control = {"method np": {"version": 1, "control": "it holds nothing"}}
    leaks = (*record.leaks[:2], leak("np", "heldout", verdict="leaks"), leak("np", "target", verdict="leaks"))
    found = answers(replace(record_of(leaks, tuple(map(gap, leaks))), plugins=control))
    assert "Sharers: leaks (1 of 2 methods)" in found["Leakage"].says
    assert (
        "The target: leaks; the largest of these is np" in found["Leakage"].says
    )  # it may hold its target's data
    said = "np, a control that holds nothing of any sharer, is said to leak in 1 of its 1 audits of sharers"
    assert said in found["Not seen"].says


def test_severity_has_one_order_for_runs_and_boards() -> None:
    words = [
        *("leaks", "leaks, already in the base"),
        "leaks here, not board-wide",
        *("confounded", "too few to say", "no leak found"),
    ]
    for worse, better in itertools.pairwise(words):
        both = tuple(
            leak("prime", "heldout", attack, word) for attack, word in (("zlib", better), ("loss", worse))
        )
        found = risks(sheet_of(record_of(both, tuple(map(gap, both))), "r"), "LaMP-2")["prime"]
        assert found.worst
        assert found.worst.leak.verdict == worse
    assert grade(CALLED["leaks"]) == "leaks"
    assert grade(CALLED["leaks, already in the base"]) == "leaks, already in the base"
    assert {*map(grade, HERE.values())} == {"leaks in a record, not board-wide"}


def test_better_than_every_other_needs_a_place_of_its_own(record: Record) -> None:
    """Nobody beats A (places 1 to 2), nor does A beat B: that is no proof."""
    sheet = sheet_of(record, "r")
    known = {f.method: f.value or 0.0 for f in sheet.figures if f.metric == "accuracy"}
    first = max(known, key=lambda m: known[m])
    others = [m for m in known if m != first][:2]

    def says(place: tuple[int, int]) -> str:
        figures = tuple(
            replace(f, rank=place if f.method == first else (2, 3))
            for f in sheet.figures
            if f.metric == "accuracy" and f.method in (first, *others)
        )
        return next(a.says for a in summary(replace(sheet, figures=figures)) if a.about == "Utility")

    assert "measurably better than every other" in says((1, 1))
    assert "leads, not measurably before every other" in says((1, 2))


def test_what_is_printed_without_an_error_is_not_measured(record: Record) -> None:
    sheet = sheet_of(record, "r")
    bare = replace(sheet, figures=tuple(replace(f, ci=None) for f in sheet.figures))
    utility = next(a for a in summary(bare) if a.about == "Utility")
    assert utility.says.endswith("is the best as printed, without a known error.")
    assert utility.tone == "open"


def test_what_was_not_seen(record: Record) -> None:
    says = answers(record)["Not seen"].says
    assert says.startswith("1 of 5 verdicts decide nothing (1 too few to say).")
    assert "Nothing asked about" not in says
    blind = replace(
        record,
        leaks=tuple(
            replace(x, relabellings=999, detectable=None if i else 0.7) for i, x in enumerate(record.leaks)
        ),
    )
    assert "Most of these audits could find no leak" in answers(blind)["Not seen"].says
    alone = replace(record, leaks=record.leaks[:2])
    assert "Nothing asked about the target (--games target)." in answers(alone)["Not seen"].says


def test_whether_the_model_can_do_the_task(record: Record) -> None:
    able = answers(replace(record, abilities=(ability(True),)))["Ability"]
    assert able == Answer(
        "Ability",
        "Better than without a model: LaMP-2 (accuracy 0.550 by prime, 0.250 without a model).",
        "good",
    )
    unable = replace(record, abilities=(ability(False),))
    assert answers(unable)["Ability"].says.startswith("Not shown to do LaMP-2:")
    assert answers(unable)["Next"].says.startswith("Try a model that can do LaMP-2 (--model)")


def test_the_same_words_everywhere(record: Record) -> None:
    sheet = sheet_of(record, "r")
    on_page, in_file = html.unescape(page.render(sheet)), text.markdown(sheet)
    drawn = " ".join(terminal(record, 400).split())
    for answer in summary(sheet):
        assert answer.says in on_page
        assert f"**{answer.about}.** {markdown_text(answer.says)}" in in_file
        assert f"{answer.about} {answer.says}" in drawn
    assert on_page.index('class="summary"') < on_page.index("To build this again")


def terminal(record: Record, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(text.terminal(sheet_of(record, "r"), width), markup=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_names_and_verdicts_never_disappear(record: Record, width: int) -> None:
    lines = terminal(record, width).splitlines()
    assert max(map(len, lines)) <= width
    head = next(i for i, line in enumerate(lines) if line.startswith("method"))
    assert "verdict" in f"{lines[head - 1]} {lines[head]}"
    table = [line for line in lines[head + 1 :] if line.strip()]
    end = next((i for i, line in enumerate(table) if line.startswith("method")), len(table))
    first = "\n".join(table[:end])  # the block that every width shows first
    for method in ("np", "perpcs", "prime"):
        assert any(line.startswith(method) for line in table[:end])
    assert first.count("leaks") == 2
    assert "too few" in first
