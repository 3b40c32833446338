"""Runs from end to end, small: what is written, and that every figure follows from the files beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    mean_absolute_error,
    roc_auc_score,
    root_mean_squared_error,
)

import prime_audit
from prime_audit import Run, compare, load_run
from prime_audit.cache.numeric import LIBRARIES
from prime_audit.errors import UserError
from prime_audit.lamp.tasks import TASKS
from prime_audit.lamp.world.world import SIMULATED
from prime_audit.scores.report import describe_scores

ALL = "rag,pag,oppu,perpcs,prime,prime:alpha=0.5,prime+rag,prime+pag"
FILES = {
    *("config.toml", "record.json", "run.json", "predictions.jsonl", "scores.jsonl", "models.jsonl"),
    *("table.md", "table.csv", "index.html", "frontier.svg", "frontier.png", "signals"),
}
SCHEMA = json.loads(Path(prime_audit.__file__).with_name("record.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def run(small_data: Callable[[str], Path], small: Sequence[str], tmp_path_factory: Any) -> Run:
    """All methods on two tasks with the packaged model."""
    data, _ = small_data("LaMP-2").parent, small_data("LaMP-4")
    return compare(
        ALL,
        tasks="LaMP-2,LaMP-4",
        data=str(data),
        overrides=small,
        out=tmp_path_factory.mktemp("runs") / "all",
        cache=None,
        quiet=True,
    )


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# -- what is written ---------------------------------------------------------------------------------------


def test_the_folder_holds_every_file_and_nothing_else(run: Run) -> None:
    assert {p.name for p in run.path.iterdir()} == FILES
    assert (run.path / "frontier.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (run.path / "frontier.svg").read_bytes()
    jsonschema.validate(json.loads((run.path / "record.json").read_text(encoding="utf-8")), SCHEMA)


def test_the_record_says_what_was_run(run: Run, small: Sequence[str]) -> None:
    record = run.record
    assert record.spec["tasks"] == ["LaMP-2", "LaMP-4"]
    assert record.spec["methods"] == ["np", *ALL.split(",")]
    assert record.spec["overrides"]["clusters"] == 4
    assert record.spec["settings"]["LaMP-2"]["clusters"] == 4
    assert record.methods["prime:alpha=0.5"]["LaMP-4"]["prime.alpha"] == 0.5
    assert record.methods["prime+pag"]["LaMP-4"]["pag.k"] is None
    assert record.methods["prime"]["LaMP-2"]["prime.budget"] == 5
    assert record.seeds == {"run": 0}
    assert {"python", "prime-audit", *LIBRARIES} == set(record.versions)
    assert [d.users for d in record.data] == [{"adapt": 2, "targets": 3, "candidates": 7}] * 2
    assert all(len(d.sha256) == len(d.split_sha256) == 64 for d in record.data)
    assert record.model.name == "mini"
    assert record.hardware
    assert "--out" not in record.command
    assert all(pair in record.command for pair in small)
    assert {c.stage for c in record.costs} >= {"adapt", "share", "search", "answer", "assemble", "gates"}
    assert {s.stage for s in record.times.stages} >= {"adapt", "share", "search", "answer"}


def test_every_figure_has_its_keys(run: Run, content: Callable[[Run], dict[str, Any]]) -> None:
    keys = {"task", "method", "metric", "value", "ci", "n"}
    for result in content(run)["results"]:
        assert keys <= set(result)
        assert (result["value"] is None) <= bool(result["reason"])
    found = {(r.task, r.method, r.metric) for r in run.record.results}
    wanted = {
        (t, m, x) for t in ("LaMP-2", "LaMP-4") for m in ("np", *ALL.split(",")) for x in TASKS[t].metrics
    }
    assert wanted <= found
    assert {(t, m, "auc") for t, m, _ in wanted} <= found


def test_no_members_no_auc(run: Run) -> None:
    for result in run.record.results:
        if result.metric == "auc" and result.method in ("np", "rag", "pag", "oppu"):
            assert result.value is None
            assert result.ci is None
            assert result.reason == "merges nobody: no members"


def test_np_is_always_the_reference(run: Run) -> None:
    assert run.record.spec["methods"][0] == "np"  # though nobody asked for it
    assert {c.baseline for c in run.record.comparisons if c.metric != "auc"} == {"np"}
    assert {c.method for c in run.record.comparisons if c.metric == "rouge-1"} == set(ALL.split(","))


def test_the_csv_is_the_record(run: Run) -> None:
    table = list(csv.DictReader((run.path / "table.csv").read_text(encoding="utf-8").splitlines()))
    assert len(table) == len(run.record.results)
    for row, result in zip(table, run.record.results, strict=True):
        assert (row["task"], row["method"], row["metric"]) == (result.task, result.method, result.metric)
        assert (float(row["value"]) if row["value"] else None) == result.value


def test_a_run_is_read_back_as_it_was(run: Run) -> None:
    assert load_run(run.path).record == load_run(run.path / "record.json").record == run.record
    assert list(run.predictions()) == rows(run.path / "predictions.jsonl")
    assert list(run.scores()) == rows(run.path / "scores.jsonl")


# -- every figure follows from the files beside it ---------------------------------------------------------


def test_stats_of_a_runs_scores_are_the_runs_figures(run: Run) -> None:
    leaks = {f"{x.task}/{x.method}/{x.game}/{x.attack}": x for x in run.record.leaks}
    found = [f for f in describe_scores(run.path / "scores.jsonl", seed=0).attacks if f.attack in leaks]
    assert found
    for f in found:
        leak = leaks[f.attack]
        assert (f.auc, f.members, dict(f.tpr)) == (leak.auc, leak.members, leak.tpr)


def metrics(task: str, golds: list[str], predictions: list[str]) -> dict[str, float]:
    """Compute a task's metrics by other people's libraries."""
    kind = TASKS[task].kind
    if kind == "classification":
        labels = list(TASKS[task].labels)
        f1 = f1_score(golds, predictions, labels=labels, average="macro", zero_division=0)
        return {"accuracy": float(accuracy_score(golds, predictions)), "f1": float(f1)}
    if kind == "rating":
        y = [float(g) for g in golds]
        p = [_number(x, g) for x, g in zip(predictions, y, strict=True)]
        return {"MAE": float(mean_absolute_error(y, p)), "RMSE": float(root_mean_squared_error(y, p))}
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=False)
    scores = [scorer.score(g, p) for g, p in zip(golds, predictions, strict=True)]
    return {
        "rouge-1": float(np.mean([s["rouge1"].fmeasure for s in scores])),
        "rouge-L": float(np.mean([s["rougeL"].fmeasure for s in scores])),
    }


def _number(text: str, gold: float) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0 if abs(1 - gold) > abs(5 - gold) else 5.0


def check_figures(run: Run) -> None:
    """Recompute every utility and AUC of a record from its run's rows."""
    predictions, scores = list(run.predictions()), list(run.scores())
    for result in run.record.results:
        if result.metric in TASKS[result.task].metrics:
            own = [p for p in predictions if (p["task"], p["method"]) == (result.task, result.method)]
            found = metrics(result.task, [p["gold"] for p in own], [p["prediction"] for p in own])
            assert result.value == pytest.approx(found[result.metric], abs=1e-12)
            assert result.n == len(own)
            assert result.targets == len({p["target"] for p in own})
        if result.metric == "auc" and result.value is not None:
            core = result.method.partition("+")[0]
            figure = (result.task, core, result.game, result.attack)
            own = [s for s in scores if (s["task"], s["method"], s["game"], s["attack"]) == figure]
            by_target = {t: [s for s in own if s["target"] == t] for t in {s["target"] for s in own}}
            aucs = [
                roc_auc_score([s["member"] for s in one], [s["score"] for s in one])
                for one in by_target.values()
            ]
            assert result.value == pytest.approx(np.mean(aucs), abs=1e-12)
            assert result.n == len(own)
            assert result.targets == len(by_target)


