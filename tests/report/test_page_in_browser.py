"""The page in a browser: its tables, the details behind a cell, and the keyboard."""

from __future__ import annotations

from prime_audit.report.columns import LEGEND
from prime_audit.report.risk import SEVERITY, reach, risks
from prime_audit.report.sheet import Sheet
from tests.report.browser import EVIL, MARKS, SHOWN, Browser, Keys, values

pytestmark = MARKS


def test_the_script_shows_the_same_as_without_it(browser: Browser) -> None:
    code = """const page = new DOMParser().parseFromString(arguments[0], "text/html");
        const read = (table) => [...table.rows].map((r) => [...r.cells].map((c) => c.textContent));
        return [page, document].map((d) => [...d.querySelectorAll(".task table")].map(read));"""
    browser.one("#tab-1").click()  # draws the second table too
    static, live = browser.js(code, browser.file.read_text(encoding="utf-8"))
    assert live == static
    assert browser.texts(".footnotes li") == ["merges nobody </script><img src=x onerror=alert(2)>"] * 2


def test_sorting(browser: Browser, sheet: Sheet) -> None:
    original = browser.methods()  # by accuracy already
    accuracy = {m: f.value or 0.0 for m, f in values(sheet, "LaMP-2", "accuracy").items()}
    best_first = sorted(original, key=lambda m: -accuracy[m])
    for expected, said in ((best_first, "descending"), (best_first[::-1], "ascending"), (original, None)):
        browser.one(f"{SHOWN} [data-key=accuracy]").click()
        assert browser.methods() == expected
        head = browser.one(f"{SHOWN} th:nth-child(3)")
        assert head.get_attribute("aria-sort") == said
        assert browser.focused() == "accuracy"  # the focus stays where it was
    browser.one(f"{SHOWN} [data-key=auc]").click()
    shown = browser.column(6)
    assert shown[-2:] == ["n/a", "n/a"]  # methods without an AUC are last in both orders
    assert shown[:-2] == sorted(shown[:-2])
    browser.one(f"{SHOWN} [data-key=auc]").click()
    assert browser.column(6) == [*sorted(shown[:-2], reverse=True), "n/a", "n/a"]


def test_errors_sort_lowest_first_by_keyboard(browser: Browser) -> None:
    browser.one("#tab-1").click()
    browser.js(f"document.querySelector('{SHOWN} [data-key=MAE]').focus()")
    browser.press(Keys.ENTER)
    numbers = [float(text) for text in browser.column(2)]
    assert numbers == sorted(numbers)
    assert browser.one(f"{SHOWN} th:nth-child(3)").get_attribute("aria-sort") == "ascending"


def test_filtering_by_name_and_parameter(browser: Browser) -> None:
    field = browser.one("#filter")
    field.send_keys("ALPHA=0.6")
    assert browser.methods() == ["prime:alpha=0.6"]
    assert browser.one("#count").text == "1 of 7 methods"
    field.clear()
    field.send_keys("prime.k")
    assert browser.methods() == ["prime:alpha=0.2", "prime:alpha=0.6"]
    field.clear()
    field.send_keys(".*")  # a substring, no pattern
    assert browser.texts(f"{SHOWN} tbody td") == ["No method matches the filter."]
    field.clear()
    field.send_keys("<script>")
    assert browser.methods() == [EVIL]


def test_a_leakage_cell_opens_its_control_panel(browser: Browser, sheet: Sheet) -> None:
    browser.one(f"{SHOWN} [data-at='{browser.row('prime:alpha=0.2')} auc']").click()
    assert browser.one("#detail-title").text == "prime:alpha=0.2 on LaMP-2"
    words = browser.one("#detail-body").text
    for expected in (
        "AUC base",
        "0.450 [0.400, 0.500]",
        "AUC bag of words",
        "0.843",
        "minus base",
        "prime.k = 3",
    ):
        assert expected in words
    rows = browser.each(".panel tbody tr", "[...e.cells].map((c) => c.textContent)")
    panels = [x for x in sheet.leaks if (x.leak.method, x.leak.task) == ("prime:alpha=0.2", "LaMP-2")]
    panels.sort(key=lambda x: x.leak.game)  # heldout is chosen
    assert len(rows) == 2 * len(panels) == 8
    for (leak, source, *_), row, (why,) in zip(panels, rows[::2], rows[1::2], strict=True):
        lo, hi = leak.ci or (0.0, 0.0)
        gap = leak.auc - 0.45
        assert row == [
            *(leak.game, leak.attack, f"{leak.auc:.3f}[{lo:.3f}, {hi:.3f}]"),
            f"+{gap:.3f}[+{gap - 0.04:.3f}, +{gap + 0.04:.3f}]",
            *("0.021", "0.550", "0.565", ".13 .01 –"),
            *("0.11 of 2.55", "leaks", f"{source} (seed 0)"),
        ]
        assert why.startswith(
            f"{leak.why}. 1,008 member and 1,680 other items; 2 of 2,688 items undefined under the unmerged base; "
            "3 of 2,688 items on both sides"
        )
        assert why.endswith("p before correction 0.007 (9,999 relabellings).")
    assert len(browser.all(".panel tr.chosen")) == 2
    assert browser.texts("#detail-body .scroll ~ p.small") == list(LEGEND)
    browser.press(Keys.ESCAPE)
    browser.one(
        f"{SHOWN} [data-at='{browser.row('soup:k=3')} auc']"
    ).click()  # soup: its record holds no difference to the base
    rows = browser.each(".panel tbody tr", "[...e.cells].map((c) => c.textContent)")
    assert {row[3] for row in rows[::2]} == {"n/a"}
    assert all(". over base n/a: the record holds no difference" in why for (why,) in rows[1::2])


