"""What each study runs, without running it; and how studies are found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prime_audit.errors import UserError
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.plan import Plan, make_plan
from prime_audit.studies.catalog import STUDIES
from prime_audit.studies.run import study
from prime_audit.studies.spec import Study, Variant
from tests.docs.examples import example

PRIME = "prime:alpha=0"
FRONTS = ("", "+rag:k=1", "+pag:k=1")
PROMPTS = ["rag:k=1", "pag:k=0", "pag:k=1"]
EXPECTED: dict[str, tuple[str, list[str]]] = {
    "main": (
        "LaMP-1 LaMP-2 LaMP-3 LaMP-4 LaMP-5 LaMP-7",
        [*PROMPTS, *(f"{m}{f}" for m in ("perpcs", PRIME, "oppu") for f in FRONTS)],
    ),
    "tradeoff": ("LaMP-2 LaMP-4 LaMP-7", ["perpcs", *(f"prime:alpha={a}" for a in (0, 0.2, 0.6, 1, 2))]),
    "rag-k": (
        "LaMP-2 LaMP-4",
        [
            f"{m}{f}"
            for m in (PRIME, "perpcs")
            for f in (
                "",
                *(f"+rag:k={k}" for k in (1, 2, 3, 4)),
                *(f"+pag:k={k}" for k in (0, 1, 2, 3, 4)),
            )
        ],
    ),
    "loras": (
        "LaMP-2 LaMP-4 LaMP-7",
        ["perpcs", *(f"prime:k={n}{g}" for g in ("", ",granularity=layer") for n in (1, 3, 5))],
    ),
    "data-share": (
        "LaMP-1 LaMP-2 LaMP-4",
        [*(f"perpcs{f}" for f in FRONTS), *(f"prime:share={s}" for s in (0.2, 0.4, 0.6, 0.8, 1))],
    ),
    "optimizers": (
        "LaMP-1 LaMP-2 LaMP-4",
        ["perpcs", *(f"prime:optimizer={o}" for o in ("cma", "ngiohtuned", "tbpsa", "ngopt"))],
    ),
    "base-models": ("LaMP-2 LaMP-4", [f"{m}{f}" for m in ("perpcs", PRIME) for f in FRONTS]),
    "decoding": ("LaMP-2 LaMP-4", PROMPTS),
    "profiles": (
        "LaMP-2 LaMP-4",
        ["pag:k=0", "pag:k=1", "pag:k=0,text=reworded", "pag:k=1,text=reworded"],
    ),
    "responses": ("LaMP-4", ["perpcs", PRIME, "prime:alpha=2", "prime:alpha=5", "nearest"]),
    "merge-rule": (
        "LaMP-2 LaMP-4 LaMP-7",
        [
            *("perpcs", PRIME, "prime:alpha=1"),
            *(f"prime:alpha={a},merge=factor" for a in (0, 1)),
            "prime:alpha=0,merge=factor,select=recommended",
        ],
    ),
    "audit-games": ("LaMP-2 LaMP-4", ["perpcs", PRIME, "prime:alpha=2", "oppu"]),
}
GAMES = {
    "tradeoff": ("paper",),
    "merge-rule": ("paper",),
    "audit-games": ("paper", "heldout", "inclusion", "target"),
}


def plan_of(asked: Study, overrides: tuple[str, ...]) -> Plan:
    methods = [v.method for v in asked.variants]
    return make_plan(methods=methods, tasks=asked.tasks, games=asked.games, overrides=overrides)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_study_expands_to_its_plan(name: str) -> None:
    asked, (tasks, methods) = STUDIES[name], EXPECTED[name]
    for overrides in asked.runs.values():
        plan = plan_of(asked, overrides)
        assert plan.tasks == tuple(tasks.split())
        # No two variants are one method, and labels are those that records will have.
        assert [m.label for m in plan.methods] == list(dict.fromkeys(["np", *methods]))
        assert plan.games == GAMES.get(name, ())
        assert plan.attacks == ("loss",)


def test_the_list_is_complete() -> None:
    assert list(STUDIES) == list(EXPECTED)


@pytest.mark.parametrize("asked", STUDIES.values(), ids=lambda s: s.name)
def test_pairs_and_references_name_variants(asked: Study) -> None:
    keys = [v.key for v in asked.variants]
    assert len(set(keys)) == len(keys)
    named = {key for pair in asked.pairs for key in pair} | set(asked.reference)
    assert named <= set(keys)
    assert asked.pairs
    assert all(first != second for first, second in asked.pairs)
    assert {run for v in asked.variants for run in v.runs} == set(asked.runs)
    assert set(asked.tasks) <= set(TASKS)
    if asked.figure == "lines":
        assert all((v.x is None) == (v.key in asked.reference) for v in asked.variants)


def test_the_example_of_the_docs_is_a_study() -> None:
    made: dict[str, Any] = {"Study": Study, "Variant": Variant}
    exec(example("catalog.py"), made)
    plan = plan_of(made["TOP_K"], ())
    assert [m.label for m in plan.methods] == ["np", *(f"perpcs:top_k={k}" for k in (1, 2, 3))]
    test_pairs_and_references_name_variants(made["TOP_K"])


def test_decoding_repeats_nothing_but_decoding() -> None:
    settings = [plan_of(STUDIES["decoding"], own).settings for own in STUDIES["decoding"].runs.values()]
    assert len(settings) == 3
    assert [s.get("decode_seed", "LaMP-2") for s in settings] == [1, 2, 3]
    assert all(s.get("sampling", "LaMP-2") for s in settings)
    assert all(set(s.overrides) == {"sampling", "decode_seed"} for s in settings)


def test_the_papers_models_are_asked_of_the_papers_preset() -> None:
    assert STUDIES["base-models"].models == {
        "paper": ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.2-3B"),
    }


# -- finding them ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("study", "--list"), ("list", "studies")])
def test_they_are_listed_with_what_they_answer(say: Callable[..., Any], words: tuple[str, ...]) -> None:
    rows = json.loads(say(*words, "--json").out)
    assert {row["study"]: row["answers"] for row in rows} == {s.name: s.answers for s in STUDIES.values()}
    printed = say(*words)
    assert printed.code == 0
    assert all(name in printed.out for name in STUDIES)


def test_listing_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['prime-audit', 'study', '--list']\n"
        "from prime_audit.commands.cli import main\nmain()\n"
        "print([m for m in ('torch', 'matplotlib', 'transformers', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_is_wrong_is_one_line(say: Callable[..., Any], tmp_path: Path) -> None:
    said = say("study", "trade-off")
    assert (said.code, said.err) == (2, "prime-audit: unknown study 'trade-off': did you mean tradeoff?\n")
    said = say("study")
    assert said.code == 2
    assert "study --list" in said.err
    said = say("study", "decoding", "--set", "temprature=1", "--out", tmp_path / "s")
    assert said.code == 2
    assert "temperature" in said.err
    assert not (tmp_path / "s").exists()


def test_settings_that_make_two_variants_one_are_refused(say: Callable[..., Any], tmp_path: Path) -> None:
    said = say("study", "loras", "--set", "prime.granularity=layer", "--out", tmp_path / "s")
    assert said.code == 2
    assert "prime:k=1,granularity=layer is the same as another of its methods" in said.err


def test_a_later_runs_fault_is_told_before_the_first_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from prime_audit.studies import catalog, run

    broken = STUDIES["decoding"].runs | {"decoding-3": ("sampling=perhaps",)}
    changed = {"decoding": type(STUDIES["decoding"])(**vars(STUDIES["decoding"]) | {"runs": broken})}
    monkeypatch.setattr(catalog, "STUDIES", changed)
    monkeypatch.setattr(run, "compare", lambda *_, **__: pytest.fail("ran"))
    with pytest.raises(UserError, match="perhaps"):
        study("decoding", out=tmp_path / "s")
    assert not (tmp_path / "s").exists()
