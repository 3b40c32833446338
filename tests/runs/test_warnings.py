"""What a run warns of, in which order; answers that did not end by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prime_audit import Run
from prime_audit.lamp.check import no_effect
from prime_audit.lamp.data import Dataset
from prime_audit.lamp.tasks import TASKS
from prime_audit.lamp.world.world import world
from prime_audit.report.columns import MANY_CUT
from prime_audit.runs.findings import KINDS, Findings
from prime_audit.runs.utility import Answers, cut_answers, joined, results
from prime_audit.settings import load_settings


def answers(method: str, cut: int, of: int = 20) -> Answers:
    """Answers of which the first ``cut`` were cut."""
    targets = [f"t{n % 4}" for n in range(of)]
    return Answers(method, targets, targets, ["a"] * of, ["a"] * of, [n >= cut for n in range(of)])


def test_warnings_stand_in_the_order_of_their_weight() -> None:
    found = Findings()
    for kind in reversed(KINDS):
        found.warn(kind, [f"{kind} 1", f"{kind} 2"])
    found.warn(KINDS[0], ["late"])
    assert found.warned() == tuple(
        line for kind in KINDS for line in (f"{kind} 1", f"{kind} 2", *(["late"] if kind == KINDS[0] else []))
    )


def test_cut_answers_are_counted_and_many_are_warned_of() -> None:
    few, many = answers("rag", int(MANY_CUT * 20)), answers("np", int(MANY_CUT * 20) + 1)
    assert [r.cut for r in results(TASKS["LaMP-4"], many)] == [3, 3]
    assert cut_answers([few], 40) == []
    (line,) = cut_answers([few, many, answers("prime", 20)], 40)
    assert line.startswith("answers were cut at 40 tokens (max_new): 15 % of np, 100 % of prime.")
    for what in ("max_new=N", "adaptation.epochs=N", "adaptation.lr"):
        assert what in line
    assert joined([few, many]).cut == 5
    unknown = Answers("np", ["t"], ["1"], ["a"], ["a"])
    assert [r.cut for r in results(TASKS["LaMP-4"], unknown)] == [None, None]
    assert cut_answers([unknown], 40) == []


def test_a_run_says_how_many_answers_were_cut(quick: Callable[..., Run], say: Callable[..., Any]) -> None:
    run = quick("np,rag", games="", sets=["max_new=2"])
    cut = {r.method: (r.cut, r.n) for r in run.record.results if r.metric == "rouge-1"}
    assert all(
        count is not None and count > MANY_CUT * n for count, n in cut.values()
    )  # a random model never stops
    (line,) = [w for w in run.record.warnings if "answers were cut at 2 tokens" in w]
    assert line.startswith("LaMP-4: ")
    ability = next(place for place, w in enumerate(run.record.warnings) if "without a model" in w)
    assert run.record.warnings.index(line) == ability + 1
    share = f"{100 * cut['np'][0] / cut['np'][1]:.0f} %"  # type: ignore[operator]
    assert share in say("show", run.path).out
    row = next(
        r for r in (run.path / "table.md").read_text(encoding="utf-8").splitlines() if r.startswith("| `np`")
    )
    assert row.count(share) == 1
    header, first, *_ = (run.path / "table.csv").read_text(encoding="utf-8").splitlines()
    assert (
        float(dict(zip(header.split(","), first.split(","), strict=True))["cut"])
        == cut["np"][0] / cut["np"][1]
    )


@pytest.mark.parametrize(
    ("layout", "sets", "idle"),
    [
        ("perpcs", ["targets=3", "LaMP-4.adapt_share=0.1"], ["targets=3", "adapt_share=0.1"]),
        ("items", ["targets=3", "adapt_share=0.1", "LaMP-2.targets=4"], []),
        ("items", ["temperature=0.5", "max_new=9"], ["temperature=0.5"]),
        ("items", ["temperature=0.5", "sampling=true"], []),
        ("alone", ["adaptation.lr=0.1", "sharer.lr=0.1"], ["adaptation.lr=0.1"]),
    ],
)
def test_settings_without_effect_are_named(layout: str, sets: list[str], idle: list[str]) -> None:
    made = world("LaMP-4", seed=0, adapt=0) if layout == "alone" else world("LaMP-4", seed=0)
    data = Dataset(**{**vars(made), "layout": layout, "source": "/home/of/someone"})
    lines = [*no_effect(data, load_settings("laptop", sets))]
    assert [line.partition(" has no effect")[0] for line in lines] == idle
    assert "someone" not in "".join(lines)  # boards publish warnings
