"""The shared adapter itself: one pass of all methods, its white-box signals, and what merging takes away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prime_audit import Run
from prime_audit.games.exam.stored import Exam, Pass, read_exam
from prime_audit.runs.rescore import attack

TASK = "LaMP-4"
WHITE = "gradnorm,alignment"


def passes(exam: Exam, kind: str = "adapter") -> list[Pass]:
    return [p for p in exam.passes if p.kind == kind]


def figure(run: Run, method: str, game: str, name: str, metric: str = "auc") -> Any:
    (found,) = [
        r
        for r in run.record.results
        if (r.method, r.game, r.attack, r.metric) == (method, game, name, metric)
    ]
    return found


def test_one_pass_of_all_methods_and_one_panel_a_sharer(quick: Callable[..., Run]) -> None:
    run = quick("perpcs,soup,rag", games="heldout,adapter", attacks=f"loss,{WHITE}", sets=["heldout=0.4"])
    exam = read_exam(run.path, TASK)
    alone, shared = passes(exam)  # np comes first
    assert sorted([*shared.labels, *alone.labels]) == ["np", "perpcs", "rag", "soup"]
    assert set(shared.labels) == {"perpcs", "soup"}
    sharers = [s["user"] for s in run.record.community[TASK]["sharers"]]
    assert dict(shared.merged) == {own: (own,) for own in sharers}
    pool = exam.pools["sharers"]
    for own, seen in shared.seen.items():
        asked = {i for i, row in enumerate(seen.logprobs) if len(row)}
        assert asked == set(np.flatnonzero(pool.drawn & pool.of([own])).tolist())
    for method in ("np", "rag"):
        assert figure(run, method, "adapter", "loss").reason == "uses no shared adapter: no members"
    for name in ("loss", "gradnorm", "alignment"):
        one, other = (figure(run, method, "adapter", name) for method in ("perpcs", "soup"))
        assert (one.value, one.ci, one.targets) == (other.value, other.ci, len(sharers))
        assert one.value is not None
    left = {(c.method, c.attack): c for c in run.record.comparisons if c.baseline == "adapter"}
    assert set(left) == {("perpcs", "loss"), ("soup", "loss")}  # white-box attacks have no merged side
    for (method, name), c in left.items():
        both = [figure(run, method, game, name).value for game in ("heldout", "adapter")]
        assert c.difference == pytest.approx(both[0] - both[1], abs=1e-12)
        assert c.game == "heldout"
    assert "### What sharing leaks" in (run.path / "table.md").read_text(encoding="utf-8")
    assert figure(run, "soup", "adapter", "alignment", "auc_base").value == 0.5  # the base has no update
    assert "reads the factors of one adapter" in figure(run, "soup", "heldout", "gradnorm").reason
    assert figure(run, "soup", "heldout", "loss").value is not None
    stages = [s.stage for s in run.record.times.stages]
    assert [stages.count(f"signals ({name})") for name in ("grad_norm", "alignment")] == [1, 1]


def test_stored_runs_get_the_signals_later(quick: Callable[..., Run], tmp_path: Path) -> None:
    words = {"games": "heldout,adapter", "sets": ["heldout=0.4"], "cache": tmp_path / "cache"}
    before = quick("soup", attacks="loss", **words)
    later = attack(before.path, f"loss,{WHITE}", cache=tmp_path / "cache", quiet=True)
    whole = quick("soup", attacks=f"loss,{WHITE}", out=tmp_path / "whole", **words)
    for name in ("loss", "gradnorm", "alignment"):
        for game in ("heldout", "adapter"):
            one, other = figure(later, "soup", game, name), figure(whole, "soup", game, name)
            assert (one.value, one.ci, one.reason) == (other.value, other.ci, other.reason)
    again = attack(
        before.path, WHITE, games="adapter", out=tmp_path / "stored", quiet=True
    )  # no cache: stored now
    assert (
        figure(again, "soup", "adapter", "gradnorm").value
        == figure(whole, "soup", "adapter", "gradnorm").value
    )


def test_chunks_of_targets_share_the_pass(quick: Callable[..., Run], tmp_path: Path) -> None:
    words = {"games": "adapter", "attacks": f"loss,{WHITE}"}
    whole = quick("soup", **words)
    split = quick("soup", out=tmp_path / "split", sets=["chunk=1"], **words)
    for name in ("loss", "gradnorm", "alignment"):
        assert figure(whole, "soup", "adapter", name) == figure(split, "soup", "adapter", name)
    assert [s.stage for s in split.record.times.stages].count("signals (alignment)") == 1


@pytest.mark.parametrize("name", ["gradnorm", "alignment"])
def test_they_are_undefined_where_no_single_adapter_is_queried(quick: Callable[..., Run], name: str) -> None:
    run = quick("soup", games="paper,target", attacks=name)
    assert {r.value for r in run.record.results if r.game} == {None}
