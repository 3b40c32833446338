"""Soup, nearest, TIES, DARE and PriME over a trimmed bank, in runs: members, games, fronts, tasks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prime_audit import Run
from prime_audit.errors import UserError
from prime_audit.lamp.tasks import TASKS
from prime_audit.lamp.world.world import SIMULATED

MERGING = (
    *("soup", "soup:k=0,merge=factor", "nearest", "ties", "ties:space=factor", "dare"),
    *("dare:elect=true,space=delta", "prime:trim=ties,density=0.2", "prime:merge=factor,trim=dare"),
    *(
        "core",
        "core:variant=tsv",
        "mta",
        "random",
        "random:of=nearest",
        "random:of=prime",
        "random:of=core",
        "random:of=mta",
    ),
)
K = {"soup:k=0,merge=factor": 4, "nearest": 1, "random:of=nearest": 1}
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
        merged -= {name for name in merged if "mta:" in name}
        assert merged == {f"sharer:{s}" for s in model["sharers"]}
        assert not set(made_of) & trained
        assert bool(made_of) == any(word in model["method"] for word in ("ties", "dare", "core", "random"))
    played = {(r.method, r.game) for r in run.record.results if r.metric == "auc" and r.value is not None}
    assert played >= {(m, game) for m in MERGING for game in ("heldout", "inclusion")}
    assert played >= {
        (m, "paper") for m in MERGING if K.get(m) != 4
    }  # who merges everybody has no non-members


def test_models_of_the_inclusion_game_merge_whom_the_coins_include(
    quick: Callable[..., Run], words: dict[str, Any]
) -> None:
    run = quick("ties,dare,prime:trim=ties,core,mta,random", **words)
    again = [m for m in models(run) if m.get("game") == "inclusion"]
    assert {m["method"] for m in again} == {"ties", "dare", "prime:trim=ties", "core", "mta", "random"}
    own = {m["target"]: m["sharers"] for m in again if m["method"] == "ties"}
    for model in again:  # the coins are the same for every method; PriME's search may end at a weight of 0
        merged, theirs = model["sharers"], own[model["target"]]
        assert set(merged) <= set(theirs) if "prime" in model["method"] else merged == theirs
    assert any(
        own[m["target"]] != m["sharers"] for m in models(run) if "game" not in m and m["target"] in own
    )
    assert not [r for r in run.record.results if r.reason and "did not include" in r.reason]


def test_the_same_seed_gives_the_same_bytes(quick: Callable[..., Run], tmp_path: Path) -> None:
    methods = "ties,dare,dare:elect=true,prime:trim=dare,core,mta,random,random:of=prime"
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


def test_random_adapters_have_the_norms_of_the_sharers_and_the_weights_of_the_merge(
    quick: Callable[..., Run], tmp_path: Path
) -> None:
    from prime_audit.engine.adapters import load_adapter

    cache = tmp_path / "cache"
    run = quick(
        "random,random:of=nearest,soup,nearest,mta,random:of=ties+rag,random:of=prime,random:of=mta",
        cache=cache,
    )
    labels = list(run.record.methods)
    assert labels == ["np", "soup", "nearest", "mta", *(m for m in labels if m.startswith("random"))]
    assert run.record.plugins["method random"]["control"].endswith("no merit of sharing")
    (note,) = (n for n in (run.path / "table.md").read_text("utf-8").splitlines() if "control; " in n)
    assert note.startswith(
        "* random, random:of=nearest, random:of=ties+rag, random:of=prime, random:of=mta: control; "
    )
    known = run.record.community["LaMP-4"]["adapters"]
    rows = {(m["method"], m["target"]): m for m in models(run)}

    def factors(name: str) -> list[tuple[Any, Any]]:
        adapter = load_adapter(cache / known[name]["place"])
        return [(a.double(), b.double()) for a, b in zip(adapter.A, adapter.B, strict=True)]

    for (method, target), row in rows.items():
        imitated = {"random": "soup", "random:of=nearest": "nearest"}.get(method)
        if imitated is None:
            continue
        real = rows[imitated, target]
        assert (row["sharers"], row["weights"], row["rule"]) == (
            real["sharers"],
            real["weights"],
            real["rule"],
        )
        for name, own in zip(row["adapters"], real["adapters"], strict=True):
            assert row["made_of"][name] == [own]
            for (a, b), (x, y) in zip(factors(name), factors(own), strict=True):
                assert float(a.norm()) == pytest.approx(float(x.norm()), rel=1e-5)
                assert float((b @ a).norm()) == pytest.approx(float((y @ x).norm()), rel=1e-5)
                assert abs(float((b @ a).flatten() @ (y @ x).flatten())) < 0.5 * float((y @ x).norm() ** 2)
    for (method, target), row in rows.items():
        if method == "random:of=mta":
            *_, (own, top) = zip(row["adapters"], rows["mta", target]["adapters"], strict=True)
            assert own == f"random:{top}"
            assert row["weights"] == rows["mta", target]["weights"]
            assert known[own]["sha256"] != known[top]["sha256"]  # trained on top of other adapters
    searched = [row for (method, _), row in rows.items() if method == "random:of=prime"]
    assert all({n.partition(":")[0] for n in row["adapters"]} == {"random"} for row in searched)
    assert all(len(row["notes"]["trace"]) == 5 for row in searched)  # a search of its own


def test_the_lora_on_top_is_thin_and_the_rest_is_weighted_by_similarity(
    quick: Callable[..., Run], tmp_path: Path
) -> None:
    from prime_audit.engine.adapters import load_adapter

    cache = tmp_path / "cache"
    run = quick("mta:rank=1", cache=cache)
    community = run.record.community["LaMP-4"]
    ids = [s["user"] for s in community["sharers"]]
    for row in (m for m in models(run) if m["method"] == "mta:rank=1"):
        *sharers, own = row["adapters"]
        cosines = [community["similarity"][row["target"]][ids.index(s)] for s in row["sharers"]]
        assert sharers == [f"sharer:{s}" for s in row["sharers"]]
        assert row["weights"] == pytest.approx([*(c / sum(cosines) for c in cosines), 1.0])
        top = load_adapter(cache / community["adapters"][own]["place"])
        assert (top.rank, top.scaling) == (
            1,
            load_adapter(cache / community["adapters"][sharers[0]]["place"]).scaling,
        )


def test_a_lora_on_top_is_not_wider_than_the_sharers(quick: Callable[..., Run]) -> None:
    with pytest.raises(UserError, match="mta:rank=3: the sharers' adapters have rank 2; pass at most that"):
        quick("mta:rank=3")


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
