"""``prime-audit plan``: the run rehearsed. It counts what the run then does, sees what is kept, and keeps nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from prime_audit import Run, predict
from prime_audit.errors import UserError
from prime_audit.forecast.rehearsal import KINDS, Line, Rehearsal

METHODS = "prime,perpcs,oppu,rag"
Key = tuple[str | None, str]
"""(method, stage)."""


@pytest.fixture
def words(small_data: Callable[[str], Path], small: Sequence[str], llama_folder: Path) -> dict[str, Any]:
    """Say what ``quick`` runs, as words of ``predict``."""
    return {
        "tasks": "LaMP-4",
        "data": str(small_data("LaMP-4")),
        "overrides": list(small),
        "model": str(llama_folder),
    }


@pytest.fixture
def speeds_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure nothing."""
    line = Line(1e-3, 1e-5)
    monkeypatch.setattr("prime_audit.forecast.speed._Probe.measure", lambda _: dict.fromkeys(KINDS, line))


@pytest.mark.usefixtures("speeds_known")
def test_it_counts_what_the_run_does(
    quick: Callable[..., Run], words: dict[str, Any], tmp_path: Path
) -> None:
    games = "paper,heldout,target"
    found = predict(METHODS, cache=tmp_path / "cache", games=games, **words)
    assert not list((tmp_path / "cache").glob("??"))  # nothing is kept but the speeds
    run = quick(METHODS, games=games)
    told, done = Counter[Key](), Counter[Key]()
    for work in found.work:
        told[work.method, work.stage] += work.requests
        assert work.kept in ("no", "–")
    for cost in run.record.costs:
        done[cost.method, cost.stage] += cost.requests
    # Who shares is decided by embeddings, which a rehearsal makes up: what depends on nothing else is exact.
    exact = [key for key in done if key[1] in ("embed", "adapt", "own adapters", "answer", "search")]
    assert len(exact) >= 8
    assert {key: told[key] for key in exact} == {key: done[key] for key in exact}
    for key, requests in done.items():
        assert told[key] == pytest.approx(requests, rel=0.5), key
    assert found.seconds == pytest.approx(sum(w.seconds for w in found.work), abs=0.1)
    assert found.memory_bytes > 10**8


@pytest.mark.usefixtures("speeds_known")
def test_it_sees_what_is_kept(quick: Callable[..., Run], words: dict[str, Any], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    quick("prime", cache=cache)
    before = sorted(p for p in cache.rglob("*") if "speeds" not in p.parts)
    found = predict("prime", cache=cache, **words)
    asked = [w for w in found.work if w.requests]
    assert asked
    assert {w.kept for w in asked} == {"yes"}
    # Another α asks the same first population, and goes its own way from there.
    kept = {w.stage: w.kept for w in predict("prime:alpha=0.7", cache=cache, **words).work if w.requests}
    assert kept["search"] in ("part", "yes")
    assert kept["share"] == "yes"
    assert sorted(p for p in cache.rglob("*") if "speeds" not in p.parts) == before


def test_the_command_prints_stages_and_a_line(
    say: Callable[..., Any], words: dict[str, Any], tmp_path: Path
) -> None:
    sets = [w for pair in words["overrides"] for w in ("--set", pair)]
    common = ["--tasks", "LaMP-4", "--data", words["data"], "--model", words["model"], *sets]
    common += ["--methods", "np", "--games", "", "--cache", str(tmp_path / "c")]
    said = say("plan", *common)
    assert said.code == 0, said.err
    assert "embed" in said.out
    assert "of memory" in said.out.splitlines()[-1]
    (told,) = said.err.splitlines()  # what takes half a minute is said, and where it is known nothing is
    assert told.startswith("measuring this machine's speeds")
    assert told.endswith("cached for the next time")
    again = say("plan", *common, "--json")
    assert again.err == ""
    found = json.loads(again.out)
    assert {w["stage"] for w in found["work"]} >= {"load model", "embed", "adapt", "answer"}


def test_what_cannot_be_kept_is_measured_once_all_the_same(
    words: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prime_audit.forecast import speed

    times = list[int]()

    def counted(self: Any) -> Any:
        times.append(1)
        return dict.fromkeys(KINDS, Line(1e-3, 1e-5))

    monkeypatch.setattr(speed._Probe, "measure", counted)
    (tmp_path / "file").write_text("no folder")
    told: list[str] = []
    predict("np", cache=tmp_path / "file", games="", tell=told.append, **words)
    predict("np", cache=None, games="", tell=told.append, **words)
    assert len(times) == len(told) == 2
    assert not [line for line in told if "cached" in line]


@pytest.mark.usefixtures("speeds_known")
def test_what_the_run_refuses_it_refuses(words: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lower k"):
        predict("prime:k=999", cache=None, **words)
    with pytest.raises(UserError, match="no such"):
        predict("np", cache=None, **{**words, "model": "./nowhere"})


def test_lines_are_fitted_and_never_fall() -> None:
    assert Line.through((2, 1.0), (10, 5.0)) == Line(0.0, 0.5)
    assert Line.through((2, 3.0), (10, 1.0)) == Line(3.0, 0.0)
    counted = Rehearsal(dict.fromkeys(KINDS, Line(1.0, 0.5)))
    counted.decode(10, [3, 1, 2], 8)  # one reading of 30 tokens, then steps of 2 rows and of 1
    assert counted.seconds == (1 + 15) + (1 + 1) + (1 + 0.5)
    assert counted.largest == {"read": 30, "generate": 54, "write": 2}
