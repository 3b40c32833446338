"""Cells: what a run is made of, and what a cluster can carry; chunked or not, whoever does it, the same figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prime_audit.community.store import Store
from prime_audit.engine.mixture import Spent
from prime_audit.folder import Run
from prime_audit.plan.plan import make_plan
from prime_audit.runs.cells import cells_of
from prime_audit.runs.ledger import Ledger

METHODS = "np,perpcs,prime+rag,prime,oppu"
GAMES = "paper,heldout,inclusion,target"


def settled(run: Run) -> dict[str, Any]:
    """Return a record without what tells chunked runs apart by design: the setting itself, and costs by stage."""
    content = json.loads((run.path / "record.json").read_text(encoding="utf-8"))
    for key in ("times", "command", "costs"):
        content.pop(key)
    content["spec"].pop("overrides")
    for own in content["spec"]["settings"].values():
        own.pop("chunk")
    return dict(content)


@pytest.fixture
def planned(
    small_data: Callable[[str], Path], small: Sequence[str], llama_folder: Path
) -> Callable[..., Any]:
    from prime_audit.runs.perform import open_all

    def make(*sets: str, methods: str = METHODS) -> Any:
        plan = make_plan(
            methods=methods,
            tasks="LaMP-3",
            data=str(small_data("LaMP-3")),
            model=str(llama_folder),
            overrides=[*small, *sets],
            games=GAMES,
        )
        return plan, open_all(plan)

    return make


def test_cells_are_every_core_and_chunk_once_in_order(planned: Callable[..., Any]) -> None:
    plan, datasets = planned("chunk=2")
    cells = cells_of(plan, datasets)
    ids = [u.id for u in datasets["LaMP-3"].targets]
    assert [(c.core, c.chunk) for c in cells] == [
        (core, n) for core in ("np", "perpcs", "prime", "oppu") for n in (0, 1)
    ]
    for core in ("np", "perpcs", "prime", "oppu"):
        assert [t for c in cells if c.core == core for t in c.targets] == ids
    whole = cells_of(*planned())
    assert [c.targets for c in whole] == [tuple(ids)] * 4
    assert [c.chunk for c in whole] == [0] * 4
    ranked = sorted(cells, key=lambda c: -c.weight)
    assert {c.core for c in ranked[:2]} == {"prime"}  # its budget reads the history again and again


def test_a_chunked_run_gives_the_same_figures_and_the_same_bytes_again(
    quick: Callable[..., Run], tmp_path: Path, content: Callable[[Run], dict[str, Any]]
) -> None:
    words = {"task": "LaMP-3", "games": GAMES}
    whole = quick(METHODS, **words)
    parts = quick(METHODS, sets=["chunk=2"], out=tmp_path / "parts", **words)
    again = quick(METHODS, sets=["chunk=2"], out=tmp_path / "again", **words)
    assert content(parts) == content(again)
    for name in ("scores.jsonl", "models.jsonl", "predictions.jsonl", "table.md"):
        assert (parts.path / name).read_bytes() == (again.path / name).read_bytes(), name
    assert list(parts.predictions()) == list(whole.predictions())
    one, other = list(whole.scores()), list(parts.scores())
    assert [{**row, "score": 0} for row in one] == [{**row, "score": 0} for row in other]
    np.testing.assert_allclose([r["score"] for r in one], [r["score"] for r in other], atol=1e-4)
    figures = ("results", "comparisons", "leaks")  # of scores that differ in last bits
    some = [{k: v for k, v in settled(run).items() if k not in figures} for run in (whole, parts)]
    for one in some:  # who is trained beside whom differs: so do last bits of targets' own adapters
        adapters = one["community"]["LaMP-3"].pop("adapters")
        one["sharers"] = {name: own for name, own in adapters.items() if name.startswith("sharer:")}
    assert some[0] == some[1]
    for a, b in zip(whole.record.results, parts.record.results, strict=True):
        assert replace(a, value=None, ci=None) == replace(b, value=None, ci=None)
        assert a.value == pytest.approx(b.value, abs=0 if a.game is None else 0.02)
    total = [
        {k: sum(c[k] for c in json.loads(json.dumps(run.record.to_json()))["costs"]) for k in ("requests",)}
        for run in (whole, parts)
    ]
    assert total[0] == total[1]  # gates and adapters are trained once, however many chunks ask for them


def test_a_run_finds_kept_what_workers_carried_out(
    quick: Callable[..., Run],
    planned: Callable[..., Any],
    tmp_path: Path,
    content: Callable[[Run], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from prime_audit.runs.worker import Worker

    plan, datasets = planned("chunk=2")
    words = {"task": "LaMP-3", "games": GAMES, "sets": ["chunk=2"]}
    alone = quick(METHODS, **words, out=tmp_path / "alone")
    cells = cells_of(plan, datasets)
    for some in (cells[1::2], cells[::2][::-1]):  # two workers, in an order of their own
        worker = Worker.of(plan, datasets, Store(tmp_path / "cache", Spent()), Ledger(quiet=True))
        for cell in some:
            assert worker.carry_out(cell) == []
    for name in ("_generate", "_observe"):
        monkeypatch.setattr(
            f"prime_audit.engine.engine.Engine.{name}", lambda *_: pytest.fail("not kept: a model was asked")
        )
    monkeypatch.setattr(
        "prime_audit.community.training.train_adapters", lambda *_, **__: pytest.fail("trained")
    )
    monkeypatch.setattr("prime_audit.community.training.train_gates", lambda *_, **__: pytest.fail("trained"))
    run = quick(METHODS, **words, out=tmp_path / "run", cache=tmp_path / "cache")
    assert content(run) == content(alone)
    assert list(run.scores()) == list(alone.scores())


def test_a_worker_whose_preparation_failed_prepares_again(
    planned: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prime_audit.community.build import Community
    from prime_audit.runs.worker import Worker

    plan, datasets = planned(methods="np")
    worker = Worker.of(plan, datasets, Store(tmp_path, Spent()), Ledger(quiet=True))
    with monkeypatch.context() as patch:
        patch.setattr(Community, "adapt", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            worker.prepare("LaMP-3")
    (cell,) = cells_of(plan, datasets)
    assert worker.carry_out(cell) == []