def test_a_utility_cell_names_all_its_records(browser: Browser) -> None:
    at = f"{browser.row('perpcs')} accuracy"
    browser.one(f"{SHOWN} [data-at='{at}']").click()
    links = browser.each("#detail a", "[e.getAttribute('href'), e.textContent]")
    assert links == [[f"records/m2/run%20{seed}.json", f"run-2-{seed} (seed {seed})"] for seed in range(3)]
    assert browser.texts("#detail .records li")[::2] == ["run-2-0 (seed 0): 0.490", "run-2-2 (seed 2): 0.510"]
    assert not browser.all("#detail .panel")
    browser.press(Keys.ESCAPE)
    assert not browser.js("return document.getElementById('detail').open")
    assert browser.focused() == at


def test_why_there_is_no_figure(browser: Browser) -> None:
    cell = browser.one(f"{SHOWN} [data-at='{browser.row('np')} auc']")
    assert cell.text.startswith("n/a")
    assert cell.get_attribute("title") == "merges nobody </script><img src=x onerror=alert(2)>"
    cell.click()
    assert "merges nobody </script>" in browser.one("#detail-body").text
    assert not browser.all("img")


def test_tab_reaches_everything_and_shows_where_it_is(browser: Browser) -> None:
    seen: list[str] = []
    for _ in range(80):
        browser.press(Keys.TAB)
        here = browser.focused()
        if here == "BODY":
            break
        assert browser.js("return getComputedStyle(document.activeElement).outlineStyle") != "none", here
        seen.append(here)
    expected = ["theme", "copy", "tab-0", "game", "attack", "filter", "metric", "leakage", "bars", "chart"]
    assert [name for name in seen if name in expected] == expected
    for name in ("method", "accuracy", "auc/difference", "auc/verdict", "0 method", "SUMMARY"):
        assert name in seen
    assert "tab-1" not in seen  # one stop for all tabs, one for all cells
    assert sum(name[0].isdecimal() and " " in name for name in seen) == 1
    assert len(seen) < 50


def test_arrow_keys_walk_tabs_cells_and_marks(browser: Browser) -> None:
    browser.one("#tab-0").click()
    browser.press(Keys.ARROW_RIGHT)
    assert browser.focused() == "tab-1"
    assert browser.one("#tab-1").get_attribute("aria-selected") == "true"
    assert [s.get_attribute("id") for s in browser.all(SHOWN)] == ["task-1"]
    browser.press(Keys.ARROW_RIGHT)
    assert browser.focused() == "tab-0"
    browser.js(f"document.querySelector(\"{SHOWN} [data-at='0 method']\").focus()")
    browser.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert browser.focused() == "2 accuracy"
    browser.press(Keys.END)
    assert browser.focused() == "2 auc/verdict"
    browser.press(Keys.ENTER)
    assert browser.js("return document.getElementById('detail').open")
    browser.press(Keys.ESCAPE)
    assert browser.focused() == "2 auc/verdict"
    browser.js("document.getElementById('chart').focus()")
    said = []
    for _ in range(7):
        browser.press(Keys.ARROW_RIGHT)
        said.append(browser.js("return document.getElementById('chart-said').textContent").split(";")[0])
    assert sorted(said) == sorted(browser.methods())
    assert {*said[:2]} == {"np", "rag"}  # the strip of those without an AUC comes first
    browser.press(Keys.ENTER)
    assert browser.one("#detail-title").text == f"{said[-1]} on LaMP-2"
    browser.press(Keys.ESCAPE)
    assert browser.focused() == "chart"


def test_the_best_at_an_acceptable_risk(browser: Browser, sheet: Sheet) -> None:
    """A method qualifies only by what games asked about it: one that merges nobody is not free."""
    audited = risks(sheet, "LaMP-2")
    accuracy = values(sheet, "LaMP-2", "accuracy")
    for choice, passes in (
        ("no-leak-shown", lambda one: one.verdict is not None and SEVERITY.index(one.verdict) > 2),
        ("no-leak-found", lambda one: one.verdict == SEVERITY[-1]),
        ("auc-0.2", lambda one: one.over_base is not None and reach(one.over_base) <= 0.2),
    ):
        browser.choose("risk", choice)
        expected = {m for m, one in audited.items() if passes(one)}
        assert {*browser.methods()} == expected or (not expected and browser.methods() == [])
        said = browser.one("#best").text
        if expected:
            best = max(expected, key=lambda m: accuracy[m].value or 0.0)
            assert f"{accuracy[best].value:.3f}" in said
            assert f"{len(expected)} of {len(audited)} methods qualify" in said
        else:
            assert said == f"No method qualifies at this risk, of {len(audited)}."
        assert f"risk={choice}" in browser.driver.current_url
    assert "np" not in browser.methods()
