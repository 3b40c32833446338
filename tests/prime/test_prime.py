"""PriME against a model whose answers are a known function of its weights: every number recomputed here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, root_mean_squared_error

from prime_audit.community.build import Community
from prime_audit.community.store import Store
from prime_audit.community.trim import Trim
from prime_audit.engine.mixture import Mixture, Request, Spent
from prime_audit.engine.sampling import Sampling
from prime_audit.errors import UserError
from prime_audit.lamp.prompts import Example
from prime_audit.lamp.tasks import TASKS, Task
from prime_audit.plugins import Personal, Scene
from prime_audit.plugins.loading import load_method
from prime_audit.settings import load_settings

SHARERS = ("s1", "s2", "s3", "s4")
WORDS = ("rain", "again", "so", "no", "football", "today")


def answer(task: Task, weights: np.ndarray, names: Sequence[str], prompt: str) -> str:
    """Stand in for the model: a deterministic answer that changes with the weights and the prompt."""
    # One sharer alone counts by her place, so that sharers differ from each other.
    table = np.asarray(weights, dtype=np.float64).reshape(-1, max(len(names), 1))
    places = [1 + SHARERS.index(name.partition(":")[2]) for name in names]
    pull = float(sum((row * places).sum() for row in table if names))
    place = int(np.floor(3 * pull + len(prompt) + sum(map(ord, prompt))))
    if task.kind == "generation":
        return " ".join(WORDS[(place + i) % 6] for i in range(3))
    return str(task.labels[place % len(task.labels)])


class Answering:
    """An engine that answers at once and remembers what it was asked; when sampling, each key has its answer."""

    def __init__(self, task: Task, layers: int = 3, sampling: bool = False) -> None:
        self.task, self.base = task, SimpleNamespace(layers=layers)
        self.keeper: Any = None
        self.sampling = Sampling() if sampling else None
        self.requests: list[Request] = []

    def generate(self, requests: Sequence[Request], max_new: int, tick: Any = None) -> list[str]:
        self.requests += requests
        if tick:
            tick(len(requests))
        drawn = [" ".join(r.key) if self.sampling else "" for r in requests]
        return [
            answer(self.task, r.mixture.weights, r.mixture.names, r.prompt + luck)
            for r, luck in zip(requests, drawn, strict=True)
        ]


def examples(task: Task, user: str) -> list[Example]:
    golds = task.labels or ("rain again today", "no football", "so rain today")
    return [
        Example(f"{user}/{n}/plain", f"{user} asks {n}", golds[n % len(golds)], str(n), "plain")
        for n in range(7)
    ]


def scene(
    task_name: str, targets: Sequence[str] = ("t1", "t2"), seed: int = 0, sampling: bool = False
) -> Scene:
    task = TASKS[task_name]
    order = {"t1": SHARERS, "t2": SHARERS[::-1]}

    def nearest(target: str, k: int) -> tuple[str, ...]:
        if k > len(SHARERS):
            raise UserError("too few")
        return order[target][:k]

    community = SimpleNamespace(
        targets=[SimpleNamespace(id=t) for t in targets],
        nearest=nearest,
        ready=lambda: None,
        last_examples=lambda user: examples(task, user.id),
    )

    @contextmanager
    def stage(name: str, total: int) -> Iterator[Callable[[int], None]]:
        done: list[int] = []
        yield done.append
        assert sum(done) == total, name  # what a bar promises is what it counts

    settings = load_settings("laptop")
    return Scene(
        task=task,
        engine=Answering(task, sampling=sampling),
        community=community,
        settings=settings,
        seed=seed,
        stage=stage,
    )  # type: ignore[arg-type]


def prime(where: Scene, **changed: Any) -> dict[str, Personal]:
    values: dict[str, Any] = {
        "alpha": 0.5, "optimizer": "cma", "budget": 9, "k": 3, "share": 0.7,
        "granularity": "module", "merge": "delta", "select": "best", "trim": "none", "density": 0.0,
    }  # fmt: skip
    personalise = load_method("prime").personalise
    assert personalise is not None
    return personalise(where, **(values | changed))


def drawn(where: Scene, target: str) -> list[Example]:
    """Examples of the search, as the engine saw them: those asked of the target's first sharer alone."""
    asked = {r.prompt for r in where.engine.requests if r.key[0] == target}  # type: ignore[attr-defined]
    return [e for e in examples(where.task, target) if e.prompt in asked]