def test_every_figure_follows_from_the_rows(run: Run) -> None:
    check_figures(run)
    aucs = [r for r in run.record.results if r.metric == "auc" and r.value is not None]
    merging = {"perpcs", "prime", "prime:alpha=0.5", "prime+rag", "prime+pag"}
    assert {(r.method, r.game) for r in aucs} == {(m, g) for m in merging for g in ("paper", "heldout")}


def test_differences_are_of_the_figures(run: Run) -> None:
    value = {(r.task, r.method, r.metric, r.game, r.attack): r.value for r in run.record.results}
    assert len(value) == len(run.record.results)  # every figure stands in the record once
    for c in run.record.comparisons:
        other = (c.task, c.method, "auc_base") if c.metric == "auc" else (c.task, "np", c.metric)
        if c.difference is not None:
            own = value[c.task, c.method, c.metric, c.game, c.attack]
            base = value[*other, c.game, c.attack]
            assert own is not None
            assert base is not None
            assert c.difference == pytest.approx(own - base, abs=1e-12)


def test_members_are_the_merged_sharers(run: Run) -> None:
    merged = {
        (m["task"], m["method"], m["target"]): set(m["sharers"]) for m in rows(run.path / "models.jsonl")
    }
    everyone = {t: {s["user"] for s in run.record.community[t]["sharers"]} for t in ("LaMP-2", "LaMP-4")}
    sides: dict[tuple[str, ...], list[int]] = {}
    for score in run.scores():
        members = merged[score["task"], score["method"], score["target"]]
        assert members < everyone[score["task"]]
        if score["game"] == "paper":
            assert score["member"] == (score["sharer"] in members)
        else:
            assert score["sharer"] in members
            key = tuple(score[name] for name in ("task", "method", "target", "attack", "sharer"))
            sides.setdefault(key, [0, 0])[score["member"]] += 1
    assert sides
    assert all(trained == heldout > 0 for heldout, trained in sides.values())


