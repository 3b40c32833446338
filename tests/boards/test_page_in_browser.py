"""The page in a real headless browser: Debian's chromium, driven by selenium through chromium-driver."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prime_audit.games.deal import GAMES
from prime_audit.report import page
from prime_audit.report.columns import LEGEND
from prime_audit.report.series import COLOURS, series_of
from prime_audit.report.sheet import Figure, Sheet

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: the extra browser")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(DRIVER is None, reason="no chromedriver: apt-get install chromium-driver"),
]
EVIL = "<script>alert(1)</script>"
SHOWN = ".task:not([hidden])"


class Browser:
    """A page in the browser, and what the tests ask of it."""

    def __init__(self, driver: Any, file: Path) -> None:
        self.driver, self.file = driver, file

    def open(self, choice: str = "", width: int = 1280, **features: str) -> None:
        """Open the page anew, at a width, with media features and a choice in the address."""
        self.driver.get("about:blank")
        self.media(**features)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(self.file.as_uri() + choice)

    def media(self, media: str = "", **features: str) -> None:
        pairs = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": pairs})

    def js(self, code: str, *words: Any) -> Any:
        return self.driver.execute_script(code, *words)

    def one(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def each(self, selector: str, of: str) -> list[Any]:
        """Return what the JavaScript expression ``of`` says of every element e that is selected."""
        return list(self.js(f"return [...document.querySelectorAll({json.dumps(selector)})].map(e => {of})"))

    def texts(self, selector: str) -> list[str]:
        return self.each(selector, "e.textContent")

    def methods(self) -> list[str]:
        """Return the labels of the shown table's rows."""
        return self.texts(f"{SHOWN} tbody th")

    def column(self, place: int) -> list[str]:
        """Return the main figures of one column of the shown table."""
        return self.texts(f"{SHOWN} tbody td:nth-child({place + 1}) .v")

    def choose(self, select: str, value: str) -> None:
        Select(self.one(f"#{select}")).select_by_value(value)

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> str:
        """Say what has the focus: its id, its column, its cell, its series, or its tag."""
        names = ("id", "dataset.key", "dataset.at", "dataset.series", "tagName")
        return str(
            self.js("const e = document.activeElement; return " + " || ".join(f"e.{x}" for x in names))
        )

    def until(self, holds: Callable[[], Any]) -> Any:
        return WebDriverWait(self.driver, 10).until(lambda _: holds())


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield made
    made.quit()


@pytest.fixture
def browser(driver: Any, sheet: Sheet, tmp_path: Path) -> Iterator[Browser]:
    """Open the sheet's page; at the end there must be no console message, and nothing fetched."""
    file = tmp_path / "index.html"
    file.write_text(page.render(sheet), encoding="utf-8")
    made = Browser(driver, file)
    made.open()
    yield made
    assert driver.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert {url.split(":")[0] for url in asked} <= {"file", "data", "about"}
    assert {url.split("#")[0] for url in asked if url.startswith("file")} <= {file.as_uri()}


def values(sheet: Sheet, *which: str) -> dict[str, Figure]:
    """Return by method its figure of a task and metric, for leakage of a game and attack too."""
    wanted = (*which, None, None)[:4]
    return {f.method: f for f in sheet.figures if (f.task, f.metric, f.game, f.attack) == wanted}


# -- the table ------------------------------------------------------------------------------------------------


def test_the_script_shows_what_stands_there_without_it(browser: Browser) -> None:
    code = """const page = new DOMParser().parseFromString(arguments[0], "text/html");
        const told = (table) => [...table.rows].map((r) => [...r.cells].map((c) => c.textContent));
        return [page, document].map((d) => [...d.querySelectorAll(".task table")].map(told));"""
    browser.one("#tab-1").click()  # draws the second table too
    static, live = browser.js(code, browser.file.read_text(encoding="utf-8"))
    assert live == static
    assert browser.texts(".footnotes li") == ["merges nobody </script><img src=x onerror=alert(2)>"] * 2