def utility(task: Task, references: Sequence[str], predictions: Sequence[str]) -> float:
    """Compute the sum of the task's two metrics by other people's libraries; errors with their sign flipped."""
    if task.kind == "classification" and task.name != "LaMP-1":
        f1 = f1_score(references, predictions, labels=list(task.labels), average="macro", zero_division=0)
        return float(accuracy_score(references, predictions) + f1)
    if task.kind == "rating":
        r, p = [float(x) for x in references], [float(x) for x in predictions]
        return -float(mean_absolute_error(r, p) + root_mean_squared_error(r, p))
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=False)
    rows = [scorer.score(r, p) for r, p in zip(references, predictions, strict=True)]
    return float(
        np.mean([x["rouge1"].fmeasure for x in rows]) + np.mean([x["rougeL"].fmeasure for x in rows])
    )


@pytest.mark.parametrize("task_name", ["LaMP-1", "LaMP-2", "LaMP-3", "LaMP-4"])
@pytest.mark.parametrize("granularity", ["module", "layer"])
def test_every_number_of_the_trace_is_equation_8(task_name: str, granularity: str) -> None:
    where = scene(task_name)
    made = prime(where, granularity=granularity)
    for target, personal in made.items():
        chosen = drawn(where, target)
        assert len(chosen) == round(0.7 * 7)
        golds = [e.gold for e in chosen]
        sharers = personal.notes["sharers"]
        theirs = [
            [answer(where.task, np.ones(1), [f"sharer:{s}"], e.prompt) for e in chosen] for s in sharers
        ]
        assert len(personal.notes["trace"]) == 9
        for entry in [*personal.notes["trace"], personal.notes["recommended"]]:
            weights = np.array(entry["weights"])
            assert len(weights) == (9 if granularity == "layer" else 3)
            own = [answer(where.task, weights, [f"sharer:{s}" for s in sharers], e.prompt) for e in chosen]
            alike = [utility(where.task, reference, own) for reference in theirs]
            assert entry["utility"] == pytest.approx(utility(where.task, golds, own), abs=1e-12)
            assert entry["similarity"] == pytest.approx(alike, abs=1e-12)
            assert entry["objective"] == pytest.approx(entry["utility"] - 0.5 * np.mean(alike), abs=1e-12)


def test_ratings_are_errors_with_their_sign_flipped() -> None:
    trace = prime(scene("LaMP-3"))["t1"].notes["trace"]
    assert all(entry["utility"] <= 0 for entry in trace)
    assert all(value <= 0 for entry in trace for value in entry["similarity"])
    assert any(entry["utility"] < 0 for entry in trace)


def test_alpha_enters_the_objective_and_nothing_else() -> None:
    """The first point (nothing told yet) is the same for every alpha, and so are its parts."""
    first = {a: prime(scene("LaMP-3"), alpha=a)["t1"].notes["trace"][0] for a in (0.0, 0.3, 2.0)}
    for alpha, entry in first.items():
        assert {k: entry[k] for k in ("weights", "utility")} == {
            k: first[2.0][k] for k in ("weights", "utility")
        }
        assert entry["similarity"] == (first[2.0]["similarity"] if alpha else [])
        penalty = alpha * np.mean(entry["similarity"]) if alpha else 0.0
        assert entry["objective"] == pytest.approx(entry["utility"] - penalty)


def test_without_a_penalty_no_sharer_is_asked() -> None:
    asked = {}
    for alpha in (0.0, 0.3):
        where = scene("LaMP-3")
        prime(where, alpha=alpha)
        asked[alpha] = [r for r in where.engine.requests if len(r.mixture.names) == 1]  # type: ignore[attr-defined]
    assert asked[0.3]
    assert not asked[0.0]


