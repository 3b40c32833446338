"""Tables and frontier of invented records."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from prime_audit.io.markup import number
from prime_audit.plan.plan import parse_methods
from prime_audit.record import Comparison, Intervals, Model, Record, Result, Times
from prime_audit.report import frontier, table, text
from prime_audit.report.from_record import render_all, sheet_of
from prime_audit.report.series import alpha_of, looks_of, series_of
from prime_audit.report.sheet import is_leakage
from prime_audit.report.table import Cell, Table
from prime_audit.report.views import TaskView, views
from prime_audit.settings import load_settings
from tests import records

METRICS = {"LaMP-2": ("accuracy", "f1"), "LaMP-3": ("MAE", "RMSE"), "LaMP-4": ("rouge-1", "rouge-L")}
METHODS = (
    "np",
    "rag",
    "oppu",
    "perpcs",
    "prime",
    "prime:alpha=0.6,k=3",
    "prime:alpha=0.2,k=3",
    "prime:alpha=0.6+rag",
)
NOBODY = "merges nobody: no sharer is a member"


def entry(method: str, task: str) -> dict[str, Any]:
    """Return what a run writes under ``methods``; nothing of a method there is not."""
    if method not in METHODS:
        return {}
    (spec,) = parse_methods(method)
    return spec.values(load_settings("laptop"), task)


def invent(tasks: tuple[str, ...] = ("LaMP-2",), methods: tuple[str, ...] = METHODS) -> Record:
    """Make a record with plausible figures for these tasks and methods."""
    rng = np.random.default_rng(0)
    results: list[Result] = []
    comparisons: list[Comparison] = []
    for task in tasks:
        for place, method in enumerate(methods):
            for metric in METRICS[task]:
                low = task == "LaMP-3"
                value = round((0.9 if low else 0.4) + place * 0.0123, 4)
                ci = (value - 0.02, value + 0.03)
                results.append(
                    records.result(
                        task=task,
                        method=method,
                        metric=metric,
                        value=value,
                        ci=ci,
                        n=330,
                        higher_is_better=not low,
                        targets=10,
                    )
                )
                if method != "np":
                    gain = place * 0.0123
                    comparisons.append(
                        records.comparison(
                            task=task,
                            method=method,
                            metric=metric,
                            difference=gain,
                            ci=(gain - 0.01, gain + 0.01),
                            n=330,
                        )
                    )
            for metric in ("auc", "auc_base", "auc_length_only"):
                if not method.startswith(("prime", "perpcs")):
                    results.append(
                        records.result(
                            task=task,
                            method=method,
                            metric=metric,
                            value=None,
                            ci=None,
                            n=0,
                            reason=NOBODY,
                            game="paper",
                            attack="loss",
                        )
                    )
                    continue
                auc = round(float(rng.uniform(0.45, 0.58)), 4)
                ci = (auc - 0.04, auc + 0.05)
                results.append(
                    records.result(
                        task=task,
                        method=method,
                        metric=metric,
                        value=auc,
                        ci=ci,
                        n=900,
                        targets=10,
                        member_sharers=7,
                        game="paper",
                        attack="loss",
                    )
                )
            if method.startswith(("prime", "perpcs")):
                shift = records.comparison(
                    task=task,
                    method=method,
                    baseline="base",
                    metric="auc",
                    difference=-0.02,
                    ci=(-0.03, 0.01),
                    n=900,
                    game="paper",
                    attack="loss",
                )
                comparisons.append(shift)
    data = tuple(
        records.data(task=t, sha256="a", split_sha256="b", users={"targets": 10}, items=400, queries=330)
        for t in tasks
    )
    model = Model("mini", "c", 350_000, "float32")
    labels = {method: {task: entry(method, task) for task in tasks} for method in methods}
    command = f"prime-audit compare --methods {','.join(methods)}"
    times = Times(started="then", finished="now")
    return Record(
        command=command,
        spec={},
        methods=labels,
        seeds={"run": 0},
        versions={},
        data=data,
        model=model,
        hardware={},
        results=tuple(results),
        times=times,
        comparisons=tuple(comparisons),
        warnings=("cut",),
    )


def shown(record: Record, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(text.terminal(sheet_of(record, "run"), width, details=True, explain=True))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def tables(record: Record) -> list[Table]:
    """Return each task's utility with the leakage of its first game, controls too."""

    def whole(view: TaskView) -> Table:
        leakage = [c for group in view.groups[:1] for c in (*group.columns, *group.controls)]
        return view.table([*view.utility, *leakage])

    return [whole(view) for view in views(sheet_of(record, "run"))]


