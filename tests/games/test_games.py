"""Games that draw before they play: what the target's history loses, whose coin fell how, sharers with privacy."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from prime_audit import Run, compare
from prime_audit.community import training
from prime_audit.community.held import hold_back
from prime_audit.engine.privacy import Privacy, parse_privacy
from prime_audit.errors import UserError
from prime_audit.lamp.data import Dataset, Item, User
from prime_audit.lamp.prompts import item_examples
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.plan import make_plan
from prime_audit.plugins.loading import load_game


def aucs(run: Run, game: str, metric: str = "auc") -> dict[str, float | None]:
    return {r.method: r.value for r in run.record.results if (r.game, r.metric) == (game, metric)}


def reasons(run: Run, game: str) -> dict[str, str | None]:
    return {r.method: r.reason for r in run.record.results if (r.game, r.metric) == (game, "auc")}


def test_every_game_is_listed(say: Callable[..., Any]) -> None:
    listed = json.loads(say("list", "games", "--json").out)
    names = [row["game"] for row in listed]
    assert names == ["adapter", "canary", "canary_adapter", "heldout", "inclusion", "paper", "target"]
    assert all(load_game(name).design.randomised == (name != "paper") for name in names)


# -- the target game -----------------------------------------------------------------------------------------


def user(name: str, items: int, profile: str | None = None) -> User:
    return User(name, tuple(Item(f"{name}-{n}", {"text": str(n)}) for n in range(items)), profile=profile)


@given(st.integers(0, 60), st.floats(0, 0.9), st.integers(0, 9))
def test_what_is_held_out_of_a_target(items: int, share: float, seed: int) -> None:
    data = Dataset(
        task="LaMP-4",
        source="x",
        layout="world",
        adapt=(),
        targets=(user("a", items, "likes cats"), user("b", 9)),
        candidates=(),
    )
    seen, held = hold_back(data, share, seed)
    one, shown = held["a"], {i.id for i in seen.targets[0].history}
    assert seen.targets == tuple(h.shown for h in held.values())
    assert seen.targets[0].profile is None  # it was written from all her items
    assert shown.isdisjoint(one.others)
    assert shown | set(one.others) == {i.id for i in data.targets[0].history}
    assert set(one.members) <= shown
    assert len(one.members) == min(len(one.others), len(shown))
    wanted = 0 if items < 2 or share <= 0 else max(1, int(share * items))
    assert len(one.others) == wanted
    assert not items or shown  # something always remains
    again = hold_back(
        Dataset(
            task="LaMP-4", source="x", layout="world", adapt=(), targets=(data.targets[0],), candidates=()
        ),
        share,
        seed,
    )[1]
    assert again["a"] == one  # her own affair


def test_the_deployed_prompt_of_an_item() -> None:
    texts = ["the bridge in Kelda", "a cat in a tree", "rain all week", "the harbour sold"]
    items = tuple(Item(f"i{n}", {"text": t, "title": t.upper()}) for n, t in enumerate(texts))
    one, task = User("u", items), TASKS["LaMP-4"]
    asked = item_examples(task, one, {"i1", "i3"}, store=items[:3], k=1, profile="short titles")
    member, other = asked
    assert [e.item for e in asked] == ["i1", "i3"]
    assert [e.gold for e in asked] == ["A CAT IN A TREE", "THE HARBOUR SOLD"]
    assert "Headline: A CAT IN A TREE" in member.prompt  # the record itself stands in front
    assert "THE HARBOUR SOLD" not in other.prompt
    assert all(e.prompt.startswith("### User Profile:\nshort titles\n\n### User History:\n") for e in asked)
    bare = item_examples(task, one, {"i1"})
    assert [(e.id, e.kind) for e in bare] == [("u/i1/plain", "plain")]
    assert member.prompt.endswith(bare[0].prompt)


def test_held_out_items_are_seen_by_nobody_but_the_auditor(
    quick: Callable[..., Run], small_data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prime_audit.engine import assemble as assembly
    from prime_audit.engine.embed import Encoder
    from prime_audit.engine.engine import Engine
    from prime_audit.lamp.source import open_data
    from prime_audit.settings import load_settings

    texts: list[str] = []
    train, embed, generate = training.train_adapters, Encoder.embed, Engine.generate
    assemble = assembly.assemble

    def trains(base: Any, jobs: Any, *rest: Any, **more: Any) -> Any:
        texts.extend(f"{p} {g}" for job in jobs for p, g in job.examples)
        return train(base, jobs, *rest, **more)

    def embeds(self: Any, rows: Sequence[str], *rest: Any) -> Any:
        texts.extend(rows)
        return embed(self, rows, *rest)

    def generates(self: Any, requests: Any, *rest: Any) -> Any:
        texts.extend(r.prompt for r in requests)
        return generate(self, requests, *rest)

    def assembles(engine: Any, units: Any, *rest: Any) -> Any:
        texts.extend(f"{p} {g}" for unit in units for p, g in unit.examples)
        return assemble(engine, units, *rest)

    monkeypatch.setattr(training, "train_adapters", trains)
    monkeypatch.setattr(Encoder, "embed", embeds)
    monkeypatch.setattr(Engine, "generate", generates)
    monkeypatch.setattr(assembly, "assemble", assembles)
    run = quick("rag:k=4,oppu+pag,perpcs,prime", games="target", sets=["heldout=0.4"])
    data = open_data(str(small_data("LaMP-4")), "LaMP-4", 0, load_settings("laptop"))
    _, held = hold_back(data, 0.4, 0)
    everything = "\n".join(texts)
    for one in held.values():
        assert one.others
        for item in one.user.history:
            assert (item.fields["text"] in everything) == (item.id not in one.others), item.id
    (line,) = [w for w in run.record.warnings if "target game holds out" in w]
    assert any("can leak only that part" in w for w in run.record.warnings)
    count, total = sum(len(h.others) for h in held.values()), sum(len(h.user.history) for h in held.values())
    assert f"holds out {count} of the targets' {total} history items" in line


def test_np_tells_nothing_of_a_target(quick: Callable[..., Run]) -> None:
    run = quick("rag", games="target", attacks="loss,reference", sets=["heldout=0.4"])
    rows = [r for r in run.record.results if (r.method, r.game) == ("np", "target")]
    value = {(r.attack, r.metric): r.value for r in rows}
    assert value["loss", "auc"] == value["loss", "auc_base"]  # to the last digit
    assert value["reference", "auc"] == 0.5
    assert {r.member_sharers for r in rows if r.metric == "auc"} == {3}  # people on a side
    gaps = [c for c in run.record.comparisons if (c.method, c.game) == ("np", "target")]
    assert [(c.difference, c.ci) for c in gaps] == [(0.0, (0.0, 0.0))] * 2
    assert {leak.verdict for leak in run.record.leaks if leak.method == "np"} <= {
        "no leak found",
        "too few to say",
        "confounded",
    }
    similar = [r for r in rows if r.metric == "auc_similarity_only"]
    assert all(r.value is None and "the target's own" in str(r.reason) for r in similar)


@pytest.mark.parametrize(
    ("method", "task", "model", "sets"),
    [
        ("oppu", "LaMP-3", "llama", ["sharer.epochs=15", "sharer.lr=1e-2", "lora.rank=8"]),
        ("rag", "LaMP-4", "mini", []),  # a trained model, which copies from what stands in front
    ],
)
def test_a_module_of_her_own_and_a_store_give_the_target_away(
    method: str,
    task: str,
    model: str,
    sets: list[str],
    small: Sequence[str],
    llama_folder: Path,
    tmp_path: Path,
) -> None:
    from prime_audit.lamp.world.world import write_world

    sizes = {"users": 14, "adapt": 2, "targets": 5, "history": (15, 16), "queries": 1, "clusters": 3}
    words: dict[str, Any] = {"model": str(llama_folder) if model == "llama" else model, "cache": None}
    words |= {"tasks": task, "data": str(write_world(task, tmp_path, **sizes)), "quiet": True}
    words |= {"games": "target", "attacks": "reference", "out": tmp_path / "run"}
    run = compare(method, overrides=[*small, "heldout=0.4", *sets], **words)
    found, base = aucs(run, "target"), aucs(run, "target", "auc_base")
    (leak,) = [x for x in run.record.leaks if x.method == method]
    print(f"{method}: AUC {leak.auc:.3f} {leak.ci}, over {leak.best_control} {leak.over_control_ci}")
    assert found["np"] == base["np"] == base[method] == 0.5
    assert found[method] == leak.auc > 0.75
    assert leak.ci is not None
    assert leak.ci[0] > 0.6
    assert leak.over_control is not None
    assert leak.over_control > 0
    assert leak.verdict == "leaks"
    assert (leak.members, leak.others) == (30, 30)
    scores = [s for s in run.scores() if s["method"] == method]
    assert all(s["sharer"] == s["target"] for s in scores)
    by_target = [[s for s in scores if s["target"] == t] for t in {s["target"] for s in scores}]
    each = [roc_auc_score([s["member"] for s in own], [s["score"] for s in own]) for own in by_target]
    assert found[method] == pytest.approx(np.mean(each), abs=1e-12)


def test_a_target_game_without_held_out_items_is_not_applicable(quick: Callable[..., Run]) -> None:
    run = quick("rag", games="target", sets=["heldout=0"])
    assert set(reasons(run, "target").values()) == {
        "nothing of the target's history is held out: no non-members"
    }
    assert set(aucs(run, "target").values()) == {None}
    assert not [w for w in run.record.warnings if "target game" in w]


# -- the inclusion game --------------------------------------------------------------------------------------


def test_coins_decide_whom_a_target_merges(quick: Callable[..., Run], tmp_path: Path) -> None:
    run = quick(
        "oppu,perpcs+rag,prime:k=3", games="paper,inclusion", attacks="reference", sets=["clusters=6"]
    )
    merges_nobody = "merges nobody: there is nobody to include"
    assert {m for m, why in reasons(run, "inclusion").items() if why == merges_nobody} == {"np", "oppu"}
    made = [json.loads(line) for line in (run.path / "models.jsonl").read_text().splitlines()]
    again = [m for m in made if m.get("game") == "inclusion"]
    assert {m["method"] for m in again} == {"perpcs", "prime:k=3"}
    coins: dict[tuple[str, str], dict[str, bool]] = {}
    for row in (s for s in run.scores() if s["game"] == "inclusion"):
        coins.setdefault((row["method"], row["target"]), {})[row["sharer"]] = row["member"]
    community = run.record.community["LaMP-4"]
    for (method, target), own in coins.items():
        order = np.argsort([-c for c in community["similarity"][target]], kind="stable")
        near = [community["sharers"][i]["user"] for i in order][
            :4
        ]  # 2k, k the preset's, whatever the method's
        assert set(own) == set(near)
        assert own == coins["perpcs", target]  # the same coins for every method
        models = [m for m in again if (m["method"], m["target"]) == (method, target)]
        included = [s for s in near if own[s]]
        assert [m["notes"]["sharers"] for m in models] == ([included] if included else [])
    alike = sum(len(set(own.values())) == 1 for (m, _), own in coins.items() if m == "perpcs")
    lines = [w for w in run.record.warnings if "inclusion game" in w]
    assert bool(lines) == bool(alike)
    for leak in (x for x in run.record.leaks if x.game == "inclusion"):
        assert leak.epsilon_ceiling is not None
        assert leak.epsilon is not None
        assert 0 <= leak.epsilon <= leak.epsilon_ceiling
    assert all(x.epsilon is None for x in run.record.leaks if x.game == "paper")
    check_user_level(run, coins)
    # The models as deployed are those of a run without the game.
    plain = quick(
        "oppu,perpcs+rag,prime:k=3", attacks="reference", sets=["clusters=6"], out=tmp_path / "plain"
    )
    assert [m for m in made if "game" not in m] == [
        json.loads(line) for line in (plain.path / "models.jsonl").read_text().splitlines()
    ]


def check_user_level(run: Run, coins: dict[tuple[str, str], dict[str, bool]]) -> None:
    """Recompute the AUC: one score a sharer, the mean of her items', averaged over targets with both sides."""
    found, values = aucs(run, "inclusion"), dict[str, list[float]]()
    for (method, target), own in coins.items():
        scores: dict[str, list[float]] = {}
        for s in run.scores():
            if (s["game"], s["method"], s["target"]) == ("inclusion", method, target):
                scores.setdefault(s["sharer"], []).append(s["score"])
        if len(set(own.values())) == 2:
            means = [float(np.mean(scores[sharer])) for sharer in own]
            values.setdefault(method, []).append(float(roc_auc_score(list(own.values()), means)))
    for method, label in (("perpcs", "perpcs+rag"), ("prime:k=3", "prime:k=3")):
        assert found[label] == pytest.approx(np.mean(values[method]), abs=1e-12)