def test_the_alpha_sweep_shares_its_first_candidate(run: Run) -> None:
    models = rows(run.path / "models.jsonl")
    for target in {m["target"] for m in models if m["method"] == "prime"}:
        first = [
            m["notes"]["trace"][0]
            for m in models
            if m["target"] == target and m["method"] in ("prime", "prime:alpha=0.5") and m["task"] == "LaMP-4"
        ]
        assert len(first) == 2
        assert first[0]["weights"] == first[1]["weights"]
        assert first[1]["objective"] == pytest.approx(
            first[0]["objective"] - 0.5 * np.mean(first[1]["similarity"])
        )


def test_held_out_items_are_in_no_training_prompt(
    quick: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prime_audit.community import build, training

    trained: dict[str, list[tuple[str, str]]] = {}
    plain = training.train_adapters

    def watched(base: Any, jobs: Any, *rest: Any, **more: Any) -> Any:
        trained.update({job.owner: list(job.examples) for job in jobs})
        return plain(base, jobs, *rest, **more)

    monkeypatch.setattr(training, "train_adapters", watched)
    seen: list[Any] = []
    choose = build.choose_sharers
    monkeypatch.setattr(build, "choose_sharers", lambda *a, **k: seen.extend(choose(*a, **k)) or tuple(seen))
    quick("perpcs,prime", task="LaMP-4", sets=["heldout=0.3"])
    assert seen
    for sharer in seen:
        examples = trained[f"sharer:{sharer.user.id}"]
        texts = [f"{prompt} {gold}" for prompt, gold in examples]
        assert any("### User History" in text for text in texts)  # retrieved items do stand in front
        assert sharer.heldout
        for item in sharer.user.history:
            shown = any(item.fields["text"] in text for text in texts)
            assert shown == (item.id in sharer.trained)


# -- the same again, and not the same ----------------------------------------------------------------------


def test_the_same_seed_gives_the_same_record_whatever_the_cache(
    quick: Callable[..., Run], tmp_path: Path, content: Callable[[Run], dict[str, Any]]
) -> None:
    plain = quick("perpcs,prime,oppu", task="LaMP-3")
    cold = quick("perpcs,prime,oppu", task="LaMP-3", out=tmp_path / "cold", cache=tmp_path / "cache")
    warm = quick("perpcs,prime,oppu", task="LaMP-3", out=tmp_path / "warm", cache=tmp_path / "cache")
    assert content(plain) == content(cold) == content(warm)
    for name in (
        "predictions.jsonl",
        "scores.jsonl",
        "models.jsonl",
        "table.md",
        "table.csv",
        "index.html",
        "frontier.svg",
    ):
        first = (plain.path / name).read_bytes()
        assert first == (cold.path / name).read_bytes() == (warm.path / name).read_bytes(), name
    other = quick("perpcs,prime,oppu", task="LaMP-3", out=tmp_path / "other", seed=1)
    assert list(other.scores()) != list(plain.scores())


def test_a_warm_run_asks_searches_and_fits_nothing(
    quick: Callable[..., Run],
    tmp_path: Path,
    content: Callable[[Run], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = {"cache": tmp_path / "cache", "games": "paper,heldout,inclusion,target", "sets": ["context=60"]}
    cold = quick("perpcs,prime:select=recommended", out=tmp_path / "cold", **words)
    assert [w for w in cold.record.warnings if "longer than the model's context" in w]
    for name in (
        "prime.objective.Search",
        "games.exam.controls._classifier",
        "community.build.cluster_users",
        "engine.engine.Engine._generate",
        "engine.engine.Engine._observe",
    ):
        monkeypatch.setattr(f"prime_audit.{name}", lambda *_, name=name: pytest.fail(f"{name} was needed"))
    warm = quick("perpcs,prime:select=recommended", out=tmp_path / "warm", **words)
    assert content(cold) == content(warm)
    assert list(cold.scores()) == list(warm.scores())


def test_sampling_can_be_made_again(
    quick: Callable[..., Run], tmp_path: Path, content: Callable[[Run], dict[str, Any]]
) -> None:
    sets = ["sampling=true", "temperature=1.0"]
    first = quick("prime", task="LaMP-3", sets=sets)
    assert content(first) == content(quick("prime", task="LaMP-3", sets=sets, out=tmp_path / "again"))
    greedy = quick("prime", task="LaMP-3", out=tmp_path / "greedy")
    assert list(greedy.predictions()) != list(first.predictions())


def test_a_folder_of_another_run_is_refused_and_its_own_is_used_again(
    quick: Callable[..., Run], content: Callable[[Run], dict[str, Any]]
) -> None:
    first = quick("rag", task="LaMP-3")
    before = {p: p.read_bytes() for p in first.path.rglob("*") if p.is_file()}
    with pytest.raises(UserError, match="holds another run: choose another --out"):
        quick("rag", task="LaMP-3", seed=3)
    assert {p: p.read_bytes() for p in first.path.rglob("*") if p.is_file()} == before
    assert content(quick("rag", task="LaMP-3")) == content(first)


def test_what_fails_half_way_leaves_nothing(
    quick: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prime_audit.report import from_record

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(from_record, "render_all", fail)
    with pytest.raises(KeyboardInterrupt):
        quick("np", task="LaMP-3", out=tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    own = tmp_path / "own"
    own.mkdir()
    (own / "notes.txt").write_text("mine")
    with pytest.raises(KeyboardInterrupt):
        quick("np", task="LaMP-3", out=own)
    assert [p.name for p in own.iterdir()] == ["notes.txt"]


# -- variants ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        "prime:optimizer=ngopt",
        "prime:optimizer=ngiohtuned,budget=7",
        "prime:optimizer=tbpsa,granularity=layer",
        "prime:merge=factor,select=recommended",
        "prime:alpha=0.4,k=3,granularity=layer,merge=factor",
        "perpcs:top_k=1,batch=4,n_sim=3",
        "oppu:recipe=oppu",
        "rag:k=2+pag",
        "perpcs+pag:k=2",
    ],
)
def test_every_variant_runs_on_a_real_folder(quick: Callable[..., Run], method: str) -> None:
    run = quick(method, task="LaMP-3")
    assert run.record.spec["methods"] == ["np", method]
    check_figures(run)
    for model in rows(run.path / "models.jsonl"):
        weights, notes = np.array(model["weights"]), model["notes"]
        if "granularity=layer" in method and model["method"] == method:
            assert weights.shape == (3, len(model["adapters"]))
        if "trace" in notes:
            assert len(notes["trace"]) == (7 if "budget=7" in method else 5)
            assert np.abs([e["weights"] for e in notes["trace"]]).max() <= 1.5


def test_texts_longer_than_the_context_are_cut_and_counted(quick: Callable[..., Run]) -> None:
    (warning,) = [w for w in quick("rag", task="LaMP-2").record.warnings if "context" in w]
    assert warning.startswith("LaMP-2: ")
    assert "lost their front" in warning


@pytest.mark.slow
def test_all_six_tasks_of_the_world_in_one_command(
    say: Callable[..., Any], small: Sequence[str], tmp_path: Path
) -> None:
    sets = [word for pair in (*small, "targets=2") for word in ("--set", pair)]
    said = say(
        *("compare", "--methods", "rag,pag,oppu,perpcs,prime+pag", "--tasks", ",".join(SIMULATED), *sets),
        *("--out", tmp_path / "run", "--no-cache"),
    )
    assert said.code == 0, said.err
    run = load_run(tmp_path / "run")
    assert [d.task for d in run.record.data] == list(SIMULATED)
    check_figures(run)
    assert all(task in said.out for task in SIMULATED)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mistral", "qwen2"])
def test_other_architectures(
    quick: Callable[..., Run], model_folder: Callable[[str], Path], kind: str
) -> None:
    check_figures(quick("oppu,perpcs,prime", task="LaMP-3", model=str(model_folder(kind))))