def titles(shown: Table) -> tuple[str, ...]:
    return tuple(name for _, name in shown.head)


def test_rows_are_methods_and_columns_figures() -> None:
    (found,) = tables(invent())
    leak = ("AUC", "AUC base", "AUC − base", "AUC length only")
    assert titles(found) == ("accuracy ↑", "place", "Δ np", "f1 ↑", "place", "Δ np", *leak)
    assert {m for (m,) in found.labels} == {*METHODS}
    utility = [line[0].value or 0.0 for line in found.cells]
    assert utility == sorted(utility, reverse=True)
    by_method = {m: line for (m,), line in zip(found.labels, found.cells, strict=True)}
    assert by_method["np"][2] == Cell(signed=True)
    for place in (6, 8):  # no AUC, and no difference to the base's for the same reason
        assert (by_method["np"][place].value, by_method["np"][place].reason) == (None, NOBODY)
    assert [by_method[m][0].best for m in METHODS] == [m not in ("np", "rag", "oppu") for m in METHODS]
    assert [by_method[m][1].text for m in METHODS] == ["7–8", "3–8", "2–7", *["1–7"] * 3, "1–6", "1–5"]
    assert not any(cell.best for line in found.cells for cell in line[6:])


def test_of_errors_the_lower_is_better_and_nothing_is_bold_where_none_is_beaten() -> None:
    (found,) = tables(invent(("LaMP-3",)))
    assert titles(found)[0] == "MAE ↓"
    best = {m: line[0].best for (m,), line in zip(found.labels, found.cells, strict=True)}
    assert [best[m] for m in METHODS[:3]] == [True, True, False]
    record = invent(methods=("np", "rag"))
    (tied,) = tables(replace(record, comparisons=()))  # apart, their intervals overlap
    assert not any(line[0].best for line in tied.cells)
    assert "place" not in titles(tied)


def test_columns_without_figures_are_left_out() -> None:
    record = invent(methods=("rag", "oppu"))
    bare = replace(
        record, results=tuple(r for r in record.results if not is_leakage(r.metric)), comparisons=()
    )
    (found,) = tables(bare)
    assert titles(found) == ("accuracy ↑", "f1 ↑")
    assert "leakage" not in " ".join(sheet_of(bare, "run").notes)


def test_the_first_game_and_attack_are_shown() -> None:
    record = invent()
    second = tuple(replace(r, value=0.9, attack="zlib") for r in record.results if r.metric == "auc")
    assert tables(replace(record, results=record.results + second)) == tables(record)
    assert "attack loss" in shown(replace(record, results=record.results + second))


@pytest.mark.parametrize("task", ["LaMP-2", "LaMP-3"])
def test_terminal_fits_a_hundred_columns(task: str) -> None:
    drawn = shown(invent((task,)))
    assert max(map(len, drawn.splitlines())) <= 100
    for expected in (
        *METHODS[:4],
        "k=3",
        "n/a¹",
        f"¹ {NOBODY}",
        "AUC − base",
        "−0.020",
        "Intervals: 95 %, one person left out at a time",
        "330 questions",
    ):
        assert expected in drawn
    assert "7 sharers" in drawn
    assert "! cut" in drawn
    assert "…" not in drawn  # nothing is cut off


def test_markdown_and_how_to_make_it_again() -> None:
    record = invent(("LaMP-2", "LaMP-3"))
    page = text.markdown(sheet_of(record, "run"))
    assert record.command in page
    for expected in (
        "## LaMP-2",
        "## LaMP-3",
        "**0.486** [0.466, 0.516]",
        "**0.474** [0.454, 0.504]",
        "−0.020 [−0.030, +0.010]",
        "* ¹ ",
    ):
        assert expected in page
    below = page.split("## LaMP-2")[1]
    np_row = next(line for line in below.splitlines() if line.startswith("| `np`"))
    assert np_row.count("n/a¹") == 4  # AUC, base, their difference, length
    assert "nan" not in page


def test_csv_holds_every_figure_in_full() -> None:
    record = invent()
    read = list(csv.DictReader(io.StringIO(text.csv(sheet_of(record, "run")))))
    assert len(read) == len(record.results)
    assert [float(r["value"]) if r["value"] else None for r in read] == [r.value for r in record.results]
    prime = next(r for r in read if r["method"] == "prime" and r["metric"] == "auc")
    assert (prime["baseline"], prime["difference"], prime["game"]) == ("base", "-0.02", "paper")
    assert next(r for r in read if r["metric"] == "auc")["reason"] == NOBODY


