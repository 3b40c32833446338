"""What a command line means: tasks, methods with parameters, numbers; every slip is one line with a way out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import prime_audit.settings
from prime_audit.errors import UserError
from prime_audit.lamp.data import Dataset
from prime_audit.lamp.source import open_data
from prime_audit.lamp.tasks import TASKS
from prime_audit.lamp.world.world import world
from prime_audit.plan.plan import Plan, make_plan, parse_methods
from prime_audit.plugins import Augment
from prime_audit.runs.compare import command_line
from prime_audit.settings import SETTINGS, load_settings, presets

RUN_WIDE = [key for key, row in SETTINGS.items() if row.run]


def plan(methods: str = "prime", **options: Any) -> Plan:
    return make_plan(methods=methods, **options)


# -- methods -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("np", ["np"]),
        ("prime,perpcs", ["prime", "perpcs"]),
        ("prime:alpha=0.6,k=2,perpcs", ["prime:alpha=0.6,k=2", "perpcs"]),
        ("prime:alpha=0.6+rag:k=2,np", ["prime:alpha=0.6+rag:k=2", "np"]),
        ("np+rag,rag", ["rag"]),
        ("rag+pag", ["rag+pag"]),
        (" prime , prime ", ["prime"]),
        ("oppu:recipe=oppu+pag:k=0", ["oppu:recipe=oppu+pag:k=0"]),
    ],
)
def test_labels(text: str, labels: list[str]) -> None:
    assert [m.label for m in parse_methods(text)] == labels


def test_the_reference_is_always_there_and_first() -> None:
    assert [m.label for m in plan("prime,np,rag").methods] == ["np", "prime", "rag"]
    assert [m.label for m in plan("prime").methods] == ["np", "prime"]


@pytest.mark.parametrize(
    ("text", "front"),
    [
        ("np", Augment(0, False)),
        ("rag", Augment(1, False)),
        ("rag:k=3", Augment(3, False)),
        ("pag", Augment(0, True)),
        ("prime+rag", Augment(1, False)),
        ("prime+pag", Augment(1, True)),  # Table 1: the profile, and one item behind another method
        ("pag:k=2", Augment(2, True)),
        ("oppu+pag:k=0", Augment(0, True)),
        ("prime+rag:k=4+pag", Augment(4, True)),
    ],
)
def test_what_stands_in_front(text: str, front: Augment) -> None:
    (spec,) = parse_methods(text)
    assert spec.augment(load_settings("laptop"), "LaMP-2") == front


def test_parameters_come_from_the_preset_by_task() -> None:
    (spec,) = parse_methods("prime:alpha=0.6")
    paper = load_settings("paper")
    assert spec.values(paper, "LaMP-1")["prime.k"] == 5
    assert spec.values(paper, "LaMP-2") == {
        "prime.alpha": 0.6, "prime.optimizer": "cma", "prime.budget": 30, "prime.k": 3, "prime.share": 0.6,
        "prime.granularity": "module", "prime.merge": "delta", "prime.select": "best",
        "prime.trim": "none", "prime.density": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prim", "unknown method 'prim': did you mean prime?"),
        ("prime+ragg", "unknown method 'ragg': did you mean rag"),
        ("prime:alfa=1", "unknown parameter of prime 'alfa': did you mean alpha?"),
        ("prime:alpha=much", "prime:alpha=much: 'much' is not a number"),
        ("prime:alpha=NaN", "give a finite number"),
        ("prime:alpha=-Infinity", "give a finite number"),
        ("prime:k=2.5", "prime:k=2.5: '2.5' is not a whole number"),
        ("prime:k=0", "prime:k=0: give a finite number, at least 1"),
        ("prime:budget=-3", "at least 1"),
        ("prime:share=1.5", "at least 0, at most 1"),
        ("rag:k=0", "at least 1"),
        ("perpcs:n_sim=-1", "at least 0"),
        ("prime:optimizer=cmaes", "prime:optimizer=cmaes: did you mean cma?"),
        ("random:of=perpcs", "random:of=perpcs: not allowed: its gates are trained on the sharers' items"),
        ("prime:alpha", "write parameters as key=value"),
        ("prime:alpha=", "write parameters as key=value"),
        ("prime:k=1,k=2", "k is given twice"),
        ("prime+perpcs", "prime and perpcs both make a model; join one with rag or pag"),
        ("np:k=1", "unknown parameter of np 'k': known: none"),
    ],
)
def test_slips_in_methods(text: str, message: str) -> None:
    with pytest.raises(UserError) as fault:
        plan(text)
    assert message in str(fault.value)
    assert "\n" not in str(fault.value)


# -- everything else ---------------------------------------------------------------------------------------


def test_defaults() -> None:
    made = plan()
    assert made.tasks == ("LaMP-2", "LaMP-4")
    assert (made.data, made.model, made.encoder, made.profiler) == ("world", "mini", "", "")
    assert (made.attacks, made.device, made.dtype, made.seed) == (("loss",), "auto", "auto", 0)


def test_tasks_in_any_spelling_each_once() -> None:
    assert plan(tasks="movie_tagging,LaMP_2,lamp4").tasks == ("LaMP-2", "LaMP-4")
    assert plan(tasks=["LaMP-3", "LaMP-1"]).tasks == ("LaMP-3", "LaMP-1")
    assert plan(attacks="loss,loss").attacks == ("loss",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": "LaMP-6"}, "unknown task 'LaMP-6': its emails are licensed"),
        ({"methods": ""}, "--methods: names no method"),
        (
            {"sharer_dp": "epsilon=-1"},
            "--sharer-dp epsilon=-1: ε -1 and clip 0.1: give an ε and a clip above 0",
        ),
        ({"attacks": "los"}, "unknown attack 'los': did you mean loss"),
        ({"preset": "paperr"}, "unknown preset 'paperr': did you mean paper?"),
        ({"device": "gpu"}, "--device gpu: give one of auto, cpu, cuda"),
        ({"dtype": "fp16"}, "--dtype fp16: give one of auto, float32"),
        ({"data": "/no/such/path"}, "/no/such/path: no such file or folder"),
        ({"overrides": ["cluster=3"]}, "unknown setting 'cluster': did you mean clusters or clustered?"),
        ({"overrides": ["clusters"]}, "--set clusters: write KEY=VALUE"),
        ({"overrides": ["clusters=some"]}, "--set clusters=some: 'some' is not a whole number"),
        ({"overrides": ["clusters=0"]}, "--set clusters=0: give a finite number, at least 1"),
        ({"overrides": ["LaMP-2.clusters=0"]}, "at least 1"),
        ({"overrides": ["LaMP-9.clusters=2"]}, "unknown task 'LaMP-9'"),
        ({"overrides": ["sharer.lr=NaN"]}, "give a finite number, at least 0"),
        ({"overrides": ["heldout=1"]}, "at most 0.99"),
        ({"overrides": ["sampling=maybe"]}, "is not true or false"),
        ({"overrides": ["sharer.schedule=cosin"]}, "unknown schedule 'cosin': did you mean cosine?"),
        ({"overrides": ["gate.epochs=2"]}, "the preset counts steps here; set gate.steps"),
        ({"overrides": ["LaMP-3.sharer.steps=2"]}, "the preset counts epochs here; set sharer.epochs"),
        ({"overrides": ["prime.alfa=1"]}, "unknown setting 'prime.alfa': did you mean prime.alpha"),
        ({"overrides": ["prim.alpha=1"]}, "unknown setting 'prim.alpha': did you mean"),
        ({"overrides": ["prime.alpha=much"]}, "--set prime.alpha=much: 'much' is not a number"),
        ({"overrides": ["rag.k=0"]}, "--set rag.k=0: give a finite number, at least 1"),
        ({"overrides": ["oppu.recipe=mine"]}, "--set oppu.recipe=mine: known: oppu, sharers"),
        ({"tasks": ","}, "--tasks: names no task; write for example --tasks LaMP-2"),
        ({"overrides": ["lora.modules="]}, "name modules joined by +"),
    ],
)
def test_slips_elsewhere(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as fault:
        plan(**options)
    assert message in str(fault.value)
    assert "\n" not in str(fault.value)


def test_overrides_by_task_win() -> None:
    settings = load_settings(
        "laptop", ["clusters=5", "LaMP-3.clusters=7", "LaMP-2.sharer.lr=1", "sampling=true"]
    )
    assert settings.get("clusters", "LaMP-2") == 5
    assert settings.get("clusters", "LaMP-3") == 7
    assert settings.recipe("sharer", "LaMP-2")["lr"] == 1.0
    assert settings.recipe("sharer", "LaMP-3")["lr"] != 1.0
    assert settings.get("sampling") is True


TABLE_7 = {  # adaptation batch, epochs; sharer batch, epochs; gate batch, steps; top_k, batch; k, budget, share
    "LaMP-1": (16, 3, 1e-4, 8, 1, 1e-4, 6, 100, 1e-5, 1, 16, 5, 50, 0.8),
    "LaMP-2": (16, 3, 1e-4, 6, 3, 2e-4, 6, 100, 2e-5, 3, 16, 3, 30, 0.6),
    "LaMP-3": (8, 3, 1e-4, 4, 2, 1e-4, 4, 100, 1e-5, 1, 6, 5, 50, 1.0),
    "LaMP-4": (8, 3, 1e-4, 8, 3, 1e-4, 6, 50, 2e-5, 1, 16, 3, 30, 0.8),
    "LaMP-5": (8, 3, 1e-4, 8, 2, 1e-4, 6, 50, 2e-5, 1, 10, 3, 50, 1.0),
    "LaMP-7": (16, 3, 1e-4, 8, 1, 1e-4, 6, 50, 2e-5, 2, 16, 3, 30, 1.0),
}
KEYS = (
    *("adaptation.batch", "adaptation.epochs", "adaptation.lr", "sharer.batch", "sharer.epochs", "sharer.lr"),
    *("gate.batch", "gate.steps", "gate.lr", "perpcs.top_k", "perpcs.batch"),
    *("prime.k", "prime.budget", "prime.share"),
)


def test_the_paper_preset_is_the_papers_table() -> None:
    settings = load_settings("paper")
    for task, row in TABLE_7.items():
        assert tuple(settings.get(key, task) for key in KEYS) == row
        assert settings.recipe("gate", task)["weight_decay"] == 0.0
        clips = [settings.recipe(part, task)["clip"] for part in ("adaptation", "sharer", "gate")]
        assert clips == [0.3, 1.0, 0.3]
    assert [settings.get(f"lora.{k}") for k in ("rank", "alpha", "dropout")] == [8, 8.0, 0.05]


@pytest.mark.parametrize("preset", presets())
def test_every_preset_is_within_its_own_bounds(preset: str) -> None:
    settings = load_settings(preset)
    for task in TASKS:
        for key, value in settings.for_task(task).items():
            if isinstance(value, list | str):
                continue
            load_settings(
                preset, [f"{task}.{key}={json.dumps(value)}" if key not in RUN_WIDE else f"{key}={value}"]
            )


@pytest.mark.parametrize("key", RUN_WIDE)
def test_what_all_tasks_share_is_no_single_tasks(key: str) -> None:
    with pytest.raises(
        UserError, match=f"{key} is the same for all tasks of a run; write --set {key}=1"
    ) as fault:
        plan(overrides=[f"LaMP-2.{key}=1"])
    assert "\n" not in str(fault.value)
    assert plan(overrides=[f"{key}=1"]).settings.override(key, "") is not None


# -- methods' parameters by --set --------------------------------------------------------------------------


def test_a_parameter_by_set_stands_behind_a_typed_one() -> None:
    made = plan(
        "prime,prime:alpha=0.2,rag,oppu", overrides=["prime.alpha=0.6", "LaMP-4.rag.k=4", "oppu.recipe=oppu"]
    )
    values = {m.label: {t: m.values(made.settings, t) for t in made.tasks} for m in made.methods}
    assert {values["prime"][t]["prime.alpha"] for t in made.tasks} == {0.6}
    assert {values["prime:alpha=0.2"][t]["prime.alpha"] for t in made.tasks} == {0.2}
    assert [values["rag"][t]["rag.k"] for t in ("LaMP-2", "LaMP-4")] == [1, 4]
    assert values["oppu"]["LaMP-2"]["oppu.recipe"] == "oppu"
    assert made.spec()["overrides"]["prime.alpha"] == 0.6


def test_a_parameter_of_a_plugin_file_may_be_set(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        '"""A test."""\nfrom prime_audit.plugins import Augment, Param, method\n\n\n'
        '@method(source="a test", params=(Param("depth", "preset:prime.k", "x"),), augments=True)\n'
        'def front(*, depth, alone):\n    """X."""\n    return Augment(depth)\n'
    )
    made = plan("mine", overrides=["mine.depth=7"], plugins=[file], tasks="LaMP-2")
    assert made.methods[1].augment(made.settings, "LaMP-2") == Augment(7, False)
    with pytest.raises(UserError, match=r"unknown setting 'mine.depth'"):
        plan("rag", overrides=["mine.depth=7"])


# -- one method under two names ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("methods", "labels"),
    [
        ("prime:k=3,alpha=1,prime:alpha=1,k=3", ["prime:alpha=1,k=3"]),
        ("oppu,oppu:recipe=sharers", ["oppu"]),
        ("prime:alpha=0.50,prime:alpha=0.5", ["prime:alpha=0.50"]),
        ("rag+pag,pag+rag", ["rag+pag"]),
        ("prime:alpha=0,prime,np:,rag", ["prime:alpha=0", "rag"]),
        (
            "pag,prime+pag,prime+pag:k=1",
            ["pag", "prime+pag", "prime+pag:k=1"],
        ),  # None and 1 are not one value
        ("oppu,oppu:recipe=oppu", ["oppu", "oppu:recipe=oppu"]),
    ],
)
def test_a_method_is_run_once_however_it_is_typed(methods: str, labels: list[str]) -> None:
    assert [m.label for m in plan(methods).methods] == ["np", *labels]


def test_what_differs_on_one_task_is_two_methods() -> None:
    overrides = ["LaMP-4.prime.k=2"]
    assert len(plan("prime,prime:k=3", tasks="LaMP-2", overrides=overrides).methods) == 2
    assert len(plan("prime,prime:k=3", tasks="LaMP-2,LaMP-4", overrides=overrides).methods) == 3


def test_the_world_heeds_its_settings() -> None:
    def users(*overrides: str) -> Dataset:
        return open_data("world", "LaMP-2", 0, load_settings("laptop", overrides))

    assert users().sha256 == world("LaMP-2").sha256
    capped = users("max_items=20")
    everyone = (*capped.adapt, *capped.targets, *capped.candidates)
    assert {len(u.history) for u in everyone} == {20}
    assert capped.older == sum(
        len(u.history) - 20 for d in [world("LaMP-2")] for r in (d.adapt, d.targets, d.candidates) for u in r
    )
    assert [len(users(f"adapt_share={share}").adapt) for share in (0, 0.125, 0.5)] == [0, 6, 24]
    assert len(users("targets=3").targets) == 3
    with pytest.raises(UserError, match="43 adapting users and 14 targets") as fault:
        users("adapt_share=0.9")
    assert "\n" not in str(fault.value)


def test_a_plan_is_plain_json_and_names_all_that_decides() -> None:
    made = plan("prime:alpha=0.3", tasks="LaMP-2", overrides=["clusters=5"], seed=7)
    spec = json.loads(json.dumps(made.spec(), allow_nan=False))
    assert spec["methods"] == ["np", "prime:alpha=0.3"]
    assert spec["seed"] == 7
    assert spec["settings"]["LaMP-2"]["clusters"] == 5


@pytest.mark.parametrize(
    ("methods", "options"),
    [
        ("prime:alpha=0.6,k=2+rag", {"tasks": ["LaMP-2", "LaMP-4"], "overrides": ["clusters=3"], "seed": 4}),
        (["np", "rag"], {"data": "my data", "encoder": "", "strict": True, "model": None}),
    ],
)
def test_the_recorded_command_makes_the_same_plan(
    methods: str | Sequence[str], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    import prime_audit.api
    from prime_audit.commands.cli import cli

    caught: dict[str, Any] = {}

    def catch(methods: Any, **words: Any) -> None:
        caught.update(words, methods=methods)
        raise UserError("caught")

    monkeypatch.setattr(prime_audit.api, "compare", catch)
    words = shlex.split(command_line({"methods": methods, **options}))
    assert words[:2] == ["prime-audit", "compare"]
    with pytest.raises(UserError, match="caught"):
        cli.main(words[1:], standalone_mode=False)
    for word in (
        "out",
        "cache",
        "executor",
        "address",
        "workers",
        "threads",
        "quiet",
    ):  # where and how, not what
        caught.pop(word)
    if options.get("data") == "my data":
        assert (caught["data"], caught["encoder"], caught["strict"]) == ("my data", "", True)
        return
    assert make_plan(**caught).spec() == make_plan(methods=methods, **options).spec()


@pytest.mark.parametrize(
    ("words", "notes"),
    [
        ({"methods": "prime,np,prime"}, ["--methods: prime is named twice"]),
        ({"methods": "rag:k=2,rag,rag:k=2"}, ["--methods: rag:k=2 is named twice"]),
        (
            {"methods": "prime:k=3,alpha=1,prime:alpha=1,k=3"},
            ["--methods: prime:alpha=1,k=3 is the same as prime:k=3,alpha=1"],
        ),
        ({"methods": "oppu,oppu:recipe=sharers"}, ["--methods: oppu:recipe=sharers is the same as oppu"]),
        ({"methods": ["np,np", "np"]}, ["--methods: np is named twice"] * 2),
        ({"tasks": "LaMP-2,LaMP-2"}, ["--tasks: LaMP-2 is named twice"]),
        ({"tasks": "LaMP-2,movie_tagging"}, ["--tasks: movie_tagging is the same as LaMP-2"]),
        ({"attacks": "loss,mink,loss"}, ["--attacks: loss is named twice"]),
        ({"games": "paper,paper"}, ["--games: paper is named twice"]),
        ({"methods": "np,rag,np+rag:k=2,prime,prime:alpha=0.7", "games": "paper,heldout"}, []),
    ],
)
def test_what_is_named_twice_is_told(words: dict[str, Any], notes: list[str]) -> None:
    given = {"methods": "np", "tasks": "LaMP-2", "preset": "laptop", **words}
    assert list(make_plan(**given).notes) == [f"note: {note}; it runs once" for note in notes]


@pytest.mark.parametrize(
    ("words", "idle"),
    [
        ({"methods": "prime", "overrides": ["perpcs.top_k=2"]}, ["perpcs.top_k=2"]),
        ({"methods": "perpcs", "overrides": ["perpcs.top_k=2", "gate.steps=9"]}, []),
        (
            {"methods": "prime", "overrides": ["gate.steps=9", "LaMP-2.soup.k=3"]},
            ["gate.steps=9", "LaMP-2.soup.k=3"],
        ),
        ({"methods": "soup", "overrides": ["prime.k=3", "prime.budget=9"]}, ["prime.budget=9"]),
        ({"methods": "prime:budget=5", "overrides": ["prime.budget=9"]}, ["prime.budget=9"]),
        ({"methods": "rag", "overrides": ["prime.k=3"], "games": "inclusion"}, []),
        ({"methods": "rag", "overrides": ["prime.k=3", "clusters=4"], "games": "heldout"}, ["prime.k=3"]),
        ({"methods": "soup", "overrides": ["nonmember_items=3"], "games": "paper"}, []),
        ({"methods": "soup", "overrides": ["nonmember_items=3"], "games": "heldout"}, ["nonmember_items=3"]),
        ({"methods": "soup", "overrides": ["population=3"]}, ["population=3"]),
        ({"methods": "soup", "overrides": ["population=3"], "attacks": "rmia"}, []),
    ],
)
def test_settings_that_nothing_of_the_run_reads_are_told(words: dict[str, Any], idle: list[str]) -> None:
    notes = [
        note for note in make_plan(tasks="LaMP-2", preset="laptop", **words).notes if "has no effect" in note
    ]
    assert [note.split()[2] for note in notes] == idle


# -- what settings mean ------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", presets())
def test_every_setting_of_a_preset_has_a_meaning_and_is_described(say: Any, preset: str) -> None:
    import tomllib

    tree = tomllib.loads(Path(prime_audit.settings.__file__).with_name("presets.toml").read_text("utf-8"))[
        preset
    ]

    def keys(table: dict[str, Any], before: str = "") -> set[str]:
        nested = [keys(v, f"{before}{k}.") if isinstance(v, dict) else {before + k} for k, v in table.items()]
        return set().union(*nested)

    rows = [{k: v for k, v in tree.items() if k not in ("tasks", "all_tasks", "purpose", "extends")}]
    rows += [*tree.get("tasks", {}).values(), tree.get("all_tasks", {})]
    named = set().union(*map(keys, rows))
    assert named <= SETTINGS.keys()
    assert all(row.means and "\n" not in row.means for row in SETTINGS.values())
    said = " ".join(say("describe", "settings", "--preset", preset, "--set", "clusters=5").out.split())
    assert all(f" {key} " in said for key in SETTINGS)
    assert (
        " clusters 5 ≥ 1 k-means clusters of users, from each of which one sharer is chosen: the most sharers "
        in said
    )


def test_presets_say_what_they_are_for(say: Any) -> None:
    rows = json.loads(say("list", "presets", "--json").out)
    assert [row["preset"] for row in rows] == presets()
    assert all(len(row["for"]) > 20 for row in rows)
    for row in rows:
        said = say("describe", row["preset"])
        assert (said.code, row["for"] in said.out) == (0, True)
        assert "sharer.lr" in said.out


def test_attacks_that_no_game_can_play_are_noted() -> None:
    said = "note: --attacks: none of these games queries single adapters: gradnorm has no figure"
    assert said in make_plan(attacks="loss,gradnorm", games="heldout").notes
    assert said not in make_plan(attacks="loss,gradnorm", games="heldout,adapter").notes
    people = make_plan(attacks="lira", games="inclusion", overrides=["shadows=16"]).notes
    assert "note: --attacks: none of these games asks about single items: lira has no figure" in people


def test_the_label_of_the_sharers_own_adapters_is_no_methods(tmp_path: Path) -> None:
    file = tmp_path / "adapters.py"
    text = (Path(__file__).parents[2] / "baselines/prime_baselines/soup.py").read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="method adapters: figures of the sharers' own adapters") as said:
        make_plan(methods="adapters", plugins=[str(file)])
    assert "\n" not in str(said.value)
