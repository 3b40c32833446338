"""``prime-audit plan``: the run rehearsed. It counts what the run then does, sees what is kept, and keeps nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from prime_audit import Run, predict
from prime_audit.errors import UserError
from prime_audit.forecast.rehearsal import KINDS, Line, Rehearsal
from prime_audit.plan.options import options_of

METHODS = "prime,perpcs,oppu,rag"
Key = tuple[str | None, str]
"""(method, stage)."""


def unnoted(lines: Sequence[str]) -> list[str]:
    """Leave out how options were read."""
    return [line for line in lines if not line.startswith("note: ")]


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
    monkeypatch.setattr("prime_audit.forecast.speed.Probe._measured", lambda *_: line)


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


def test_what_two_methods_ask_alike_is_paid_for_once(
    quick: Callable[..., Run], words: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So slow that what really takes time here does not count.
    monkeypatch.setattr("prime_audit.forecast.speed.Probe._measured", lambda *_: Line(1e4, 0.0))
    both, games, longer = "prime:alpha=0.5,prime:alpha=0.7", "inclusion", "prime.budget=18"
    words["overrides"] = [*words["overrides"], longer]
    found = predict(both, cache=tmp_path / "cache", games=games, **words)
    cost = {(c.method, c.stage): c for c in quick(both, sets=[longer], games=games).record.costs}
    searches = {w.method: w for w in found.work if w.stage == "search"}
    assert {m: w.kept for m, w in searches.items()} == {"prime:alpha=0.5": "no", "prime:alpha=0.7": "part"}
    assert all(w.requests == cost[m, "search"].requests for m, w in searches.items())
    alone = predict(both, cache=None, games=games, **words)
    first, second = ([w.seconds for w in f.work if w.stage == "search"] for f in (found, alone))
    assert first[0] == pytest.approx(second[0], rel=0.01)
    # The first population is asked once; what follows depends on its answers and on α.
    assert 0.2 * second[1] < first[1] < 0.9 * second[1]


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
    common += ["--preset", "laptop"]
    common += ["--methods", "np", "--games", "", "--cache", str(tmp_path / "c")]
    said = say("plan", *common)
    assert said.code == 0, said.err
    assert "embed" in said.out
    assert "of memory" in said.out.splitlines()[-1]
    # Who shares comes first; what takes half a minute is said.
    *outlook, reading, rehearsing, told = unnoted(said.err.splitlines())
    assert outlook[0].startswith("LaMP-4: sharers: ")
    assert reading == f"reading {words['model']}"
    assert told.startswith("measuring this machine's speeds")
    again = say("plan", *common, "--json")
    assert unnoted(again.err.splitlines()) == [*outlook, reading, rehearsing]
    found = json.loads(again.out)
    assert found["outlook"] == outlook
    assert {w["stage"] for w in found["work"]} >= {"load model", "embed", "adapt", "answer"}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List the kinds of work that are measured; none is."""
    from prime_audit.forecast.speed import Probe

    kinds = list[str]()

    def counted(_: Probe, kind: str) -> Line:
        kinds.append(kind)
        return Line(1e-3, 1e-5)

    monkeypatch.setattr(Probe, "_measured", counted)
    return kinds