def test_numbers() -> None:
    assert [number(x, True) for x in (0.0004, -0.0004, -0.5, 0.5)] == [
        "0.000",
        "0.000",
        "−0.500",
        "+0.500",
    ]
    assert table._short(Cell(1.0, (0.9, 1.25))) == "[0.90, 1.25]"
    assert table._short(Cell(0.1, (-0.021, 0.083), signed=True)) == "[−.021, +.083]"


def test_render_all_is_deterministic(tmp_path: Path) -> None:
    record = invent(("LaMP-2", "LaMP-3", "LaMP-4"))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        render_all(record, tmp_path / name)
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert files == ["frontier.png", "frontier.svg", "index.html", "table.csv", "table.md"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def drawn(record: Record) -> dict[str, bytes]:
    return frontier.draw(sheet_of(record, "run"), record.intervals.level)


def test_svg_keeps_text_and_escapes_it() -> None:
    record = invent(methods=("np", "<&$x_1$>", "_hidden", "prime"))
    svg = drawn(record)["svg"].decode()
    words = " ".join(ElementTree.fromstring(svg).itertext())
    for label in (
        "<&$x_1$>",
        "_hidden",
        "prime",
        "accuracy",
        "AUC − base (game paper, attack loss)",
        "no figure",
    ):
        assert label in words
    assert "dc:date" not in svg


def test_series_and_alphas() -> None:
    assert series_of("prime:alpha=0.6,k=3+rag") == "prime:k=3+rag"
    assert series_of("prime:k=3,alpha=0.6") == "prime:k=3"
    assert series_of("prime:alpha=0.6") == "prime"
    assert series_of("perpcs+pag") == "perpcs+pag"
    assert alpha_of("prime:k=3,alpha=0.6+rag", {}) == 0.6
    assert alpha_of("prime", {"prime.alpha": 0.5}) == 0.5
    assert alpha_of("prime+rag", {"prime.alpha": 0.5, "rag.k": 1}) == 0.5
    assert alpha_of("oppu", {}) is None


def test_a_sweep_is_joined_in_the_order_of_alpha() -> None:
    (points,) = frontier.subplots(sheet_of(invent(), "run")).values()
    merged = [point for point in points if point.leak]
    (sweep,) = frontier._sweeps(merged)
    assert [point.alpha for point in sweep] == [0.2, 0.6]
    names = [look["name"] for look in looks_of(point.method for point in points).values()]
    assert "prime:k=3" in names  # the sweep
    assert "prime:alpha=0.6+rag" in names  # alone: its whole label
    assert [p.method for p in points if p.leak is None] == ["np", "rag", "oppu"]


def test_a_sweep_has_its_default_point() -> None:
    """``prime`` ran at alpha 0, which its label does not say."""
    sheet = sheet_of(invent(methods=("np", "prime", "prime:alpha=0.6", "prime:alpha=0.2")), "run")
    (points,) = frontier.subplots(sheet).values()
    (sweep,) = frontier._sweeps([point for point in points if point.leak])
    assert [(point.method, point.alpha) for point in sweep] == [
        ("prime", 0.0), ("prime:alpha=0.2", 0.2), ("prime:alpha=0.6", 0.6),
    ]  # fmt: skip


def test_tables_with_f1_say_how_its_interval_leans() -> None:
    line = "f1: percentile intervals lean low: a resample may lack a class, which then counts 0."
    for task, expected in (("LaMP-2", 1), ("LaMP-4", 0)):
        old = replace(invent((task,)), intervals=Intervals(draws=1000))
        assert text.markdown(sheet_of(old, "run")).count(f"* {line}\n") == expected
        assert shown(old, width=120).count(line) == expected
        assert line not in shown(invent((task,)), width=120)


def test_a_record_without_leakage_or_results_still_draws() -> None:
    assert drawn(invent(methods=("np", "rag")))["png"].startswith(b"\x89PNG")
    empty = replace(invent(), results=(), comparisons=())
    assert drawn(empty)["svg"]
    assert tables(empty) == []


def test_board_needs_no_torch_and_no_matplotlib_until_it_draws() -> None:
    heavy = "{'torch', 'matplotlib', 'rich'}"
    code = f"import sys, prime_audit.report.from_record, prime_audit.report.text; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
