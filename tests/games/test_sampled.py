"""``nonmember_items``: whole runs whose paper game samples its non-members, and what is not asked then."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prime_audit import Run
from prime_audit.calibration.calibrate import calibrate
from prime_audit.errors import UserError
from prime_audit.games.exam.stored import Exam, read_exam
from prime_audit.plan.plan import make_plan
from prime_audit.runs.rescore import attack

EACH = 2
MANY = "loss,lira_offline,lira_online,user_level"


def asked(exam: Exam, kind: str) -> dict[tuple[str, str], set[int]]:
    """List the rows that each model was asked for, by (method, target)."""
    return {
        (str(p.method), target): {n for n, row in enumerate(seen.logprobs) if len(row)}
        for p in exam.passes
        if p.kind == kind and p.method is not None
        for target, seen in p.seen.items()
    }


def in_play(run: Run, exam: Exam, games: tuple[str, ...]) -> dict[tuple[str, str], set[int]]:
    place, found = {name: n for n, name in enumerate(exam.pools["sharers"].ids)}, dict[Any, set[int]]()
    for row in run.scores():
        if row["game"] in games:
            found.setdefault((row["method"], row["target"]), set()).add(place[row["item"]])
    return found


def leakage(run: Run) -> list[Any]:
    content = json.loads((run.path / "record.json").read_text(encoding="utf-8"))
    auc = [r for r in content["results"] if r["metric"].startswith("auc")]
    return [auc, content["leaks"], [c for c in content["comparisons"] if c["metric"].startswith("auc")]]


def scored(run: Run, **which: str) -> dict[str, set[str]]:
    """List each sharer's items of a game."""
    found: dict[str, set[str]] = {}
    for row in run.scores():
        if all(row[key] == value for key, value in which.items()):
            found.setdefault(row["sharer"], set()).add(row["item"])
    return found


def requests(run: Run, stage: str) -> int:
    return sum(c.requests for c in run.record.costs if c.stage.endswith(stage))


@pytest.mark.slow
def test_a_run_that_samples_its_non_members(quick: Callable[..., Run], tmp_path: Path) -> None:
    sets = ["heldout=0.4", f"nonmember_items={EACH}"]
    words: dict[str, Any] = {"games": "paper,heldout,inclusion", "cache": tmp_path / "cache"}
    run = quick("perpcs,prime", sets=sets, attacks=MANY, **words)
    full = quick("perpcs,prime", sets=sets[:1], attacks=MANY, out=tmp_path / "full", **words)
    check_what_was_asked(run, full)
    check_what_is_in_play(run)
    # The games that draw their members are those of the full run, for attacks that read no other target's model.
    for game in ("heldout", "inclusion"):
        both = [{(x.method, x.attack): x for x in r.record.leaks if x.game == game} for r in (run, full)]
        for name in ("perpcs", "prime"):
            ours, theirs = (leaks[name, "loss"] for leaks in both)
            assert ours.auc == pytest.approx(theirs.auc, abs=1e-9)
            assert (ours.members, ours.others) == (theirs.members, theirs.others)
    # What is said of it, and the same again: from the stored signals, and from the models made again.
    assert run.record.spec["settings"]["LaMP-4"]["nonmember_items"] == EACH
    said = [" ".join((r.path / "table.md").read_text(encoding="utf-8").split()) for r in (run, full)]
    assert f"Non-members sampled: {EACH} of each other sharer's items (all of fewer), seed 0; " in said[0]
    assert "Non-members sampled" not in said[1]
    assert leakage(attack(run.path, MANY, quiet=True)) == leakage(run)
    more = "loss,minkpp,lowercase"
    again = attack(run.path, more, cache=tmp_path / "cache", quiet=True)
    straight = quick("perpcs,prime", sets=sets, attacks=more, out=tmp_path / "straight", **words)
    assert leakage(again) == leakage(straight)
    with pytest.raises(UserError, match="its non-members are sampled"):
        calibrate(nulls=1, run=run.path)


def check_what_was_asked(run: Run, full: Run) -> None:
    """Check that models were asked for what their games dealt; the inclusion game never asks more, sampled or not."""
    exam, whole = (read_exam(r.path, "LaMP-4") for r in (run, full))
    rows = set(range(len(exam.pools["sharers"])))
    assert asked(exam, "modules") == in_play(run, exam, ("paper", "heldout"))
    assert all(own == rows for own in asked(whole, "modules").values())
    for one, made in ((exam, run), (whole, full)):
        some = {key: own for key, own in asked(one, "inclusion").items() if own != rows}  # not the base's
        played = in_play(made, one, ("inclusion",))
        assert some
        assert some == {key: played[key] for key in some}
        base = one.base("sharers")
        assert base is not None
        assert all(len(row) for row in base.logprobs)
    assert requests(run, " · signals") < requests(full, " · signals")
    assert requests(run, "signals (base)") == requests(full, "signals (base)") > 0


def check_what_is_in_play(run: Run) -> None:
    """Check for members whole, EACH of every other sharer, the same for every method."""
    exam = read_exam(run.path, "LaMP-4")
    pool, passes = exam.pools["sharers"], [p for p in exam.passes if p.kind == "modules"]
    last = Counter(o for o, inside in zip(pool.owners, pool.last.tolist(), strict=True) if inside)
    merged = {(str(p.method), t): set(own) for p in passes for t, own in p.merged.items() if own}
    items = {(m, t): scored(run, game="paper", method=m, target=t, attack="loss") for m, t in merged}
    for key, own in items.items():
        assert {s: len(names) for s, names in own.items()} == {
            s: n if s in merged[key] else EACH for s, n in last.items()
        }
    for _, target in merged:
        one, other = (items[m, target] for m in ("perpcs", "prime"))
        for sharer in set(last) - merged["perpcs", target] - merged["prime", target]:
            assert one[sharer] == other[sharer]
    for leak in (x for x in run.record.leaks if x.game == "paper"):
        others = [len(last) - len(own) for (m, _), own in merged.items() if m == leak.method]
        assert leak.others == EACH * sum(others)
        assert leak.undefined == 0 or leak.attack == "lira_online"


def test_a_sample_of_all_is_the_run_of_all(quick: Callable[..., Run], tmp_path: Path) -> None:
    run = quick("prime", sets=["nonmember_items=50"], attacks="loss,lira_offline", cache=tmp_path / "cache")
    full = quick("prime", attacks="loss,lira_offline", cache=tmp_path / "cache", out=tmp_path / "full")
    assert leakage(run) == leakage(full)
    assert list(run.scores()) == list(full.scores())
    assert requests(run, " · signals") == requests(full, " · signals")


@pytest.mark.parametrize("value", ["-1", "-50"])
def test_fewer_than_none_are_refused(value: str) -> None:
    with pytest.raises(
        UserError, match=f"nonmember_items={value}: give a finite number, at least 0"
    ) as fault:
        make_plan(methods="prime", overrides=[f"nonmember_items={value}"])
    assert "\n" not in str(fault.value)
    plan = make_plan(methods="prime", tasks="LaMP-2,LaMP-4", overrides=["LaMP-2.nonmember_items=4"])
    assert [plan.settings.get("nonmember_items", t) for t in ("LaMP-2", "LaMP-4")] == [4, 0]
    assert np.isscalar(plan.spec()["settings"]["LaMP-2"]["nonmember_items"])
