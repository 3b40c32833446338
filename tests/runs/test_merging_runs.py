"""Soup, nearest, TIES, DARE and PriME over a trimmed bank, in runs: members, games, fronts, tasks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prime_audit import Run
from prime_audit.lamp.tasks import TASKS
from prime_audit.lamp.world.world import SIMULATED

MERGING = (
    *("soup", "soup:k=0,merge=factor", "nearest", "ties", "ties:space=factor", "dare"),
    *("dare:elect=true,space=delta", "prime:trim=ties,density=0.2", "prime:merge=factor,trim=dare"),
)
K = {"soup:k=0,merge=factor": 4, "nearest": 1}
"""Sharers merged, where it is not the two of ``prime.k``."""


def models(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "models.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def words() -> dict[str, Any]:
    return {"games": "paper,heldout,inclusion", "attacks": "loss_mean"}


def test_members_are_the_most_similar_sharers_and_nobody_else(
    quick: Callable[..., Run], words: dict[str, Any]
) -> None:
    run = quick(",".join(MERGING), **words)
    sharers = [s["user"] for s in run.record.community["LaMP-4"]["sharers"]]
    similarity = run.record.community["LaMP-4"]["similarity"]
    trained = {f"sharer:{s}" for s in sharers}
    first = [m for m in models(run) if m["method"] in MERGING and "game" not in m]
    assert len(first) == 3 * len(MERGING)
    for model in first:
        order = sorted(sharers, key=lambda s: -similarity[model["target"]][sharers.index(s)])
        assert model["sharers"] == order[: K.get(model["method"], 2)]
        made_of = model.get("made_of", {})
        merged = {n for name in model["adapters"] for n in made_of.get(name, [name])}
        assert merged == {f"sharer:{s}" for s in model["sharers"]}
        assert not set(made_of) & trained
        assert bool(made_of) == any(word in model["method"] for word in ("ties", "dare"))
    played = {(r.method, r.game) for r in run.record.results if r.metric == "auc" and r.value is not None}
    assert played >= {(m, game) for m in MERGING for game in ("heldout", "inclusion")}
    assert played >= {
        (m, "paper") for m in MERGING if K.get(m) != 4
    }  # who merges everybody has no non-members


def test_models_of_the_inclusion_game_merge_whom_the_coins_include(
    quick: Callable[..., Run], words: dict[str, Any]
) -> None:
    run = quick("ties,dare,prime:trim=ties", **words)
    again = [m for m in models(run) if m.get("game") == "inclusion"]
    assert {m["method"] for m in again} == {"ties", "dare", "prime:trim=ties"}
    own = {m["target"]: m["sharers"] for m in again if m["method"] == "ties"}
    for model in again:  # the coins are the same for every method; PriME's search may end at a weight of 0
        merged, theirs = model["sharers"], own[model["target"]]
        assert set(merged) <= set(theirs) if "prime" in model["method"] else merged == theirs
    assert any(
        own[m["target"]] != m["sharers"] for m in models(run) if "game" not in m and m["target"] in own
    )
    assert not [r for r in run.record.results if r.reason and "did not include" in r.reason]


def test_the_same_seed_gives_the_same_bytes(quick: Callable[..., Run], tmp_path: Path) -> None:
    methods = "ties,dare,dare:elect=true,prime:trim=dare"
    one, two, other = (
        quick(methods, seed=seed, out=tmp_path / name)
        for name, seed in (("one", 3), ("two", 3), ("other", 4))
    )
    for file in ("models.jsonl", "predictions.jsonl", "scores.jsonl"):
        assert (one.path / file).read_bytes() == (two.path / file).read_bytes()
    assert (one.path / "models.jsonl").read_bytes() != (other.path / "models.jsonl").read_bytes()


def test_prime_over_a_bank_of_which_nothing_is_trimmed_is_prime(quick: Callable[..., Run]) -> None:
    """Factors that keep everything are the same numbers, and so is all that is found with them."""
    trimmed = [f"prime:alpha=0.5,merge=factor,trim={how},density=1" for how in ("ties", "dare")]
    run = quick(",".join(["prime:alpha=0.5,merge=factor", *trimmed, trimmed[1].replace("=1", "=0.1")]))
    plain, ties, dare, less = (
        {m["target"]: m for m in models(run) if m["method"] == label}
        for label in run.record.spec["methods"][1:]
    )
    assert all(m["adapters"] == [f"sharer:{s}" for s in m["sharers"]] for m in plain.values())
    for target, model in plain.items():
        assert ties[target]["notes"] == dare[target]["notes"] == model["notes"]
        assert not set(ties[target]["adapters"]) & set(model["adapters"])
    values = {r.method: r.value for r in run.record.results if r.metric == "rouge-1"}
    assert len({values[label] for label in run.record.spec["methods"][1:4]}) == 1
    assert less.keys() == plain.keys()


@pytest.mark.slow
@pytest.mark.parametrize("task", list(SIMULATED))
def test_every_task_and_every_front(quick: Callable[..., Run], task: str) -> None:
    methods = [
        "soup+rag",
        "nearest+pag",
        "ties+rag",
        "dare+pag",
        "prime:trim=ties+rag",
        "prime:trim=dare+pag",
    ]
    run = quick(",".join(methods), task=task, games="paper,target,inclusion")
    found = {(r.method, r.metric) for r in run.record.results if r.value is not None}
    assert found >= {(m, metric) for m in methods for metric in TASKS[task].metrics}
    refused = {r.reason for r in run.record.results if r.method in methods and r.game == "inclusion"}
    assert not [why for why in refused if why and ("merges nobody" in why or "did not include" in why)]
