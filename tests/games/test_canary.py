"""Runs with canaries: who sees them, what is reported of them, and what stays as it was without them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prime_audit import Run
from prime_audit.community import training
from prime_audit.errors import UserError
from prime_audit.games.exam.stored import read_exam
from prime_audit.plan.plan import make_plan
from prime_audit.plugins import Audited
from prime_audit.plugins.calling import dealt_of
from prime_audit.plugins.loading import load_game
from prime_audit.record import record_from_json
from prime_audit.runs import canaries
from prime_audit.runs.rescore import attack

TASK, COUNT, SHARERS = "LaMP-2", 12, 6
SETS = [f"clusters={SHARERS}", "heldout=0.4"]


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, str]]]:
    """(owner, text) of everything that is trained on, embedded or generated from, by what does it."""
    from prime_audit.engine.embed import Encoder
    from prime_audit.engine.engine import Engine

    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    train, gates, embed, generate = (
        training.train_adapters,
        training.train_gates,
        Encoder.embed,
        Engine.generate,
    )

    def take(kind: str, jobs: Any) -> None:
        found[kind] += [(job.owner, f"{p} {g}") for job in jobs for p, g in job.examples]

    def trains(base: Any, jobs: Any, *rest: Any, **more: Any) -> Any:
        take("adapters", jobs)
        return train(base, jobs, *rest, **more)

    def gated(base: Any, bank: Any, jobs: Any, *rest: Any, **more: Any) -> Any:
        take("gates", jobs)
        return gates(base, bank, jobs, *rest, **more)

    def embeds(self: Any, rows: Sequence[str], *rest: Any) -> Any:
        found["embedded"] += [("", row) for row in rows]
        return embed(self, rows, *rest)

    def generates(self: Any, requests: Any, *rest: Any) -> Any:
        found["prompts"] += [("", r.prompt) for r in requests]
        return generate(self, requests, *rest)

    monkeypatch.setattr(training, "train_adapters", trains)
    monkeypatch.setattr(training, "train_gates", gated)
    monkeypatch.setattr(Encoder, "embed", embeds)
    monkeypatch.setattr(Engine, "generate", generates)
    return found


@pytest.mark.slow
def test_a_run_with_canaries(
    quick: Callable[..., Run], texts: dict[str, list[tuple[str, str]]], tmp_path: Path
) -> None:
    words: dict[str, Any] = {"task": TASK, "model": "mini", "cache": tmp_path / "cache"}
    words |= {"sets": SETS, "games": "heldout,target"}
    run = quick("rag:k=4,perpcs,prime+pag", canaries=COUNT, **words)
    check_who_sees_them(run, texts)
    check_the_game(run)
    check_the_reports(run)
    again = attack(run.path, "loss", cache=None, quiet=True)
    ours, theirs = ([x for x in r.record.leaks if "canary" in x.game] for r in (run, again))
    assert ours == theirs
    assert {x.game for x in ours} == {"canary", "canary_adapter"}
    assert again.record.exposures == run.record.exposures
    texts.clear()
    plain = quick("rag:k=4,perpcs,prime+pag", **words, out=tmp_path / "plain")
    check_without(run, plain, texts)


def check_who_sees_them(run: Run, texts: dict[str, list[tuple[str, str]]]) -> None:
    pool = read_exam(run.path, TASK).pools["canary items"]
    assert texts.keys() == {"adapters", "gates", "embedded", "prompts"}
    for owner, prompt, gold, trained in zip(
        pool.owners, pool.prompts, pool.golds, pool.trained.tolist(), strict=True
    ):
        who = [o for o, text in texts["adapters"] if f"{prompt} {gold}" in text]
        assert who == ([f"sharer:{owner}"] if trained else [])  # once, though each trains twice
        question = prompt.rpartition("Description:")[2]
        others = [*texts["gates"], *texts["embedded"], *texts["prompts"]]
        assert not any(question in text for _, text in others)
    owners = [o for o, _ in texts["adapters"] if o.startswith("sharer:")]
    assert len(set(owners)) == SHARERS
    sharers = read_exam(run.path, TASK).pools["sharers"]
    both = [*sharers.prompts, *sharers.golds, *(text for pair in sharers.population for text in pair)]
    assert not any("/canary/" in name for name in sharers.ids)
    assert not any(p.rpartition("Description:")[2] in text for p in pool.prompts for text in both)


def check_the_game(run: Run) -> None:
    exam, game = read_exam(run.path, TASK), load_game("canary")
    pool = exam.pools["canary items"]
    counts: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for owner, name, trained in zip(pool.owners, pool.ids, pool.trained.tolist(), strict=True):
        counts[owner, name.split("/")[-3]].append(trained)
    assert len(counts) == SHARERS * 3
    assert all(sorted(own) == [False, False, True, True] for own in counts.values())
    dealt = dealt_of(game, Audited(target="t", merged=pool.owners[:1]), pool)
    assert len(dealt.owners) == COUNT
    assert dealt.members.sum() == COUNT // 2
    assert dealt.strata is not None
    assert {s: dealt.members[np.array(dealt.strata) == s].mean() for s in dealt.strata} == {
        f"{pool.owners[0]} · {design}": 0.5 for design in ("unused", "unlikely", "near")
    }
    # A new draw keeps the counts, and changes nothing else.
    redraw = game.redraw
    assert redraw is not None
    _, drawn = redraw(None, pool, np.random.default_rng(1))
    assert (drawn.trained != pool.trained).any()
    for stratum in set(dealt.strata):
        rows = dealt.rows[np.array(dealt.strata) == stratum]
        assert drawn.trained[rows].sum() == pool.trained[rows].sum()
    reason = {x.method: x.reason for x in run.record.results if (x.game, x.metric) == ("canary", "auc")}
    assert reason == {"np": "no sharer is merged: no members", "rag:k=4": reason["np"]} | dict.fromkeys(
        ("perpcs", "prime+pag")
    )


def check_the_reports(run: Run) -> None:
    exam = read_exam(run.path, TASK)
    pool, base = exam.pools["canary items"], exam.base("canary items")
    assert base is not None
    games, designs = ("canary", "canary_adapter"), ("unused", "unlikely", "near")
    assert {(x.game, x.method, x.design) for x in run.record.exposures} == {
        (g, m, d) for g in games for m in ("perpcs", "prime+pag") for d in designs
    }
    passes = {p.kind: p for p in exam.passes if "prime+pag" in p.labels}
    assert {*passes["canary_adapter"].seen} == {*pool.owners}  # one panel a sharer
    for found in run.record.exposures:
        if found.method != "prime+pag":
            continue
        one = passes[found.game]
        for observed, value in ((one.seen, found.exposure), (dict.fromkeys(one.seen, base), found.base)):
            means = []
            for target, merged in one.merged.items():
                rows = [
                    r for r, name in enumerate(pool.ids) if found.design in name and pool.owners[r] in merged
                ]
                score = {r: float(observed[target].logprobs[r].sum()) for r in rows}
                out = [score[r] for r in rows if not pool.trained[r]]
                ranks = [
                    1 + sum(o > score[r] for o in out) + 0.5 * sum(o == score[r] for o in out)
                    for r in rows
                    if pool.trained[r]
                ]
                means.append(np.mean([np.log2(len(out) + 1) - np.log2(rank) for rank in ranks]))
            assert value == pytest.approx(np.mean(means), abs=1e-9)
        assert 0 < found.chance < found.most
        assert found.epsilon is not None
        assert found.epsilon_ceiling is not None
        assert 0 <= found.epsilon <= found.epsilon_ceiling
    (cost,) = run.record.canary_costs
    assert (cost.task, cost.canaries, cost.sharers, cost.reason) == (TASK, COUNT, SHARERS, None)
    assert cost.ci is not None
    assert cost.difference is not None
    assert cost.ci[0] < cost.difference < cost.ci[1]
    assert {s["canaries"] for s in run.record.community[TASK]["sharers"]} == {COUNT}
    assert any("were trained on canaries, 6 each" in w for w in run.record.warnings)
    for file in ("table.md", "index.html"):
        page = (run.path / file).read_text(encoding="utf-8")
        assert "Exposure in bits, game canary, prime+pag: unused " in page
        assert f"Cost of {COUNT} canaries a sharer" in page


def check_without(run: Run, plain: Run, texts: dict[str, list[tuple[str, str]]]) -> None:
    """Find all in the cache but what the canaries changed."""
    assert "adapters" not in texts  # sharers' adapters were trained without canaries, too, to know the cost
    assert "gates" in texts  # those of the first run belong to other adapters
    assert "canary" not in plain.record.spec["games"]
    assert plain.record.exposures == plain.record.canary_costs == ()
    ours, theirs = (
        {s["user"]: s["adapter"] for s in r.record.community[TASK]["sharers"]} for r in (run, plain)
    )
    assert ours.keys() == theirs.keys()
    assert not {*ours.values()} & {*theirs.values()}
    old = json.loads((plain.path / "record.json").read_text(encoding="utf-8"))
    del old["exposures"], old["canary_costs"]  # as a record of an earlier version
    assert record_from_json(old).exposures == ()


@pytest.mark.slow
def test_private_training_counts_them(quick: Callable[..., Run]) -> None:
    run = quick("soup", task=TASK, model="mini", canaries=6, sets=SETS, sharer_dp="epsilon=8")
    for sharer in run.record.community[TASK]["sharers"]:
        assert sharer["dp"]["batch"] == pytest.approx(sharer["dp"]["rate"] * (sharer["trained"] + 3))


# -- options -----------------------------------------------------------------------------------------------


def test_the_option_is_a_setting_and_plays_the_game() -> None:
    plan = make_plan(tasks=TASK, canaries=12, games="heldout")
    assert plan.games == ("heldout", "canary", "canary_adapter")
    assert plan.overrides == {"canaries": 12}
    assert plan.settings.get("canaries", TASK) == 12
    assert "canaries" not in plan.spec()
    assert (
        plan.spec()
        == make_plan(tasks=TASK, overrides=["canaries=12"], games="heldout,canary,canary_adapter").spec()
    )
    assert make_plan(tasks=TASK).settings.get("canaries", TASK) == 0
    assert make_plan(tasks=TASK, canaries=0).games == ("paper", "heldout")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"canaries": 10}, "LaMP-2: 10 canaries a sharer do not divide .* a multiple of 6, for example --canaries 12"),
        ({"canaries": -6}, "canaries=-6: give a finite number, at least 0"),
        ({"games": "canary_adapter"}, "game canary_adapter: LaMP-2 has no canaries to ask for; add --canaries 12"),
        ({"games": "canary"}, "game canary: LaMP-2 has no canaries to ask for; add --canaries 12"),
        ({"tasks": "LaMP-2,LaMP-4", "overrides": ["LaMP-2.canaries=6"]}, "game canary: LaMP-4 has no canaries"),
        ({"canaries": 6, "sharers": "somewhere"}, "--canaries: the adapters of --sharers are trained already"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_one_line(words: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as said:
        make_plan(**({"tasks": TASK} | words))
    assert "\n" not in str(said.value)


@pytest.mark.slow
def test_a_cost_that_cannot_be_measured_ends_no_run(
    quick: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        canaries, "_mean_nlls", lambda community, sharers, adapters: np.full(len(sharers), np.nan)
    )
    run = quick(
        "soup", task=TASK, model="mini", canaries=6, sets=SETS, games="heldout", attacks="loss,gradnorm"
    )
    (cost,) = run.record.canary_costs
    assert (cost.canaries, cost.without, cost.difference, cost.ci, cost.sharers) == (6, None, None, None, 0)
    assert "no finite NLL" in str(cost.reason)
    assert [f.stage for f in run.record.failures] == ["cost of the canaries"]
    assert all(x.p is not None and 0 < x.p <= 1 for x in run.record.exposures)
    aucs = {r.game: r.value for r in run.record.results if (r.metric, r.attack) == ("auc", "gradnorm")}
    assert aucs["canary_adapter"] is not None
    assert aucs["canary"] is None


def test_a_community_too_small_is_refused_before_training(
    quick: Callable[..., Run], tmp_path: Path, texts: dict[str, list[tuple[str, str]]]
) -> None:
    with pytest.raises(UserError, match=r"LaMP-2: canaries need at least \d+ sharers"):
        quick("soup", task=TASK, canaries=6, sets=["clusters=4"])
    assert not texts["adapters"]
    assert not (tmp_path / "run" / "record.json").exists()


@pytest.mark.slow
def test_where_no_method_merges_anybody_canaries_still_have_a_cost(quick: Callable[..., Run]) -> None:
    run = quick("np", task=TASK, model="mini", canaries=6, sets=SETS, games="heldout", attacks="loss")
    assert not run.record.failures
    assert run.record.canary_costs[0].difference is not None