def test_sorting(browser: Browser, sheet: Sheet) -> None:
    original = browser.methods()
    accuracy = {m: f.value or 0.0 for m, f in values(sheet, "LaMP-2", "accuracy").items()}
    best_first = sorted(original, key=lambda m: -accuracy[m])
    for expected, said in ((best_first, "descending"), (best_first[::-1], "ascending"), (original, None)):
        browser.one(f"{SHOWN} [data-key=accuracy]").click()
        assert browser.methods() == expected
        head = browser.one(f"{SHOWN} th:nth-child(2)")
        assert head.get_attribute("aria-sort") == said
        assert browser.focused() == "accuracy"  # the focus stays where it was
    browser.one(f"{SHOWN} [data-key=auc]").click()
    shown = browser.column(5)
    assert shown[-2:] == ["n/a", "n/a"]  # whoever has no AUC stands last, whichever way
    assert shown[:-2] == sorted(shown[:-2])
    browser.one(f"{SHOWN} [data-key=auc]").click()
    assert browser.column(5) == [*sorted(shown[:-2], reverse=True), "n/a", "n/a"]


def test_errors_sort_lowest_first_by_keyboard(browser: Browser) -> None:
    browser.one("#tab-1").click()
    browser.js(f"document.querySelector('{SHOWN} [data-key=MAE]').focus()")
    browser.press(Keys.ENTER)
    numbers = [float(text) for text in browser.column(1)]
    assert numbers == sorted(numbers)
    assert browser.one(f"{SHOWN} th:nth-child(2)").get_attribute("aria-sort") == "ascending"


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


# -- the frontier ---------------------------------------------------------------------------------------------


def mark(browser: Browser, method: str, sheet: Sheet) -> Any:
    """Return a method's mark, by its series' colour (there are fewer series than colours)."""
    series = list(dict.fromkeys(map(series_of, sheet.methods)))
    colour = COLOURS[series.index(series_of(method))]
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
    assert f": {', '.join(best)}. The rest is dimmed." in note
    assert "no members" not in note
    marks = browser.each("#chart path[transform]", "e.getAttribute('fill-opacity')")
    assert marks.count("0.4") == len(points) - len(best)


def test_game_and_attack_change_table_and_frontier(browser: Browser, sheet: Sheet) -> None:
    assert browser.one("#game").get_attribute("value") == "heldout"  # where a verdict can stand
    for game, attack in (("paper", "loss"), ("heldout", "zlib"), ("paper", "zlib")):
        browser.choose("game", game)
        assert browser.one("#says").text == GAMES[game].says
        browser.choose("attack", attack)
        expected = [f.value for f in values(sheet, "LaMP-2", "auc", game, attack).values()]
        assert browser.column(5) == ["n/a" if v is None else f"{v:.3f}" for v in expected]
        assert browser.one(f"{SHOWN} caption").text == f"LaMP-2; leakage: game {game}, attack {attack}"
        assert f"attack={attack}" in browser.driver.current_url
    browser.one("#tab-1").click()  # the choice outlives the task
    assert "game paper, attack zlib" in browser.one(f"{SHOWN} caption").text


def test_a_group_without_a_game_is_no_choice_that_nobody_made(browser: Browser, sheet: Sheet) -> None:
    figures = tuple(replace(f, game=None) if f.game == "paper" else f for f in sheet.figures)
    browser.file.write_text(page.render(replace(sheet, figures=figures)), encoding="utf-8")
    browser.open()
    told = json.loads(browser.js("return document.getElementById('data').textContent"))
    groups = [group["game"] for group in told["tasks"][0]["groups"]]
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
    browser.open("#task=none&game=none&q=&sort=none")  # whatever it says, the page stands
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
    assert browser.one("#legend").is_displayed()  # the reader hid them: she gets what brings them back


def test_sweep_lines_intervals_and_the_legend(browser: Browser) -> None:
    sweep = COLOURS[3]  # np, rag, perpcs, prime
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
    assert "chance" in browser.texts("#chart text")


# -- the panel ------------------------------------------------------------------------------------------------