def test_what_cannot_be_kept_is_measured_once_all_the_same(
    words: dict[str, Any], tmp_path: Path, measured: list[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    told: list[str] = []
    predict("np", cache=tmp_path / "file", games="", tell=told.append, **words)
    assert sorted(measured) == sorted(set(measured))
    predict("np", cache=None, games="", tell=told.append, **words)
    assert sum(line.startswith("measuring") for line in told) == 2


def test_what_the_run_refuses_is_refused_before_anything_is_measured(
    say: Callable[..., Any],
    quick: Callable[..., Run],
    words: dict[str, Any],
    tmp_path: Path,
    measured: list[str],
) -> None:
    sets = [w for pair in words["overrides"] for w in ("--set", pair)]
    common = ["--tasks", "LaMP-4", "--data", words["data"], *sets, "--games", "", "--cache", tmp_path / "c"]
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    other = quick("np", seed=1).path
    for more, why in (
        (["--methods", "np", "--model", tmp_path / "broken"], "broken"),
        (["--methods", "np", "--model", "./nowhere"], "no such"),
        (["--methods", "prime:k=999", "--model", words["model"]], "lower k"),
        (["--methods", "np", "--model", words["model"], "--out", other], "holds another run"),
    ):
        said = say("plan", *common, *more)
        assert said.code == 2, said
        assert why in said.err
    assert measured == []


def test_what_would_fail_is_said_before_anything_is_measured(
    words: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prime_audit.forecast.speed import Probe

    plugin = tmp_path / "falls.py"
    plugin.write_text(
        "from prime_audit.plugins import method\n\n\n"
        "@method(source='ours')\ndef personalise(scene):\n    raise ValueError('too warm')\n"
    )
    told = list[str]()

    def late(_: Probe, kind: str) -> Line:
        told.append(kind)
        return Line(1e-3, 1e-5)

    monkeypatch.setattr(Probe, "_measured", late)
    found = predict("falls", plugins=[plugin], cache=None, games="", tell=told.append, **words)
    assert len(found.failures) == 1
    failing, measuring, *kinds = unnoted(told)[len(found.outlook) + 2 :]  # reading, rehearsing
    assert failing.startswith("would fail: ")
    assert "too warm" in failing
    assert measuring.startswith("measuring")
    assert kinds


def test_a_busy_measurement_is_made_again(
    words: dict[str, Any], tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prime_audit.io.cores import Others

    def plan(**more: Any) -> tuple[int, list[str]]:
        measured.clear()
        told: list[str] = []
        predict("np", cache=tmp_path / "c", games="", tell=told.append, **words, **more)
        known = ("LaMP-4: ", "reading ", "rehearsing ")
        return len(measured), [line for line in unnoted(told) if not line.startswith(known)]

    with monkeypatch.context() as patched:
        patched.setattr(Others, "cores", lambda _: 99.0)
        first, told = plan()
        assert first > 0
        assert told[-1].startswith("other processes used 99.0 of ")
    assert plan()[0] == first
    assert plan() == (0, [])
    assert plan(remeasure=True)[0] == first
    assert plan() == (0, [])
    predict("perpcs", cache=tmp_path / "c", games="", **words)
    assert sorted(measured) == ["assemble", "gates"]  # what else it needs is known


@pytest.mark.usefixtures("speeds_known")
def test_it_takes_every_option_of_compare(
    words: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {row.name for row in options_of("compare")} <= {row.name for row in options_of("plan")}
    alone = predict(METHODS, cache=None, **words)
    monkeypatch.setattr("prime_audit.runs.executors.available", lambda: 4)
    seen = list[int]()

    def noted(*_: object) -> tuple[int, None]:
        seen.append(torch.get_num_threads())
        return 1, None

    monkeypatch.setattr("prime_audit.forecast.forecast._memory", noted)
    words["overrides"] = [*words["overrides"], "chunk=1"]
    shared = predict(METHODS, cache=None, executor="ray", workers=2, out=tmp_path / "out", **words)
    assert seen == [2]
    assert shared.seconds < sum(w.seconds for w in shared.work)
    assert alone.seconds == pytest.approx(sum(w.seconds for w in alone.work), abs=0.1)
    with pytest.raises(UserError, match="needs --executor ray"):
        predict("np", cache=None, workers=2, **words)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("speeds_known")
def test_bfloat16_is_recommended_where_it_is_multiplied_natively(
    words: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(**more: Any) -> int:
        lines: list[str] = []
        predict("np", cache=None, games="", tell=lines.append, **words, **more)
        return sum("--dtype bfloat16" in line for line in lines)

    place = "prime_audit.forecast.forecast."
    monkeypatch.setattr(f"{place}multiplies_natively", lambda _: True)
    assert told() == 0  # this model's layers are far narrower than what is timed
    monkeypatch.setattr(f"{place}SIZES", (1, 1, 1))
    assert told() == 1
    assert told(dtype="bfloat16") == 0
    monkeypatch.setattr(f"{place}multiplies_natively", lambda _: False)
    assert told() == 0


@pytest.mark.slow
def test_measured_speeds_are_those_of_passes(
    llama_folder: Path, words: dict[str, Any], tmp_path: Path
) -> None:
    found = predict(METHODS, cache=tmp_path / "c", **words)
    kept = {p.name for p in (tmp_path / "c" / "speeds").glob("??/*") if p.is_dir()}
    assert len(kept) == len(KINDS)
    assert all(w.seconds > 0 for w in found.work if w.requests)


def test_lines_are_fitted_and_never_fall() -> None:
    assert Line.through((2, 1.0), (10, 5.0)) == Line(0.0, 0.5)
    assert Line.through((2, 3.0), (10, 1.0)) == Line(3.0, 0.0)
    counted = Rehearsal()
    counted.decode(10, [3, 1, 2], 8)  # one reading of 30 tokens, then steps of 2 rows and of 1
    assert counted.done.seconds(dict.fromkeys(KINDS, Line(1.0, 0.5))) == (1 + 15) + (1 + 1) + (1 + 0.5)
    assert counted.largest == {"read": 30, "generate": 54, "write": 2}
