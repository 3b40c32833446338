"""Checks of a method: its parameters as declared, and two runs on a tiny world with the mini model."""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prime_audit.authoring.check import Check, described, in_line
from prime_audit.community.sharers import sharer_of
from prime_audit.errors import PartError, UserError
from prime_audit.games.exam.queries import Queries, queries_of
from prime_audit.lamp.tasks import TASKS
from prime_audit.plugins import Augment, Method, Param
from prime_audit.plugins.loading import available, load_game, read_params
from prime_audit.settings import load_settings

TASK = "LaMP-3"
WORLD: dict[str, Any] = {
    "users": 12,
    "adapt": 2,
    "targets": 3,
    "history": (6, 7),
    "queries": 2,
    "clusters": 3,
}
SETTINGS = (
    *("clusters=4", "min_history=4", "last_items=3", "max_new=4", "lora.rank=2", "gate.steps=2"),
    *("adaptation.epochs=1", "sharer.epochs=1", "prime.budget=5", "prime.k=2", "perpcs.n_sim=2"),
)
"""A run of seconds: four sharers, three targets."""


def examine_method(method: Method, plugins: Sequence[Path] = ()) -> list[Check]:
    """Check one method; parameters keep their defaults."""
    checks = [described(method), _parameters(method)]
    if not checks[-1].ok:
        return checks
    if method.augment:
        return [*checks, _front(method)]
    return [*checks, *_runs(method, plugins)]


def _parameters(method: Method) -> Check:
    faults = [fault for param in method.params if (fault := _fault(method, param))]
    function = method.augment or method.personalise
    assert function is not None
    taken = {p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}
    taken -= {"alone"}
    declared = {p.name for p in method.params}
    if taken != declared:
        odd = ", ".join(sorted(taken ^ declared))
        faults.append(f"{odd} must be both in the signature and in params")
    found = "; ".join(faults) or (", ".join(sorted(declared)) or "none")
    remedy = "take each as a keyword after *, and declare it as Param(name, default, help)"
    return Check("parameters", not faults, found, remedy)


def _fault(method: Method, param: Param) -> str:
    if not param.help.strip():
        return f"{param.name} has no help"
    if not param.name.isidentifier():
        return f"{param.name!r} is no name"
    try:
        settings = load_settings("laptop", ())
        values = [read_params(method, {}, settings, task)[param.name] for task in TASKS]
    except (UserError, KeyError) as fault:
        return f"{param.name}: default {param.default!r} cannot be read ({in_line(fault)})"
    wrong = [v for v in values if param.choices and v not in param.choices]
    return f"{param.name}: default {wrong[0]!r} is none of its choices" if wrong else ""


def _front(method: Method) -> Check:
    assert method.augment is not None
    values = read_params(method, {}, load_settings("laptop", ()), TASK)
    try:
        made = [method.augment(alone=alone, **values) for alone in (True, False, True)]
    except Exception as fault:
        return Check(
            "augments", False, f"fails: {type(fault).__name__}: {fault}", "take (*, alone, **params)"
        )
    good = all(isinstance(a, Augment) and a.k >= 0 for a in made) and made[0] == made[2]
    found = f"k {made[0].k}, profile {made[0].profile}" if good else f"gives {made[0]!r}"
    return Check("augments", good, found, "return Augment(k, profile), the same for the same parameters")


def _runs(method: Method, plugins: Sequence[Path]) -> list[Check]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a model this small is slower on more
    try:
        return _run_twice(method, plugins)
    finally:
        torch.set_num_threads(threads)