@pytest.mark.parametrize("optimizer", ["cma", "ngopt", "ngiohtuned", "tbpsa"])
def test_best_deploys_the_best_point_evaluated_the_recommendation_among_them(optimizer: str) -> None:
    for seed in range(3):
        where = scene("LaMP-4", seed=seed)
        for target, personal in prime(where, optimizer=optimizer).items():
            notes = personal.notes
            seen = [*notes["trace"], notes["recommended"]]
            best = max(entry["objective"] for entry in seen)
            deployed = next(entry for entry in seen if entry["objective"] == best)
            assert notes["best"] == deployed
            assert notes["weights"] == deployed["weights"]
            np.testing.assert_array_equal(personal.mixture.weights, deployed["weights"])
            assert personal.mixture.names == tuple(f"sharer:{s}" for s in notes["sharers"])
            # Deployed in the engine's own words: answering with it gives the trace's utility again.
            chosen = drawn(where, target)
            own = [
                answer(where.task, personal.mixture.weights, personal.mixture.names, e.prompt) for e in chosen
            ]
            assert utility(where.task, [e.gold for e in chosen], own) == pytest.approx(deployed["utility"])


@pytest.mark.parametrize("optimizer", ["cma", "tbpsa"])
def test_recommended_deploys_the_recommendation_or_the_base_where_it_is_strictly_better(
    optimizer: str,
) -> None:
    outcomes = set()
    for budget, seed in product((1, 9), range(6)):  # hardly anything seen: the base is at times better
        where = scene("LaMP-4", seed=seed)
        best = prime(scene("LaMP-4", seed=seed), optimizer=optimizer, budget=budget)
        made = prime(where, optimizer=optimizer, budget=budget, select="recommended")
        for target, personal in made.items():
            assert personal.notes["trace"] == best[target].notes["trace"]  # the same search
            chosen = drawn(where, target)
            own = [answer(where.task, np.zeros(0), [], e.prompt) for e in chosen]
            sharers = personal.notes["sharers"]
            theirs = [
                [answer(where.task, np.ones(1), [f"sharer:{s}"], e.prompt) for e in chosen] for s in sharers
            ]
            gain = utility(where.task, [e.gold for e in chosen], own)
            base = gain - 0.5 * np.mean([utility(where.task, t, own) for t in theirs])
            seen = max(entry["objective"] for entry in personal.notes["trace"])
            outcomes.add(bool(base > seen + 1e-12))
            if base > seen + 1e-12:
                assert personal.mixture.names == ()
                assert personal.sharers == ()
                assert personal.notes["base"] == pytest.approx(base)
            else:
                assert personal.notes["weights"] == best[target].notes["recommended"]["weights"]
    assert outcomes == {True, False}


@pytest.mark.parametrize("sampling", [False, True])
@pytest.mark.parametrize("select", ["best", "recommended"])
def test_a_target_is_searched_as_if_alone(sampling: bool, select: str) -> None:
    together, alone = (
        prime(scene("LaMP-2", targets=targets, sampling=sampling), select=select)
        for targets in (("t1", "t2"), ("t2",))
    )
    assert together["t2"].notes == alone["t2"].notes


def test_every_draw_of_a_search_has_its_own_key() -> None:
    where = scene("LaMP-2", sampling=True)
    prime(where)
    keys = [r.key for r in where.engine.requests]  # type: ignore[attr-defined]
    assert len(keys) == len(set(keys))


def test_every_seed_is_searched_anew() -> None:
    together = prime(scene("LaMP-2"))
    again, other = prime(scene("LaMP-2")), prime(scene("LaMP-2", seed=1))
    assert again["t1"].notes == together["t1"].notes
    assert other["t1"].notes["trace"] != together["t1"].notes["trace"]


def test_members_are_the_merged_sharers_and_the_rule_is_the_one_asked_for() -> None:
    made = prime(scene("LaMP-2"), k=2, merge="factor")
    assert made["t1"].sharers == ("s1", "s2")
    assert made["t2"].sharers == ("s4", "s3")
    assert {p.mixture.rule for p in made.values()} == {"factor"}


def test_layer_weights_are_a_table_of_layers_and_sharers() -> None:
    personal = prime(scene("LaMP-2"), granularity="layer")["t1"]
    assert personal.mixture.weights.shape == (3, 3)
    assert personal.mixture.weights.ravel().tolist() == personal.notes["weights"]


