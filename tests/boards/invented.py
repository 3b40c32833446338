"""Invented runs of true specification, and a board that takes them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prime_audit.errors import UserError
from prime_audit.folder import RunFolder
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.plan import make_plan
from prime_audit.plugins.loading import load_attack
from prime_audit.record import Comparison, Data, Leak, Model, Record, Result, Times
from prime_audit.runs import provenance
from tests import records

METHODS = ("np", "perpcs", "prime", "prime:alpha=0.6+rag")
BOARD = """
name = "toy"
title = "A toy board"
about = ["Invented <b>figures</b>."]
command = "prime-audit compare --seed {seed}"
model = "mini"
tasks = ["LaMP-2", "LaMP-3"]
methods = ["np", "perpcs", "prime", "oppu"]
games = ["paper"]
attacks = ["loss"]
seeds = [0, 1]

[columns]
accuracy = "higher"
f1 = "higher"
MAE = "lower"
RMSE = "lower"
auc = "half"
auc_base = "half"

[run]
data = "world"
model = "mini"
preset = "laptop"
[run.set]
targets = 4
"""


def board_at(home: Path, text: str = BOARD) -> Path:
    """Write a board's folder below ``home``."""
    folder = home / "toy"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "board.toml").write_text(text, encoding="utf-8")
    return folder


def run_record(
    seed: int = 0,
    methods: Sequence[str] = METHODS,
    tasks: Sequence[str] = ("LaMP-2", "LaMP-3"),
    plugins_given: Sequence[Path] = (),
    given: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Record:
    """Make a run's record: true plan with the ``given`` options, invented figures that depend on the seed."""
    asked = {"methods": ",".join(methods), "tasks": tasks, "games": "paper", "overrides": ["targets=4"]}
    plan = make_plan(**{**asked, "seed": seed, "plugins": plugins_given, **(given or {})})
    parts = {part.plugin.name: part.plugin for spec in plan.methods for part in spec.parts}
    rng = np.random.default_rng(seed)
    results, comparisons, leaks = list[Result](), list[Comparison](), list[Leak]()
    for task in tasks:
        for spec in plan.methods:
            results += _utility(task, spec.label, rng)
            comparisons += _gaps(task, spec.label, rng)
            results += _leakage(task, spec.label, rng)
            leaks += _panel(task, spec.label, results)
    record = Record(
        command="prime-audit compare …",
        spec=plan.spec(),
        methods={m.label: {t: m.values(plan.settings, t) for t in tasks} for m in plan.methods},
        seeds={"run": seed},
        versions={"prime-audit": "0"},
        data=tuple(_data(task, seed) for task in tasks),
        model=Model("mini", "c" * 64, 1, "float32"),
        hardware={"device": "cpu"},
        results=tuple(results),
        times=Times(started="then", finished="now"),
        comparisons=tuple(comparisons),
        leaks=tuple(leaks),
        code={"version": "0", "sha256": "0" * 64, "commit": "0" * 40, "dirty": False},
        plugins=provenance.plugins_of([*parts.values(), load_attack("loss")], plugins_given),
    )
    return replace(record, **changes)


def _data(task: str, seed: int) -> Data:
    split = hashlib.sha256(f"{task} {seed}".encode()).hexdigest()
    return records.data(task=task, sha256=split[::-1], split_sha256=split)


def _utility(task: str, method: str, rng: np.random.Generator) -> list[Result]:
    found = []
    for metric in TASKS[task].metrics:
        value = round(float(rng.uniform(0.3, 0.6)), 4)
        ci = (value - 0.05, value + 0.05)
        higher = TASKS[task].higher_is_better
        found.append(
            records.result(
                task=task,
                method=method,
                metric=metric,
                value=value,
                ci=ci,
                n=36,
                higher_is_better=higher,
                targets=4,
            )
        )
    return found


def _gaps(task: str, method: str, rng: np.random.Generator) -> list[Comparison]:
    if method == "np":
        return []
    gaps = [(metric, float(rng.uniform(-0.1, 0.1))) for metric in TASKS[task].metrics]
    return [
        records.comparison(task=task, method=method, metric=metric, difference=g, ci=(g - 0.1, g + 0.1), n=36)
        for metric, g in gaps
    ]


def _leakage(task: str, method: str, rng: np.random.Generator) -> list[Result]:
    where = {"game": "paper", "attack": "loss"}
    if method == "np":
        return [
            records.result(
                task=task, method=method, metric=m, value=None, ci=None, n=0, reason="merges nobody", **where
            )
            for m in ("auc", "auc_base")
        ]
    values = [("auc", float(rng.uniform(0.4, 0.6))), ("auc_base", 0.48)]
    return [
        records.result(
            task=task,
            method=method,
            metric=m,
            value=v,
            ci=(v - 0.1, v + 0.1),
            n=400,
            targets=4,
            member_sharers=3,
            **where,
        )
        for m, v in values
    ]


def _panel(task: str, method: str, results: Sequence[Result]) -> list[Leak]:
    auc = [r for r in results if (r.task, r.method, r.metric) == (task, method, "auc")][-1]
    if auc.value is None:
        return []
    return [records.leak(task=task, method=method, auc=auc.value, ci=auc.ci, verdict="confounded")]


def run_at(folder: Path, record: Record) -> Path:
    """Write a run's folder."""
    RunFolder.create(folder, "run").write_record(record)
    return folder


def refusal(read: Callable[[Path], Any], path: Path, text: str) -> str:
    """Write a file that ``read`` must refuse, in one line that names it; return that line."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message