def _run_twice(method: Method, plugins: Sequence[Path]) -> list[Check]:
    """Run as a run does, then again with the games that remake models: same models, and models as coins allow."""
    games = [(name, queries_of(load_game(name))) for name in available("game")]
    deployed = [name for name, queries in games if queries is Queries]
    remade = [name for name, queries in games if queries.remakes]
    with tempfile.TemporaryDirectory(prefix="prime-audit-doctor-") as folder:
        try:
            first = _run(method, plugins, Path(folder), "first", deployed)
        except Exception as fault:
            return [Check("runs", False, _told(fault), "fix it; compare with baselines/prime_baselines")]
        runs = Check("runs", True, f"{TASK} of a world of {WORLD['users']} users, mini model")
        try:
            again = _run(method, plugins, Path(folder), "again", [*deployed, *remade])
        except Exception as fault:
            remedy = (
                "there are fewer targets there, and nearest(target, k) may give fewer or more than k sharers"
            )
            return [runs, Check("inclusion", False, _told(fault), remedy)]
    same = all(first[part] == again[part] for part in ("models", "answers"))
    return [
        runs,
        _one_each(first["models"], first["targets"]),
        Check(
            "deterministic",
            same,
            "same seed, same models and answers" if same else "same seed, other models or answers",
            "draw with prime_audit.seeds.rng_of(scene.seed, …)",
        ),
        _members(first["models"]),
        _inclusion(again),
    ]


def _told(fault: Exception) -> str:
    text = str(fault) if isinstance(fault, UserError) else f"{type(fault).__name__}: {fault}"
    return " ".join(text.partition("; see prime-audit doctor")[0].split())


def _run(
    method: Method, plugins: Sequence[Path], root: Path, name: str, games: Sequence[str]
) -> dict[str, Any]:
    """Run the method once: its models, those remade where coins decide, its answers, and the targets."""
    from prime_audit.games.exam.stored import read_exam
    from prime_audit.lamp.world.world import write_world
    from prime_audit.runs.compare import compare

    data = write_world(TASK, root / name, **WORLD)
    words: dict[str, Any] = {
        "tasks": TASK,
        "data": str(data),
        "model": "mini",
        "games": games,
        "overrides": SETTINGS,
        "plugins": plugins,
    }
    run = compare(method.name, **words, cache=None, out=root / f"{name}-run", quiet=True)
    for failure in run.record.failures:
        raise PartError(failure.error)
    rows = [json.loads(line) for line in (run.path / "models.jsonl").read_text("utf-8").splitlines()]
    own, answers = [m for m in rows if m["method"] == method.name], list(run.predictions())
    return {
        "models": [m for m in own if "game" not in m],
        "remade": [m for m in own if "game" in m],
        "refused": [
            p.why
            for p in read_exam(run.path, TASK).passes
            if p.method == method.name and p.why and any(m.get("game") == p.kind for m in own)
        ],
        "answers": answers,
        "targets": sorted({a["target"] for a in answers}),
    }


def _inclusion(run: dict[str, Any]) -> Check:
    """Whoever merges sharers must merge only those that a game's coins leave to the target."""
    made, refused = len(run["remade"]), run["refused"]
    found = (
        refused[0]
        if refused
        else f"{made} models remade"
        if made
        else "merges no sharers: nothing to include"
    )
    remedy = "merge only sharers that scene.community.nearest(target, k) returns"
    return Check("inclusion", not refused, found, remedy)


def _one_each(models: Sequence[dict[str, Any]], targets: Sequence[str]) -> Check:
    made = sorted(m["target"] for m in models)
    found = f"{len(made)} models for {len(targets)} targets"
    return Check(
        "one model a target", made == list(targets), found, "return {target.id: Personal} of every target"
    )


def _members(models: Sequence[dict[str, Any]]) -> Check:
    """Whoever is declared as merged must be in the mixture, and whoever is in it must be declared."""
    for model in models:
        weights = np.atleast_2d(np.asarray(model["weights"], dtype=np.float64))
        inside = {n for n, w in zip(model["adapters"], weights.T, strict=True) if np.any(w)}
        inside |= {n for name in inside for n in model.get("made_of", {}).get(name, ())}
        merged = {sharer for n in inside if (sharer := sharer_of(n)) is not None}
        if odd := sorted(set(model["sharers"]) ^ merged):
            which = "declared, with no weight" if odd[0] in model["sharers"] else "merged, not declared"
            found = f"target {model['target']}: sharer {odd[0]} is {which}"
            remedy = (
                "Personal.sharers are those whose adapters have weight (bank.add(…, made_of=…) says whose)"
            )
            return Check("members", False, found, remedy)
    return Check("members", True, "declared sharers are those whose adapters have weight")