def test_a_leakage_cell_opens_its_control_panel(browser: Browser, sheet: Sheet) -> None:
    browser.one(f"{SHOWN} [data-at='3 auc']").click()
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
    for (leak, source, _), row, (why,) in zip(panels, rows[::2], rows[1::2], strict=True):
        lo, hi = leak.ci or (0.0, 0.0)
        gap, p = leak.auc - 0.45, "0.014"
        assert row == [
            *(leak.game, leak.attack, f"{leak.auc:.3f}[{lo:.3f}, {hi:.3f}]"),
            *(f"+{gap:.3f}[+{gap - 0.04:.3f}, +{gap + 0.04:.3f}]", "bag of words"),
            *(
                "−0.271[−0.376, +0.019]",
                *(("–", p) if leak.game == "heldout" else (p, "–")),
                ".13 .01 –",
            ),
            *("0.11 of 2.55", "leaks", f"{source} (seed 0)"),
        ]
        assert why.startswith(
            f"{leak.why}. 1,008 member and 1,680 other items; 2 of 2688 items undefined under the unmerged base; "
            "3 of 2688 items on both sides"
        )
    assert len(browser.all(".panel tr.chosen")) == 2
    assert browser.texts("#detail-body .scroll ~ p.small") == list(LEGEND)
    browser.press(Keys.ESCAPE)
    browser.one(f"{SHOWN} [data-at='5 auc']").click()  # soup: its record holds no difference to the base
    rows = browser.each(".panel tbody tr", "[...e.cells].map((c) => c.textContent)")
    assert {row[3] for row in rows[::2]} == {"n/a"}
    assert all(". over base n/a: the record holds no difference" in why for (why,) in rows[1::2])


def test_a_utility_cell_names_all_its_records(browser: Browser) -> None:
    browser.one(f"{SHOWN} [data-at='2 accuracy']").click()
    links = browser.each("#detail a", "[e.getAttribute('href'), e.textContent]")
    assert links == [[f"records/m2/run%20{seed}.json", f"run-2-{seed} (seed {seed})"] for seed in range(3)]
    assert browser.texts("#detail .records li")[::2] == ["run-2-0 (seed 0): 0.490", "run-2-2 (seed 2): 0.510"]
    assert not browser.all("#detail .panel")
    browser.press(Keys.ESCAPE)
    assert not browser.js("return document.getElementById('detail').open")
    assert browser.focused() == "2 accuracy"


def test_why_there_is_no_figure(browser: Browser) -> None:
    cell = browser.one(f"{SHOWN} [data-at='0 auc']")
    assert cell.text.startswith("n/a")
    assert cell.get_attribute("title") == "merges nobody </script><img src=x onerror=alert(2)>"
    cell.click()
    assert "merges nobody </script>" in browser.one("#detail-body").text
    assert not browser.all("img")


# -- keyboard -------------------------------------------------------------------------------------------------


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
    browser.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    assert browser.focused() == "2 accuracy"
    browser.press(Keys.END)
    assert browser.focused() == "2 auc/verdict"
    browser.press(Keys.ENTER)
    assert browser.js("return document.getElementById('detail').open")
    browser.press(Keys.ESCAPE)
    assert browser.focused() == "2 auc/verdict"
    browser.js("document.getElementById('chart').focus()")
    told = []
    for _ in range(7):
        browser.press(Keys.ARROW_RIGHT)
        told.append(browser.js("return document.getElementById('chart-said').textContent").split(";")[0])
    assert told == ["np", "rag", "soup:k=3", "prime:alpha=0.6", "perpcs", "prime:alpha=0.2", EVIL]
    browser.press(Keys.ENTER)
    assert browser.one("#detail-title").text == f"{EVIL} on LaMP-2"
    browser.press(Keys.ESCAPE)
    assert browser.focused() == "chart"


# -- looks ----------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    parts = [float(x) / 255 for x in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_have_contrast(browser: Browser, scheme: str) -> None:
    browser.open(prefers_color_scheme=scheme)
    ground = luminance(
        browser.js("return getComputedStyle(document.getElementById('frontier')).backgroundColor")
    )
    assert (ground > 0.5) == (scheme == "light")
    for selector in ("h1", ".ci", ".leaks", ".confounded", ".none-found", "caption", "summary", "label"):
        ink = luminance(browser.js(f"return getComputedStyle(document.querySelector('{selector}')).color"))
        assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 4.5, selector
    text = browser.one("#chart text").get_attribute("fill")
    assert abs(luminance(text) - ground) > 0.15  # the chart has the scheme's colours too


