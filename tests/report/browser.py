"""The page in a real headless browser: Debian's chromium, driven by selenium through chromium-driver."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prime_audit.report.sheet import Figure, Sheet

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: the extra browser")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys as Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
MARKS = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(DRIVER is None, reason="no chromedriver: apt-get install chromium-driver"),
]
EVIL = "<script>alert(1)</script>"
SHOWN = ".task:not([hidden])"


def chrome(**preferences: int) -> Any:
    """Start the browser."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.add_experimental_option("prefs", preferences)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


class Browser:
    """A page in the browser."""

    def __init__(self, driver: Any, file: Path) -> None:
        self.driver, self.file = driver, file

    def open(self, choice: str = "", width: int = 1280, **features: str) -> None:
        """Open the page anew, at a width, with media features and a choice in the address."""
        self.driver.get("about:blank")
        self.media(**features)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(self.file.as_uri() + choice)
        self.until(lambda: self.js("return 'started' in document.documentElement.dataset"))

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
        """Return the JavaScript expression ``of`` for every selected element e."""
        return list(self.js(f"return [...document.querySelectorAll({json.dumps(selector)})].map(e => {of})"))

    def texts(self, selector: str) -> list[str]:
        return self.each(selector, "e.textContent")

    def methods(self) -> list[str]:
        """Return the labels of the shown table's rows."""
        return self.texts(f"{SHOWN} tbody th")

    def row(self, method: str) -> int:
        """Return a method's place in the table as the page opens."""
        return self.methods().index(method)

    def column(self, place: int) -> list[str]:
        """Return the main figures of one column of the shown table."""
        return self.texts(f"{SHOWN} tbody td:nth-child({place + 1}) .v")

    def choose(self, select: str, value: str) -> None:
        Select(self.one(f"#{select}")).select_by_value(value)

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> str:
        """Return what has the focus: its id, its column, its cell, its series, or its tag."""
        names = ("id", "dataset.key", "dataset.at", "dataset.series", "tagName")
        return str(
            self.js("const e = document.activeElement; return " + " || ".join(f"e.{x}" for x in names))
        )

    def until(self, holds: Callable[[], Any]) -> Any:
        return WebDriverWait(self.driver, 10).until(lambda _: holds())


def values(sheet: Sheet, *which: str) -> dict[str, Figure]:
    """Return by method its figure of a task and metric, for leakage of a game and attack too."""
    wanted = (*which, None, None)[:4]
    return {f.method: f for f in sheet.figures if (f.task, f.metric, f.game, f.attack) == wanted}
