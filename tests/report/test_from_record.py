"""A run's record as a sheet: nothing is lost, and the run's folder gets its page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from prime_audit.record import Model, Record, Times
from prime_audit.report.from_record import render_all, sheet_of
from prime_audit.report.page_data import load
from prime_audit.report.sheet import Sheet, Source
from tests import records

REASON = "merges nobody: no members"
LEAK = records.leak(
    task="LaMP-4",
    why="above 0.600 excluded",
    p=0.2,
    p_adjusted=0.4,
    over_control=-0.3,
    over_control_ci=(-0.4, -0.2),
    tpr={"0.1": 0.1},
    members=10,
    others=20,
    both_sides=4,
)


@pytest.fixture
def record() -> Record:
    """Two methods on two tasks; np merges nobody."""
    results, comparisons = [], []
    for task in ("LaMP-2", "LaMP-4"):
        metric = "accuracy" if task == "LaMP-2" else "rouge-1"
        for method, value in (("np", 0.4), ("prime", 0.5)):
            ci = (value - 0.1, value + 0.1)
            results.append(
                records.result(
                    task=task,
                    method=method,
                    metric=metric,
                    value=value,
                    ci=ci,
                    n=50,
                    higher_is_better=True,
                    targets=7,
                )
            )
            auc = None if method == "np" else 0.53
            leak = records.result(
                task=task,
                method=method,
                metric="auc",
                value=auc,
                ci=None,
                n=99,
                reason=REASON,
                game="paper",
                attack="loss",
            )
            results += [leak, replace(leak, metric="auc_base")]
        comparisons.append(records.comparison(task=task, metric=metric, ci=(0.05, 0.15), n=50))
        comparisons.append(
            records.comparison(
                task=task,
                baseline="base",
                metric="auc",
                difference=0.02,
                ci=(0.0, 0.04),
                n=99,
                game="paper",
                attack="loss",
            )
        )
    data = tuple(
        records.data(task=task, sha256="", split_sha256="", users={}, items=0, queries=50)
        for task in ("LaMP-2", "LaMP-4")
    )
    return Record(
        command="prime-audit compare --methods prime",
        spec={},
        methods={"np": {}, "prime": {"LaMP-2": {"prime.alpha": 0.6}, "LaMP-4": {"prime.alpha": 0.2}}},
        seeds={"run": 3},
        versions={},
        data=data,
        model=Model("mini", "", 1, "float32"),
        hardware={},
        results=tuple(results),
        comparisons=tuple(comparisons),
        leaks=(LEAK,),
        warnings=("3 texts were cut",),
        times=Times(started="", finished=""),
    )


def test_every_result_is_a_figure_with_its_difference(record: Record) -> None:
    sheet = sheet_of(record, "first")
    assert len(sheet.figures) == len(record.results)
    for figure, result in zip(sheet.figures, record.results, strict=True):
        for name in ("task", "method", "metric", "value", "ci", "n", "targets", "game", "attack", "reason"):
            assert getattr(figure, name) == getattr(result, name)
        assert figure.higher_is_better == result.higher_is_better
        assert figure.sources == ("first",)
    of_prime = {(f.task, f.metric): f for f in sheet.figures if f.method == "prime"}
    assert (of_prime["LaMP-4", "rouge-1"].difference, of_prime["LaMP-4", "rouge-1"].baseline) == (0.1, "np")
    assert (of_prime["LaMP-2", "auc"].difference_ci, of_prime["LaMP-2", "auc"].baseline) == (
        (0.0, 0.04),
        "base",
    )
    assert of_prime["LaMP-2", "auc_base"].difference is None


def test_the_rest_of_the_record(record: Record) -> None:
    sheet = sheet_of(record, "first")
    assert sheet.tasks == ("LaMP-2", "LaMP-4")
    assert sheet.methods == {method: {"parameters": told} for method, told in record.methods.items()}
    base = next(c for c in record.comparisons if (c.task, c.baseline) == (LEAK.task, "base"))
    assert [one[:3] for one in sheet.leaks] == [(LEAK, "first", base)]
    assert sheet.sources == {"first": Source("first", "record.json", 3)}
    assert sheet.command == record.command
    assert sheet.warnings[0] == "3 texts were cut"
    assert sheet.warnings[1].startswith("LaMP-4: game paper (prime): 4 of 30 items on both sides")
    assert sum(note.startswith("Intervals: 95 %") for note in sheet.notes) == 1  # both tasks agree
    assert not any(
        "*" in line or "<u>" in line for line in (*sheet.about, *sheet.notes)
    )  # no Markdown on a page


def test_items_without_a_score_name_task_attack_game_and_methods(record: Record) -> None:
    one = replace(LEAK, attack="lira_online", undefined=3, both_sides=0)
    leaks = (one, replace(one, method="perpcs"), replace(one, method="soup", undefined=5))
    found = [w for w in sheet_of(replace(record, leaks=leaks), "first").warnings if "undefined (" in w]
    assert [line.partition(" of 30 items")[0] for line in found] == [
        "LaMP-4: lira_online, game paper (prime, perpcs): 3",
        "LaMP-4: lira_online, game paper (soup): 5",
    ]


def test_of_two_baselines_the_first_is_shown(record: Record) -> None:
    other = replace(record.comparisons[0], baseline="rag", difference=0.7)
    sheet = sheet_of(replace(record, comparisons=(*record.comparisons, other)), "first")
    assert {f.baseline for f in sheet.figures} == {None, "np", "base"}


def test_methods_that_the_record_does_not_describe_are_shown_all_the_same(record: Record) -> None:
    sheet = sheet_of(replace(record, methods={}), "first")
    assert list(sheet.methods) == ["np", "prime"]


def test_a_runs_folder_gets_its_page(record: Record, tmp_path: Path) -> None:
    render_all(record, tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'href="record.json"' in html
    assert record.command in html
    data = load(html)
    assert [task["name"] for task in data["tasks"]] == ["LaMP-2", "LaMP-4"]
    alphas = dict(zip(data["tasks"][0]["methods"], data["tasks"][0]["alpha"], strict=True))
    assert [alphas[place] for place in range(len(data["methods"]))] == [None, 0.6]


def test_a_record_without_results_has_an_empty_sheet(record: Record) -> None:
    sheet = sheet_of(replace(record, results=(), comparisons=(), leaks=()), "first")
    assert isinstance(sheet, Sheet)
    assert sheet.figures == ()