def test_a_prompt_that_comes_twice_is_answered_once_when_greedy() -> None:
    where = scene("LaMP-4")
    prime(where, share=1.0)
    keys = [(*r.key[:2], r.prompt) for r in where.engine.requests]  # type: ignore[attr-defined]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("given", "trim"),
    [
        ({"trim": "ties"}, Trim("ties", 0.2, "delta")),
        ({"trim": "ties", "merge": "factor"}, Trim("ties", 0.2, "factor")),
        ({"trim": "dare"}, Trim("dare", 0.5, "factor")),
        ({"trim": "dare", "merge": "factor", "density": 0.3}, Trim("dare", 0.3, "factor")),
    ],
)
def test_what_is_trimmed_is_searched_over_and_sharers_answer_as_they_are(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], trim: Trim
) -> None:
    def united(_: Any, __: Any, sets: Any, how: Trim) -> dict[frozenset[str], tuple[str, ...]]:
        assert how == trim
        return {frozenset(one): (f"trimmed:{min(one)}",) for one in sets}

    monkeypatch.setattr("prime_audit.prime.prime.united", united)
    where = scene("LaMP-4")
    made = prime(where, **given)
    for personal in made.values():
        assert personal.mixture.names == tuple(f"trimmed:{s}" for s in personal.sharers)
    asked = {(r.key[1], r.mixture.names) for r in where.engine.requests}  # type: ignore[attr-defined]
    whole = {names for what, names in asked if what.startswith("sharer ")}
    assert whole == {(f"sharer:{s}",) for s in SHARERS}
    assert all(n.startswith("trimmed:") for what, names in asked if "sharer " not in what for n in names)


def test_more_sharers_than_there_are_is_refused() -> None:
    few = SimpleNamespace(
        task=TASKS["LaMP-2"],
        sharers=SHARERS,
        included=None,
        lost={},
        number=lambda key: 10,
        similarity=lambda target: np.ones(4),
    )
    with pytest.raises(UserError, match=r"LaMP-2: 5 sharers asked for, but the community has 4; lower k"):
        Community.nearest(few, "t1", 5)  # type: ignore[arg-type]


# -- what was searched once is not searched again --------------------------------------------------------------


def keeping(folder: Path, task: str = "LaMP-4", **words: Any) -> Scene:
    """Return a scene whose engine keeps what it finds, as far as a key asks of it."""
    where = scene(task, **words)
    engine: Any = where.engine
    engine.keeper = Store(folder, Spent())
    engine.base.device, engine.base.dtype = SimpleNamespace(type="cpu"), "float32"
    engine.base.codec, engine.base.sites = SimpleNamespace(context=99), ()
    engine.base.fingerprint = "some weights"
    engine.batch_tokens, engine.read_tokens = 64, 32
    engine.bank = SimpleNamespace(hashes={f"sharer:{s}": f"numbers of {s}" for s in SHARERS})
    return where


def refuse(*_: object) -> None:
    raise AssertionError("searched again")


@pytest.mark.parametrize("select", ["best", "recommended"])
@pytest.mark.parametrize("sampling", [False, True])
@pytest.mark.parametrize(
    ("optimizer", "granularity"), [("cma", "layer"), ("ngopt", "module"), ("tbpsa", "module")]
)
def test_a_search_read_back_is_the_search(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    optimizer: str,
    granularity: str,
    sampling: bool,
    select: str,
) -> None:
    words = {"optimizer": optimizer, "granularity": granularity, "select": select}
    plain = prime(scene("LaMP-4", sampling=sampling), **words)
    cold = prime(keeping(tmp_path, sampling=sampling), **words)
    monkeypatch.setattr("prime_audit.prime.objective.Search", refuse)
    warm = prime(keeping(tmp_path, sampling=sampling), **words)
    for target, one in plain.items():
        for other in (cold[target], warm[target]):
            assert repr(other.notes) == repr(one.notes)
            assert (other.sharers, other.mixture.names) == (one.sharers, one.mixture.names)
            np.testing.assert_array_equal(other.mixture.weights, one.mixture.weights)


