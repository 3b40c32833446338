"""``--sharers``: adapters trained elsewhere say in our engine what they say in PEFT, and what is wrong is one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from prime_audit import Run
from prime_audit.errors import UserError
from prime_audit.lamp.given import with_sharers
from prime_audit.lamp.source import open_data
from prime_audit.plan.plan import make_plan
from prime_audit.settings import load_settings
from tests.adapters import Tensors, change, configure

TASK = "LaMP-4"
Go = Callable[..., Run]


def models(run: Run, method: str) -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in (run.path / "models.jsonl").read_text().splitlines()]
    return {row["target"]: row for row in rows if row["method"] == method}


# -- what goes in comes out ----------------------------------------------------------------------------------


def test_one_adapter_alone_says_what_peft_says(
    quick: Go, given: Path, plain: Any, asked_of: Callable[..., Any]
) -> None:
    run = quick("nearest", sharers=given)
    for target, row in models(run, "nearest").items():
        (sharer,) = row["sharers"]
        asked = asked_of(run, "nearest", target)
        assert plain.gap(plain.with_adapter(given / sharer), asked) < 1e-4
        assert plain.gap(plain.model(), asked) > 1e-2  # and it is not the bare base
    assert {s["user"] for s in run.record.community[TASK]["sharers"]} == {"ann", "bea", "cem", "dot"}


def test_a_merge_of_them_is_the_sum_of_their_updates(
    quick: Go, given: Path, plain: Any, asked_of: Callable[..., Any]
) -> None:
    run = quick("soup:k=2", sharers=given)
    target, row = next(iter(models(run, "soup:k=2").items()))
    model = plain.model()
    for name in row["sharers"]:
        tensors = load_file(given / name / "adapter_model.safetensors")
        for key in [k for k in tensors if k.endswith("lora_A.weight")]:
            site = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            update = tensors[key.replace("lora_A", "lora_B")] @ tensors[key]
            model.get_submodule(site).weight.data += 0.5 * 2.0 * update  # weight 1/2, alpha / r = 2
    assert plain.gap(model, asked_of(run, "soup:k=2", target)) < 1e-4


def test_methods_games_and_the_account(quick: Go, given: Path, content: Callable[[Run], Any]) -> None:
    run = quick("prime,perpcs,oppu,ties", sharers=given, games="paper,heldout,inclusion")
    record = run.record
    assert "adapt" not in {c.stage for c in record.costs}  # the base is theirs, not ours
    assert "share" not in {c.stage for c in record.costs}
    assert {"gates", "own adapters"} <= {c.stage for c in record.costs}
    community = record.community[TASK]
    assert community["adaptation"] is None
    assert {s["trained"] for s in community["sharers"]} == {6}
    assert {s["heldout"] for s in community["sharers"]} == {2}
    for name in ("ann", "bea", "cem", "dot"):
        origin = community["adapters"][f"sharer:{name}"]
        assert origin["folder"] == name
        assert len(origin["sha256"]) == 64
    assert record.spec["sharers"] == "given"
    own = content(run)
    own.pop("command")  # as typed
    assert str(given.parent) not in json.dumps([own["spec"], own["community"], own["warnings"]])
    played = {(r.method, r.game) for r in record.results if r.metric == "auc" and r.value is not None}
    assert {("perpcs", "paper"), ("perpcs", "heldout"), ("ties", "heldout")} <= played
    assert any("trained elsewhere" in line for line in record.warnings)
    assert any("drawn at random" in line for line in record.warnings)


def test_items_held_out_by_time_are_a_sign_of_selection(
    quick: Go, given: Path, rows: Any, tmp_path: Path
) -> None:
    """Four sharers of eight items: the last two held out of each are no random ones, as the stored places show."""
    from prime_audit.audit.signs import signs
    from prime_audit.games.exam.stored import read_exam

    read, write = rows
    plain = read_exam(quick("nearest", sharers=given).path, TASK).pools["sharers"]
    assert plain.given
    assert signs(plain) == ()
    for name in ("ann", "bea", "cem", "dot"):
        write(given / name, sorted(read(given / name), key=lambda row: row.get("heldout", False)))
    late = read_exam(quick("nearest", sharers=given, out=tmp_path / "late").path, TASK).pools["sharers"]
    assert sorted(late.places[late.drawn & ~late.trained].tolist()) == [[7, 8]] * 4 + [[8, 8]] * 4
    assert "later in their owners' histories" in signs(late)[0]


def test_the_same_again_to_the_byte_and_plan_takes_it(
    quick: Go,
    given: Path,
    content: Callable[[Run], Any],
    tmp_path: Path,
    small: Any,
    small_data: Any,
    plain: Any,
) -> None:
    from prime_audit import predict

    first = quick("perpcs", sharers=given, cache=tmp_path / "cache", out=tmp_path / "1")
    again = quick("perpcs", sharers=given, cache=tmp_path / "cache", out=tmp_path / "2")
    assert content(first) == content(again)
    found = predict(
        "perpcs",
        tasks=TASK,
        data=str(small_data(TASK)),
        model=str(plain.folder),
        overrides=list(small),
        sharers=given,
        cache=None,
    )
    assert found.seconds > 0


def test_without_held_out_items_that_game_has_a_reason(quick: Go, given: Path, rows: Any) -> None:
    read, write = rows
    for name in ("ann", "bea", "cem", "dot"):
        write(given / name, [row for row in read(given / name) if not row.pop("heldout", False)])
    run = quick("nearest", sharers=given)
    (held,) = (
        r for r in run.record.results if r.metric == "auc" and r.game == "heldout" and r.method == "nearest"
    )
    assert held.value is None
    assert "no merged sharer has held-out items" in str(held.reason)
    assert not any("drawn at random" in line for line in run.record.warnings)


def test_clusters_choose_among_them_only_when_asked(quick: Go, given: Path) -> None:
    run = quick("nearest", sharers=given, sets=["clusters=2", "min_history=2"])
    assert 1 <= len(run.record.community[TASK]["sharers"]) <= 2
    assert any("share nothing" in line for line in run.record.warnings)


def test_the_base_they_were_trained_on(
    quick: Go, given: Path, plain: Any, asked_of: Callable[..., Any], tmp_path: Path
) -> None:
    base = plain.train(tmp_path / "adapted", [("The council met.", "council")])
    run = quick("nearest", sharers=given, base_adapter=base)
    target, row = next(iter(models(run, "nearest").items()))
    model = plain.with_adapter(base).merge_and_unload()
    from peft import PeftModel

    whole = PeftModel.from_pretrained(model, given / row["sharers"][0]).eval()
    assert plain.gap(whole, asked_of(run, "nearest", target)) < 1e-4
    assert run.record.community[TASK]["adaptation"]["folder"] == "adapted"
    assert run.record.spec["base_adapter"] == "adapted"


def test_unlike_ranks_and_scalings_and_rslora(
    quick: Go, given: Path, plain: Any, asked_of: Callable[..., Any], rows: Any
) -> None:
    for name, shape in (
        ("bea", {"r": 3, "lora_alpha": 5}),
        ("cem", {"r": 1, "lora_alpha": 1}),
        ("dot", {"r": 4, "lora_alpha": 3, "use_rslora": True}),
    ):
        plain.train(given / name, [("The council met.", "council")], **shape)
    run = quick("nearest,oppu", sharers=given)  # oppu's own adapter has rank 2 beside their 4
    for target, row in models(run, "nearest").items():
        peft = plain.with_adapter(given / row["sharers"][0])
        assert plain.gap(peft, asked_of(run, "nearest", target)) < 1e-4
    assert any("ranks 1, 2, 3, 4 and scalings" in line for line in run.record.warnings)


def test_another_base_by_name_is_a_warning(quick: Go, given: Path) -> None:
    configure(given / "bea", base_model_name_or_path="acme/other\n<script>")
    run = quick("nearest", sharers=given)
    (line,) = (w for w in run.record.warnings if "name another base" in w)
    assert "\n" not in line
    assert "other" in line
    assert "bea" not in line  # model cards repeat it, and name no sharer


def test_tasks_have_folders_of_their_own(quick: Go, given: Path, tmp_path: Path) -> None:
    shutil.copytree(given, tmp_path / "many" / "news_headline")
    run = quick("nearest", sharers=tmp_path / "many")
    assert len(run.record.community[TASK]["sharers"]) == 4
    (tmp_path / "many" / "news_headline").rename(tmp_path / "many" / "LaMP-2")
    with pytest.raises(UserError, match="has no folder for LaMP-4, only for LaMP-2"):
        quick("nearest", sharers=tmp_path / "many", out=tmp_path / "other")


def test_a_task_with_two_folders_is_refused(given: Path, tmp_path: Path) -> None:
    for name in ("LaMP-4", "news_headline"):
        shutil.copytree(given, tmp_path / "twice" / name)
    with pytest.raises(UserError, match="LaMP-4 and news_headline are both of LaMP-4"):
        with_sharers(open_data("world", TASK, 0, load_settings("laptop")), tmp_path / "twice", None)


def test_an_adapter_wider_than_the_bank_is_not_cut(given: Path) -> None:
    from prime_audit.engine.adapters import load_adapter
    from prime_audit.engine.unify import fitting
    from prime_audit.errors import PartError

    with pytest.raises(
        PartError, match="an adapter of rank 2 does not fit the given ones: the bank's rank is 1"
    ):
        fitting(load_adapter(given / "ann"), 1, 2.0)


def in_half_precision(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    save_file({k: v.bfloat16() for k, v in load_file(path).items()}, path, metadata={"format": "pt"})


def test_adapters_that_overflow_cost_only_the_methods_that_merge_them(quick: Go, given: Path) -> None:
    for folder in given.iterdir():
        change(folder, lambda t: {k: v * 1e37 if "lora_B" in k else v for k, v in t.items()})
    run = quick("np,soup:k=2", sharers=given)
    said = "merged: logits are not finite in float32: replace these adapters"
    assert {(f.method, said in f.error) for f in run.record.failures} == {("soup:k=2", True)}
    own = {r.method: r for r in run.record.results if r.metric == "rouge-1" and r.game is None}
    assert own["np"].value is not None
    assert own["soup:k=2"].value is None
    assert said in str(own["soup:k=2"].reason)


def test_adapters_in_half_precision_come_in_and_go_out_exactly(
    quick: Go, given: Path, plain: Any, asked_of: Callable[..., Any], tmp_path: Path
) -> None:
    from prime_audit.export.export import export

    for folder in given.iterdir():
        in_half_precision(folder)
        configure(folder, lora_alpha=5)  # no power of two: a product has no exact half
    run = quick("nearest,prime", sharers=given, cache=tmp_path / "cache")
    for target, row in models(run, "nearest").items():
        peft = plain.with_adapter(given / row["sharers"][0])
        assert plain.gap(peft, asked_of(run, "nearest", target)) < 1e-4
    target = next(iter(models(run, "prime")))
    export(run.path, target, "prime", tmp_path / "out", cache=tmp_path / "cache", sharers=given)
    assert plain.gap(plain.with_adapter(tmp_path / "out"), asked_of(run, "prime", target)) < 1e-4


# -- who they are --------------------------------------------------------------------------------------------


def test_items_in_the_tasks_own_fields_ids_and_profiles(given: Path, rows: Any) -> None:
    read, write = rows
    own = [{"id": 7 + n, "text": r["input"], "title": r["output"]} for n, r in enumerate(read(given / "ann"))]
    write(given / "ann", own)
    (given / "ann" / "sharer.json").write_text(json.dumps({"id": "../Ann ✨", "profile": "likes bridges"}))
    (given / "bea" / "items.jsonl").rename(given / "bea" / "items.json")
    (given / "bea" / "items.json").write_text(json.dumps([{"input": "a b c", "output": "d"}]))
    data = with_sharers(open_data("world", TASK, 0, load_settings("laptop")), given, None)
    assert data.given is not None
    ann, bea = data.given.sharers[:2]
    assert (ann.user.id, ann.user.profile, ann.trained[0]) == ("../Ann ✨", "likes bridges", "7")
    assert ann.heldout == ()
    assert (bea.user.id, bea.trained) == ("bea", ("1",))
    assert [u.id for u in data.candidates[:4]] == ["../Ann ✨", "bea", "cem", "dot"]
    assert len(data.candidates) > 4  # the data's own stay, as known non-members
    assert data.sha256 != open_data("world", TASK, 0, load_settings("laptop")).sha256


def test_strange_ids_stay_text(quick: Go, given: Path, tmp_path: Path) -> None:
    for name, strange in (("ann", "../../up"), ("bea", "<script>alert(1)</script>"), ("cem", "c" * 10_000)):
        (given / name / "sharer.json").write_text(json.dumps({"id": strange}))
    before = {p.name for p in tmp_path.parent.iterdir()}
    run = quick("soup:k=0", sharers=given)
    assert {p.name for p in tmp_path.parent.iterdir()} == before
    assert "<script>alert(1)" not in (run.path / "index.html").read_text(encoding="utf-8")
    assert "../../up" in {s["user"] for s in run.record.community[TASK]["sharers"]}


def test_defective_rows_are_reported_and_left_out(given: Path, rows: Any) -> None:
    read, write = rows
    good = read(given / "ann")
    bad = [
        {"input": "x"},
        {"input": "x y", "output": "z", "heldout": "perhaps"},
        {"input": "x y", "output": "z", "user": "somebody"},
        {**good[0]},
        {"id": "twin", "input": good[0]["input"], "output": good[0]["output"], "heldout": True},
    ]
    write(given / "ann", [*good, *bad])
    world = open_data("world", TASK, 0, load_settings("laptop"))
    data = with_sharers(world, given, None)
    said = [str(d) for d in data.defects]
    for part in ("no text", "heldout is neither", "its user is 'somebody'", "occurs twice", "same words"):
        assert sum(part in line for line in said) == 1, (part, said)
    assert len(said) == 5
    assert all(line.startswith("ann/items.jsonl: ") for line in said)
    with pytest.raises(UserError, match="and 4 more defects"):
        with_sharers(world, given, None, strict=True)


# -- what is refused -----------------------------------------------------------------------------------------

first = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
Spoil = Callable[[Path], Any]


def nan(tensors: Tensors) -> Tensors:
    return tensors | {first: tensors[first] * float("nan")}


def pickled(folder: Path) -> None:
    (folder / "ann" / "adapter_model.safetensors").unlink()
    torch.save({"a": torch.zeros(1)}, folder / "ann" / "adapter_model.bin")


def wider(tensors: Tensors) -> Tensors:
    return {k: torch.cat([v, v], dim=1) if "lora_A" in k else v for k, v in tensors.items()}


def target_of_the_data(folder: Path) -> None:
    (folder / "ann" / "sharer.json").write_text(json.dumps({"id": "TARGET"}))


REFUSED: dict[str, tuple[Spoil, str]] = {
    "no folders": (
        lambda d: [shutil.rmtree(p) for p in d.iterdir()],
        "contains no folder; add one per sharer",
    ),
    "no items": (lambda d: (d / "bea" / "items.jsonl").unlink(), "bea: has no items.jsonl"),
    "no trained item": (
        lambda d: (d / "bea" / "items.jsonl").write_text('{"input": "a", "output": "b", "heldout": true}\n'),
        "contains no item that the adapter was trained on",
    ),
    "broken rows": (
        lambda d: (d / "bea" / "items.jsonl").write_text("{"),
        "line 1: damaged or truncated JSON",
    ),
    "an empty folder": (lambda d: (d / "eve").mkdir(), "eve: no adapter_config.json"),
    "no config": (lambda d: (d / "ann" / "adapter_config.json").unlink(), "ann: no adapter_config.json"),
    "pickle": (pickled, "only safetensors files are read"),
    "pickle under another name": (
        lambda d: torch.save({"a": 1}, d / "ann" / "adapter_model.safetensors"),
        "ann/adapter_model.safetensors: cannot be read as safetensors",
    ),
    "dora": (
        lambda d: configure(d / "ann", use_dora=True),
        "adapter_config.json: use_dora is not supported",
    ),
    "bias": (lambda d: configure(d / "ann", bias="all"), "bias=all is not supported"),
    "modules_to_save": (
        lambda d: configure(d / "ann", modules_to_save=["lm_head"]),
        "modules_to_save is not supported",
    ),
    "IA3": (lambda d: configure(d / "ann", peft_type="IA3"), "IA3 is not supported"),
    "rank": (
        lambda d: configure(d / "ann", r=3),
        "ann/adapter_model.safetensors: factors do not have the rank 3",
    ),
    "nan": (lambda d: change(d / "ann", nan), "layers.0.self_attn.q_proj contains NaN or infinity"),
    "another base": (
        lambda d: change(d / "ann", wider),
        "pass adapters that were trained on this model",
    ),
    "unknown word": (
        lambda d: (d / "ann" / "sharer.json").write_text('{"name": "a"}'),
        "unknown entry name; only id and profile are allowed",
    ),
    "no id": (lambda d: (d / "ann" / "sharer.json").write_text('{"id": " "}'), "sharer.json: id is empty"),
    "an id twice": (
        lambda d: (d / "ann" / "sharer.json").write_text('{"id": "bea"}'),
        "ann and bea are both of sharer bea",
    ),
    "a target": (target_of_the_data, "is also a target of"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_line(quick: Go, given: Path, case: str, small_data: Any, tmp_path: Path) -> None:
    spoil, says = REFUSED[case]
    spoil(given)
    if case == "a target":
        target = open_data(str(small_data(TASK)), TASK, 0, load_settings("laptop")).targets[0].id
        (given / "ann" / "sharer.json").write_text(json.dumps({"id": target}))
    with pytest.raises(UserError) as caught:
        quick("nearest", sharers=given)
    assert says in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_words_that_do_not_go_together(quick: Go, given: Path) -> None:
    with pytest.raises(UserError, match="are trained already; leave one of the two out"):
        quick("nearest", sharers=given, sharer_dp="epsilon=8")
    with pytest.raises(UserError, match="needs --sharers"):
        quick("nearest", base_adapter=given / "ann")
    with pytest.raises(UserError, match="contains one task's sharers, but 2 tasks are run"):
        make_plan(methods="np", tasks="LaMP-2,LaMP-4", sharers=given)


def test_attacks_again_find_them_where_they_lie_now(quick: Go, given: Path, tmp_path: Path) -> None:
    from prime_audit.runs.rescore import attack

    run = quick("nearest", sharers=given, cache=tmp_path / "cache")
    moved = given.rename(tmp_path / "moved")
    found = attack(run.path, "minkpp", cache=tmp_path / "cache", sharers=moved, quiet=True)
    assert any(np.isfinite(leak.auc) for leak in found.record.leaks)


# -- on a cluster --------------------------------------------------------------------------------------------


def test_what_a_clusters_worker_is_sent_gives_the_same_run(
    quick: Go,
    given: Path,
    content: Callable[[Run], Any],
    small: Any,
    small_data: Any,
    plain: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that goes to another process, there and back; then no model is left to be asked."""
    import pickle

    from prime_audit.community.store import Store
    from prime_audit.engine.mixture import Spent
    from prime_audit.runs.cells import cells_of
    from prime_audit.runs.executors.order import order_of, plan_again
    from prime_audit.runs.ledger import Ledger
    from prime_audit.runs.perform import open_all
    from prime_audit.runs.worker import Worker

    monkeypatch.chdir(given.parent.parent)
    cache = tmp_path / "cache"
    for sharers in (given, given.relative_to(Path.cwd())):
        plan = make_plan(
            methods="prime,perpcs",
            tasks=TASK,
            data=str(small_data(TASK)),
            model=str(plain.folder),
            overrides=list(small),
            sharers=sharers,
        )
        order = pickle.loads(pickle.dumps(order_of(plan, open_all(plan), "", cache, ("", ""), 1)))
        again = plan_again(order)
        assert again.spec() == plan.spec()
    worker = Worker.of(again, order.datasets, Store(cache, Spent()), Ledger(quiet=True))
    for cell in cells_of(again, order.datasets):
        assert worker.carry_out(cell) == []
    alone = quick("prime,perpcs", sharers=plan.sharers, out=tmp_path / "2")
    for name in ("_generate", "_observe"):
        monkeypatch.setattr(
            f"prime_audit.engine.engine.Engine.{name}", lambda *_: pytest.fail("not kept: a model was asked")
        )
    run = quick("prime,perpcs", sharers=plan.sharers, cache=cache, out=tmp_path / "1")
    own, other = content(run), content(alone)
    assert {k: own[k] for k in own if k != "command"} == {k: other[k] for k in other if k != "command"}