STRAY = '''"""Everybody merges the first sharer of all, whoever may be merged."""
from prime_audit.community.sharers import bank_name
from prime_audit.engine.mixture import alone
from prime_audit.plugins import Personal, method


@method(source="a test")
def personalise(scene):
    """Ask nobody."""
    scene.community.ready()
    first = scene.community.sharers[0].user.id
    return {u.id: Personal(alone(bank_name(first)), (first,)) for u in scene.community.targets}
'''


def test_a_method_that_does_not_keep_to_the_coins_is_not_played(
    quick: Callable[..., Run], tmp_path: Path
) -> None:
    file = tmp_path / "stray.py"
    file.write_text(STRAY, encoding="utf-8")
    run = quick("stray", games="inclusion", plugins=[file], seed=1)
    assert reasons(run, "inclusion")["stray"] == "merges sharers that its coins did not include"


# -- sharers with differential privacy -----------------------------------------------------------------------


def test_private_sharers_state_what_they_satisfy(
    quick: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: Callable[[Run], dict[str, Any]],
) -> None:
    jobs: dict[str, tuple[Any, Any]] = {}
    train = training.train_adapters

    def watched(base: Any, asked: Any, *rest: Any, privacy: Any = None, **more: Any) -> Any:
        jobs.update({job.owner: (job, privacy) for job in asked})
        return train(base, asked, *rest, privacy=privacy, **more)

    monkeypatch.setattr(training, "train_adapters", watched)
    words = {"sharer_dp": "epsilon=8,clip=0.2", "cache": tmp_path / "cache"}
    run = quick("oppu,perpcs,prime", **words)
    for owner, (job, privacy) in jobs.items():
        if owner.startswith("sharer:"):
            assert privacy == Privacy(8.0, None, 0.2)
            assert len(set(job.items)) == len(job.items) == len(job.examples)
            assert not any("### User History" in prompt for prompt, _ in job.examples)  # plain examples only
        else:
            assert privacy is None  # the base, and what a target trains for herself
    assert any(
        "### User History" in p for o, (j, _) in jobs.items() if o[:7] != "sharer:" for p, _ in j.examples
    )
    for sharer in run.record.community["LaMP-4"]["sharers"]:
        dp = sharer["dp"]
        assert 7 < dp["epsilon"] <= 8
        assert (dp["delta"], dp["clip"]) == (1e-5, 0.2)
        assert dp["noise"] > 0
        assert dp["batch"] == pytest.approx(dp["rate"] * sharer["trained"])
    lines = [w for w in run.record.warnings if "without noise" in w or "DP-SGD" in w]
    assert ["DP-SGD" in line for line in lines] == [True, False]
    assert "the unit is one item" in lines[0]
    assert "run's seed" in lines[0]
    assert "gates" in lines[1]
    assert run.record.spec["sharer_dp"] == {"epsilon": 8.0, "delta": None, "clip": 0.2}
    assert "--sharer-dp epsilon=8,clip=0.2" in run.record.command
    warm = quick("oppu,perpcs,prime", **words, out=tmp_path / "warm")
    assert content(warm) == content(run)
    plain = quick("oppu,perpcs,prime", cache=tmp_path / "cache", out=tmp_path / "plain")
    ours = {s["item"]: s["score"] for s in run.scores() if s["method"] == "prime"}
    theirs = {s["item"]: s["score"] for s in plain.scores() if s["method"] == "prime"}
    assert set(ours) < set(theirs)  # the augmented examples were never trained on
    assert any(not math.isclose(score, theirs[item], rel_tol=1e-6) for item, score in ours.items())
    assert "dp" not in plain.record.community["LaMP-4"]["sharers"][0]
    assert not [w for w in plain.record.warnings if "DP-SGD" in w]


