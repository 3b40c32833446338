"""The page in a browser: colours, phones, paper, and no JavaScript."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import pytest

from prime_audit.report import page
from prime_audit.report.sheet import Sheet
from tests.report.browser import MARKS, SHOWN, Browser, By, Keys, chrome

pytestmark = MARKS


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
    for selector in ("h1", ".ci", ".leaks", ".confounded", ".no-leak-found", "caption", "summary", "label"):
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


def test_without_javascript_tables_and_records_are_there(sheet: Sheet, tmp_path: Path) -> None:
    file = tmp_path / "index.html"
    file.write_text(page.render(sheet), encoding="utf-8")
    plain = chrome(**{"profile.managed_default_content_settings.javascript": 2})
    try:
        plain.get(file.as_uri())
        assert [s.is_displayed() for s in plain.find_elements(By.CSS_SELECTOR, ".task")] == [True, True]
        for hidden in ("#tools", "#theme", "#copy", "#frontier"):
            assert not plain.find_element(By.CSS_SELECTOR, hidden).is_displayed()
        plain.find_element(By.CSS_SELECTOR, "#task-0 tbody tr:nth-child(5) a").click()
        assert plain.current_url.endswith("#set-4")
        assert plain.find_elements(By.CSS_SELECTOR, "#set-4 a[href='records/m2/run%201.json']")
    finally:
        plain.quit()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "light"), (1280, "dark")])
def test_axe_finds_nothing(browser: Browser, width: int, scheme: str) -> None:
    """The rules of WCAG 2.2 that a program can check, with a dialog open and without."""
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip("no axe-core: pip install --no-deps axe-playwright-python")
    browser.open(width=width, prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    axe = Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8")
    run = "const done = arguments[arguments.length - 1]; axe.run().then((r) => done(r.violations))"
    for selector in (None, f"{SHOWN} [data-at='0 auc']"):
        if selector:
            browser.one(selector).click()
        browser.js(axe)
        found = browser.driver.execute_async_script(run)
        said = [(v["id"], [n["html"][:120] for n in v["nodes"]][:3]) for v in found]
        assert not said


def test_a_phone_sees_the_verdict_and_cards(browser: Browser) -> None:
    browser.open(width=390)
    verdict = browser.one(f"{SHOWN} tbody tr td")
    assert verdict.rect["x"] + 60 < 390  # beside the name, without scrolling
    sizes = browser.each("body *:not(script):not(style)", "parseFloat(getComputedStyle(e).fontSize)")
    assert min(sizes) >= 12
    browser.one(f"{SHOWN} [data-at='0 auc']").click()
    edges = browser.each("#detail td", "e.getBoundingClientRect().right")
    assert edges
    assert max(edges) <= 390
