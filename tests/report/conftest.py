"""A sheet with all that a page has to show, with texts that try to be markup, and a browser that opens its page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prime_audit.record import Comparison, Leak
from prime_audit.report import page
from prime_audit.report.sheet import Figure, PanelRow, Sheet, Source
from tests import records

EVIL = "<script>alert(1)</script>"
METHODS = ("np", "rag", "perpcs", "prime:alpha=0.2", "prime:alpha=0.6", "soup:k=3", EVIL)
GAMES, ATTACKS = ("paper", "heldout"), ("loss", "zlib")
NOBODY = "merges nobody </script><img src=x onerror=alert(2)>"
UTILITY = {
    "LaMP-2": {
        "accuracy": (0.45, 0.55, 0.5, 0.6, 0.58, 0.62, 0.4),
        "f1": (0.4, 0.5, 0.3, 0.6, 0.55, 0.2, 0.1),
    },
    "LaMP-3": {"MAE": (0.9, 0.8, 0.85, 0.7, 0.75, 0.6, 1.25)},
}
AUC = (None, None, 0.57, 0.61, 0.53, 0.44, 0.66)
"""Of METHODS in the paper's game by loss; the other games and attacks lie beside it."""


def figures(task: str) -> list[Figure]:
    """Return utility with differences to np, places, and leakage with controls, of three records each."""
    made = []
    for metric, values in UTILITY[task].items():
        better = metric != "MAE"
        for place, (method, value) in enumerate(zip(METHODS, values, strict=True)):
            f = Figure(
                task=task,
                method=method,
                metric=metric,
                value=value,
                ci=(value - 0.05, value + 0.04),
                n=126,
                targets=14,
                higher_is_better=better,
            )
            if method != "np":
                gain = value - values[0]
                f = replace(f, difference=gain, difference_ci=(gain - 0.02, gain + 0.03), baseline="np")
            ids, seeds = (
                tuple(f"run-{place}-{seed}" for seed in range(3)),
                (value - 0.01, value, value + 0.01),
            )
            made.append(replace(f, rank=(max(1, place), place + 2), sources=ids, seeds=seeds))
    shifts = {(g, a): 0.02 * i for i, (g, a) in enumerate((g, a) for g in GAMES for a in ATTACKS)}
    for (game, attack), shift in shifts.items():
        for place, (method, auc) in enumerate(zip(METHODS, AUC, strict=True)):
            made += leakage(
                task, method, None if auc is None else auc + shift, game, attack, f"run-{place}-0"
            )
    return made


def leakage(task: str, method: str, auc: float | None, game: str, attack: str, source: str) -> list[Figure]:
    """Return an AUC and its controls, or why there is none."""
    empty = Figure(
        task=task, method=method, metric="auc", value=None, game=game, attack=attack, sources=(source,)
    )
    if auc is None:
        metrics = ("auc", "auc_base", "auc_bag_of_words")
        return [replace(empty, metric=metric, reason=NOBODY) for metric in metrics]
    own = replace(empty, value=auc, ci=(auc - 0.06, auc + 0.06), n=2688, targets=14, seeds=(auc,))
    gain = auc - 0.45
    return [
        replace(own, difference=gain, difference_ci=(gain - 0.04, gain + 0.04), baseline="base"),
        replace(own, metric="auc_base", value=0.45, ci=(0.4, 0.5)),
        replace(own, metric="auc_bag_of_words", value=0.843, ci=None, reason="no interval: one user"),
    ]


def leak(figure: Figure) -> Leak:
    """Return the panel of an AUC."""
    auc, ci = figure.value, figure.ci
    assert auc is not None
    assert ci is not None
    word = {"prime:alpha=0.2": "leaks", "perpcs": "confounded"}.get(figure.method, "no leak found")
    why = f"AUC {auc:.3f}, its p 0.007, -0.271 [-0.376, +0.019] to the best control, <b>words</b> at 0.843"
    return records.leak(
        task=figure.task,
        method=figure.method,
        game=str(figure.game),
        attack=str(figure.attack),
        auc=auc,
        ci=ci,
        verdict=word,
        why=why,
        p=0.007,
        p_adjusted=0.014,
        q=0.021,
        tail=0.55,
        detectable=0.565,
        relabellings=9999,
        over_control=-0.271,
        over_control_ci=(-0.376, 0.019),
        tpr={"0.1": 0.13, "0.01": 0.015, "0.001": None},
        members=1008,
        others=1680,
        undefined_base=2,
        both_sides=3,
        epsilon=0.11,
        epsilon_ceiling=2.55,
    )


def gap(f: Figure) -> Comparison | None:
    """Return an AUC's difference to the unmerged base's; the record of soup holds none."""
    if f.method == "soup:k=3":
        return None
    return records.comparison(
        task=f.task,
        method=f.method,
        baseline="base",
        metric="auc",
        difference=f.difference,
        ci=f.difference_ci,
        n=f.n,
        game=f.game,
        attack=f.attack,
    )


@pytest.fixture(scope="session")
def sheet() -> Sheet:
    """Two tasks, seven methods, two games, two attacks, three records a method; EVIL is one of the methods."""
    found = tuple(f for task in UTILITY for f in figures(task))
    panels = [f for f in found if f.metric == "auc" and f.value is not None]
    sources = {
        f"run-{place}-{seed}": Source(f"run-{place}-{seed}", f"records/m{place}/run {seed}.json", seed)
        for place in range(len(METHODS))
        for seed in range(3)
    }
    sources["run-6-0"] = Source("run-6-0", "javascript:alert(3)", 0)
    sources["run-5-0"] = Source("run-5-0", "https://example.org/paper?table=1&row=2", None)
    return Sheet(
        name="board",
        title=f"A board {EVIL}",
        about=("What it is.", "How to read it: <em>so</em>."),
        command="prime-audit leaderboard build world && echo '<done>'",
        model="mini",
        tasks=tuple(UTILITY),
        methods={
            m: {
                "parameters": {task: {"prime.k": 3} if "prime" in m else {} for task in UTILITY},
                "versions": {"core": "1"},
            }
            for m in METHODS
        },
        figures=found,
        leaks=tuple(PanelRow(leak(f), f.sources[0], gap(f)) for f in panels),
        sources=sources,
        notes=("Intervals: 95 %.",),
        warnings=(f"user {EVIL}: left out",),
    )


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    from tests.report.browser import chrome

    made = chrome()
    yield made
    made.quit()


@pytest.fixture
def browser(driver: Any, sheet: Sheet, tmp_path: Path) -> Iterator[Any]:
    """Open the sheet's page; at the end there must be no console message, and nothing fetched."""
    from tests.report.browser import Browser

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