def test_gates_are_only_mentioned_where_they_were_trained(quick: Callable[..., Run]) -> None:
    run = quick("prime", sharer_dp="epsilon=3")
    assert not [w for w in run.record.warnings if "gates" in w]


def test_privacy_is_part_of_the_specification() -> None:
    plans = [
        make_plan(methods="prime", sharer_dp=dp).spec() for dp in (None, "epsilon=8", "epsilon=8,delta=1e-6")
    ]
    assert len({json.dumps(spec, sort_keys=True) for spec in plans}) == 3
    assert plans[0]["sharer_dp"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "write epsilon=8"),
        ("8", "write epsilon=8"),
        ("epsilon", "write epsilon=8"),
        ("epsilon=", "write epsilon=8"),
        ("epsilon=8,", "write epsilon=8"),
        ("eps=8", "unknown word of --sharer-dp 'eps': did you mean epsilon"),
        ("delta=1e-5", "gives no epsilon"),
        ("epsilon=eight", "'eight' is no number"),
        ("epsilon=8,epsilon=9", "epsilon is given twice"),
        ("epsilon=inf", "give finite numbers"),
        ("epsilon=nan", "give finite numbers"),
        ("epsilon=0", "give an ε and a clip above 0"),
        ("epsilon=8,clip=0", "give an ε and a clip above 0"),
        ("epsilon=8,delta=1", "give a δ between 0 and 1"),
    ],
)
def test_bad_privacy_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=r"privacy|sharer-dp") as fault:
        make_plan(methods="prime", sharer_dp=text)
    assert message in str(fault.value)
    assert "\n" not in str(fault.value)


def test_the_words_of_privacy_in_any_order() -> None:
    assert parse_privacy(" clip=0.5 , epsilon=2,delta=1e-6", "here") == Privacy(2.0, 1e-6, 0.5)