def changed(what: str, where: Scene, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Change one thing that decides a search; return the method's parameters that it is changed by."""
    engine: Any = where.engine
    community: Any = where.community
    own = community.last_examples
    match what:
        case "adapter":
            engine.bank.hashes["sharer:s2"] = "others"
        case "gold":
            community.last_examples = lambda u: [
                Example(e.id, e.prompt, "no", e.item, e.kind) for e in own(u)
            ]
        case "prompt":
            community.last_examples = lambda u: [Example(e.id, "", e.gold, e.item, e.kind) for e in own(u)]
        case "batches":
            engine.batch_tokens = 65
        case "base":
            engine.base.fingerprint = "other weights"
        case "code":
            monkeypatch.setattr("prime_audit.prime.search.code_sha256", lambda *_: "other code")
        case "sharers' answers":
            monkeypatch.setattr(
                "prime_audit.prime.objective.alone", lambda name: Mixture((name,), np.full(1, 2.0))
            )
        case _:
            key, _, value = what.partition("=")
            return {key: float(value) if "." in value else int(value) if value.isdigit() else value}
    return {}


CHANGES = (
    *("alpha=0.25", "optimizer=tbpsa", "budget=8", "k=2", "share=0.5", "granularity=layer", "merge=factor"),
    *("adapter", "gold", "prompt", "batches", "base", "code", "sharers' answers"),
)


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_decides_a_search_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    prime(keeping(tmp_path))
    monkeypatch.setattr("prime_audit.prime.objective.Search", refuse)
    prime(keeping(tmp_path), select="recommended")  # what is deployed of it is decided afterwards
    where = keeping(tmp_path)
    words = changed(what, where, monkeypatch)
    with pytest.raises(AssertionError, match="searched again"):
        prime(where, **words)


@pytest.mark.parametrize("words", [{"seed": 1}, {"sampling": True}, {"targets": ("t1",)}, {"task": "LaMP-5"}])
def test_whatever_decides_a_run_makes_another_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: dict[str, Any]
) -> None:
    prime(keeping(tmp_path))
    monkeypatch.setattr("prime_audit.prime.objective.Search", refuse)
    with pytest.raises(AssertionError, match="searched again"):
        prime(keeping(tmp_path, **words))


def test_a_damaged_search_is_searched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prime(keeping(tmp_path))
    (file,) = tmp_path.rglob("arrays.safetensors")
    file.write_bytes(file.read_bytes()[:-8])
    monkeypatch.setattr("prime_audit.prime.objective.Search", refuse)
    with pytest.raises(AssertionError, match="searched again"):
        prime(keeping(tmp_path))


# -- searches that cannot tell candidates apart ----------------------------------------------------------------


def blind(monkeypatch: pytest.MonkeyPatch, golds: tuple[str, ...] = ("今天天气", "北京下雪", "好")) -> None:
    """Give the histories of all targets golds that ROUGE cannot see."""

    def hidden(task: Task, user: str) -> list[Example]:
        return [
            Example(f"{user}/{n}/plain", f"{user} asks {n}", golds[n % len(golds)], str(n), "plain")
            for n in range(7)
        ]

    monkeypatch.setattr(sys.modules[__name__], "examples", hidden)


@pytest.mark.parametrize("select", ["best", "recommended"])
def test_a_search_on_a_constant_objective_is_not_begun(select: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blind(monkeypatch)
    where = scene("LaMP-4")
    made = prime(where, alpha=0.0, select=select)
    assert list(made) == ["t1", "t2"]
    for personal in made.values():
        assert (personal.mixture.names, personal.sharers) == ((), ())
        assert "ROUGE sees no gold" in personal.notes["caution"]
    asked = [r.key[1] for r in where.engine.requests]  # type: ignore[attr-defined]
    assert not any(name.startswith(("candidate", "recommended")) for name in asked)


def test_chrf_searches_what_rouge_cannot_see(monkeypatch: pytest.MonkeyPatch) -> None:
    blind(monkeypatch, ("rain again 今天天气", "no football 北京下雪", "so rain today 好"))
    plain = scene("LaMP-4")
    where = replace(plain, task=plain.task.scored_by("chrf"))
    for personal in prime(where, alpha=0.0).values():
        assert len(personal.notes["trace"]) == 9
        for entry in personal.notes["trace"]:
            assert 0 <= entry["objective"] == entry["utility"] <= 1
    blind(monkeypatch)
    assert all(p.notes["trace"] for p in prime(where, alpha=0.0).values())


def test_candidates_that_all_score_the_same_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any("caution" in p.notes for p in prime(scene("LaMP-2"), alpha=0.5).values())
    blind(monkeypatch, ("zebra",))  # a word that no answer has
    for personal in prime(scene("LaMP-4"), alpha=0.0).values():
        assert {entry["objective"] for entry in personal.notes["trace"]} == {0.0}
        assert "every candidate of the search scored the same" in personal.notes["caution"]