def test_the_theme_button_overrules_the_system(browser: Browser) -> None:
    browser.open(prefers_color_scheme="dark")
    button = browser.one("#theme")
    found = []
    for _ in range(3):
        page_is = browser.js("return getComputedStyle(document.body).backgroundColor")
        chart_is = browser.one("#chart text").get_attribute("fill")
        found.append((button.text, luminance(page_is) > 0.5, luminance(chart_is) < 0.5))
        button.click()
    dark, light = (False, False), (True, True)
    assert found == [("Theme: auto", *dark), ("Theme: light", *light), ("Theme: dark", *dark)]
    assert button.text == "Theme: auto"


@pytest.mark.parametrize("width", [320, 375])
def test_a_phone_scrolls_the_table_not_the_page(browser: Browser, width: int) -> None:
    browser.open(width=width)
    for place in range(2):
        browser.one(f"#tab-{place}").click()
        assert browser.js("return document.documentElement.scrollWidth") <= width
        ((inner, outer),) = browser.each(f"{SHOWN} .scroll", "[e.scrollWidth, e.clientWidth]")
        assert inner > outer
        assert browser.one("#chart svg").size["width"] <= width
    browser.one(f"{SHOWN} [data-at='3 auc']").send_keys(Keys.ENTER)
    assert browser.js("return document.getElementById('detail').getBoundingClientRect().right") <= width
    assert browser.js("return document.documentElement.scrollWidth") <= width


def test_reduced_motion_draws_at_once(browser: Browser) -> None:
    browser.open(prefers_reduced_motion="reduce")
    browser.choose("metric", "f1")
    first = browser.each("#chart path[transform]", "e.getAttribute('transform')")
    time.sleep(0.5)
    assert browser.each("#chart path[transform]", "e.getAttribute('transform')") == first


def test_on_paper_all_tables_stand_in_black_on_white(browser: Browser) -> None:
    browser.open(prefers_color_scheme="dark")
    browser.js("dispatchEvent(new Event('beforeprint'))")
    assert luminance(browser.one("#chart text").get_attribute("fill")) < 0.1
    browser.media("print", prefers_color_scheme="dark")
    assert [s.is_displayed() for s in browser.all(".task")] == [True, True]
    assert not any(browser.one(s).is_displayed() for s in ("#theme", "#tools", "#tabs", "#copy", "#axes"))
    assert all(browser.each("details", "e.open"))
    assert browser.js("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(browser.texts("#task-1 tbody tr")) == 7
    browser.media(prefers_color_scheme="dark")
    browser.js("dispatchEvent(new Event('afterprint'))")
    assert [s.is_displayed() for s in browser.all(".task")] == [True, False]
    assert browser.one("#theme").text == "Theme: auto"
    assert browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]


def test_copying_the_command(browser: Browser, sheet: Sheet) -> None:
    assert browser.one("#command").text == sheet.command
    grant = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.driver.execute_cdp_cmd("Browser.grantPermissions", grant)
    browser.one("#copy").click()
    assert browser.until(lambda: browser.one("#copy").text == "Copied")
    browser.one("#filter").send_keys(Keys.CONTROL, "v")
    assert browser.one("#filter").get_attribute("value") == sheet.command


def test_without_javascript_tables_and_records_are_there(driver: Any, sheet: Sheet, tmp_path: Path) -> None:
    file = tmp_path / "index.html"
    file.write_text(page.render(sheet), encoding="utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    plain = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        plain.get(file.as_uri())
        assert [s.is_displayed() for s in plain.find_elements(By.CSS_SELECTOR, ".task")] == [True, True]
        for hidden in ("#tools", "#theme", "#copy", "#frontier"):
            assert not plain.find_element(By.CSS_SELECTOR, hidden).is_displayed()
        plain.find_element(By.CSS_SELECTOR, "#task-0 tbody tr:nth-child(3) a").click()
        assert plain.current_url.endswith("#set-2")
        assert plain.find_elements(By.CSS_SELECTOR, "#set-2 a[href='records/m2/run%201.json']")
    finally:
        plain.quit()
