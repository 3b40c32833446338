"""The page in a browser: the frontier, and what is chosen for it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from prime_audit.plugins.loading import load_game
from prime_audit.report import page
from prime_audit.report.page_data import load
from prime_audit.report.series import COLOURS, looks_of, series_of
from prime_audit.report.sheet import Sheet
from tests.report.browser import EVIL, MARKS, SHOWN, ActionChains, Browser, values

pytestmark = MARKS


def mark(browser: Browser, method: str, sheet: Sheet) -> Any:
    """Return a method's mark, by its series' colour, which no other series of the sheet has."""
    colour = looks_of(sheet.methods)[series_of(method)]["colour"]
    found = browser.until(lambda: browser.all(f"#chart path[fill='{colour}'][transform]"))
    return found[0]


def test_hovering_tells_of_the_method(browser: Browser, sheet: Sheet) -> None:
    browser.js("document.getElementById('frontier').scrollIntoView()")
    time.sleep(0.5)  # the marks glide to their places
    perpcs = mark(browser, "perpcs", sheet)
    ActionChains(browser.driver).move_to_element(perpcs).perform()
    lines = browser.until(lambda: browser.texts("#chart .tip > *"))
    assert lines[:5] == [
        *("perpcs", "accuracy 0.500 [0.450, 0.540]", "AUC 0.610 [0.550, 0.670]"),
        *("AUC base 0.450 [0.400, 0.500]", "AUC − base +0.160 [+0.120, +0.200]"),
    ]
    assert "verdict: confounded" in lines
    assert lines[-1] == "record: run-2-0, run-2-1, run-2-2"
    perpcs.click()
    assert browser.one("#detail-title").text == "perpcs on LaMP-2"


def test_a_hostile_label_in_the_tooltip_is_text(browser: Browser, sheet: Sheet) -> None:
    browser.js("document.getElementById('frontier').scrollIntoView()")
    time.sleep(0.5)
    ActionChains(browser.driver).move_to_element(mark(browser, EVIL, sheet)).perform()
    assert browser.until(lambda: browser.texts("#chart .tip strong")) == [EVIL]


@pytest.mark.parametrize(("leakage", "chance"), [("auc", 0.5), ("difference", 0.0)])
@pytest.mark.parametrize(("task", "metric"), [("LaMP-2", "accuracy"), ("LaMP-2", "f1"), ("LaMP-3", "MAE")])
@pytest.mark.parametrize(("game", "attack"), [("paper", "loss"), ("heldout", "zlib")])
def test_only_dominated_marks_are_dimmed(
    browser: Browser,
    sheet: Sheet,
    task: str,
    metric: str,
    game: str,
    attack: str,
    leakage: str,
    chance: float,
) -> None:
    browser.one(f"#tab-{sheet.tasks.index(task)}").click()
    for select, value in (("game", game), ("attack", attack), ("metric", metric), ("leakage", leakage)):
        browser.choose(select, value)
    utility, aucs = values(sheet, task, metric), values(sheet, task, "auc", game, attack)
    points = {}
    for m, f in aucs.items():
        x = f.value if leakage == "auc" else f.difference
        gain = utility[m].value
        if x is not None and gain is not None:
            points[m] = (gain if metric != "MAE" else -gain, -round(abs(x - chance), 9))
    best = [
        m for m, p in points.items()
        if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points.values())
    ]  # fmt: skip
    note = browser.one("#chart-note").text
    said = note.partition(": ")[2].partition(". The rest is dimmed.")[0]
    assert sorted(said.split(", ")) == sorted(best)
    assert "no members" not in note
    marks = browser.each("#chart path[transform]", "e.getAttribute('fill-opacity')")
    assert marks.count("0.4") == len(points) - len(best)


def test_game_and_attack_change_table_and_frontier(browser: Browser, sheet: Sheet) -> None:
    assert browser.one("#game").get_attribute("value") == "heldout"  # where a verdict can stand
    for game, attack in (("heldout", "zlib"), ("paper", "loss"), ("paper", "zlib")):
        browser.choose("game", game)
        assert browser.one("#says").text == load_game(game).says
        browser.choose("attack", attack)
        figures = values(sheet, "LaMP-2", "auc", game, attack)
        expected = [figures[method].value for method in browser.methods()]
        assert browser.column(6) == ["n/a" if v is None else f"{v:.3f}" for v in expected]
        assert browser.one(f"{SHOWN} caption").text == f"LaMP-2; leakage: game {game}, attack {attack}"
        assert f"attack={attack}" in browser.driver.current_url
    browser.one("#tab-1").click()  # the choice outlives the task
    assert "game paper, attack zlib" in browser.one(f"{SHOWN} caption").text


def test_a_group_without_a_game_is_not_chosen(browser: Browser, sheet: Sheet) -> None:
    figures = tuple(replace(f, game=None) if f.game == "paper" else f for f in sheet.figures)
    browser.file.write_text(page.render(replace(sheet, figures=figures)), encoding="utf-8")
    browser.open()
    data = load(browser.file.read_text(encoding="utf-8"))
    groups = [group["game"] for group in data["tasks"][0]["groups"]]
    assert groups[0] == "heldout"
    assert None in groups
    assert browser.one(f"{SHOWN} caption").text.startswith("LaMP-2; leakage: game heldout")


def test_an_address_brings_its_choice_back(browser: Browser) -> None:
    browser.open("#task=LaMP-3&game=heldout&attack=zlib&q=prime%3A&sort=-MAE")
    assert browser.one("[role=tab][aria-selected=true]").text == "LaMP-3"
    assert browser.one("#game").get_attribute("value") == "heldout"
    assert browser.methods() == ["prime:alpha=0.6", "prime:alpha=0.2"]
    browser.open("#task=LaMP-3&game=paper")
    assert browser.one(f"{SHOWN} caption").text == "LaMP-3; leakage: game paper, attack loss"
    browser.open("#task=none&game=none&q=&sort=none")  # any address opens the page
    assert len(browser.methods()) == 7


def test_without_leakage_utility_is_drawn_alone_and_without_figures_nothing(
    browser: Browser, sheet: Sheet
) -> None:
    plain = tuple(f for f in sheet.figures if f.game is None)
    none = tuple(replace(f, value=None, ci=None, reason="no run filed") for f in plain if f.task == "LaMP-3")
    first = tuple(f for f in plain if f.task == "LaMP-2")
    browser.file.write_text(page.render(replace(sheet, figures=(*first, *none), leaks=())), encoding="utf-8")
    browser.open()
    assert len(browser.until(lambda: browser.all("#chart path[transform]"))) == 7
    assert "chance" not in browser.texts("#chart text")
    assert browser.one("#chart-note").text == "No leakage was reported on this task."
    assert not browser.one("#game").is_displayed()
    browser.one("#tab-1").click()
    assert not browser.one("#chart").is_displayed()
    assert browser.one("#chart-note").text.startswith(
        "No leakage was reported on this task. Not drawn, no MAE: np,"
    )
    assert browser.texts("#task-1 .footnotes li") == ["no run filed"]
    browser.one("#tab-0").click()
    browser.until(lambda: browser.one("#chart svg").size["width"] > 900)
    browser.one("#filter").send_keys("nobody")
    assert browser.one("#legend").is_displayed()  # the reader hid them and can bring them back


def test_sweep_lines_intervals_and_the_legend(browser: Browser) -> None:
    sweep = COLOURS["prime"]
    line = f"#chart path[stroke='{sweep}'][fill=none][stroke-width='1.5'], #chart polyline[stroke='{sweep}']"
    bars = f"#chart path[stroke='{sweep}'], #chart line[stroke='{sweep}']"
    browser.until(lambda: browser.all(line))
    assert len(browser.all(bars)) > 4  # two points, two intervals each, and the sweep
    browser.one("#bars").click()
    browser.until(lambda: len(browser.all(bars)) == 1)
    browser.one("#legend [data-series='3']").click()
    browser.until(lambda: not browser.all(line))
    assert browser.one("#legend [data-series='3']").get_attribute("aria-pressed") == "false"
    assert "prime" not in browser.one("#chart-note").text
    assert "nothing added" in browser.texts("#chart text")
