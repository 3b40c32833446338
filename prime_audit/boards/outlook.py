"""A board's frontiers as data: utility against leakage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from prime_audit.report.sheet import AUC, BASE, Figure, Sheet


def data(sheet: Sheet) -> str:
    """List every frontier's points as JSON: by task, metric, game and attack, dominated points marked."""
    found = [
        {"task": task, "metric": metric, "game": game, "attack": attack, "points": points}
        for task in sheet.tasks
        for metric in _metrics(sheet, task)
        for game, attack in _leakages(sheet, task)
        if (points := _pairs(sheet, task, metric, game, attack))
    ]
    lines = [json.dumps(f, ensure_ascii=False, allow_nan=False) for f in found]
    return '{"schema": "prime-audit/frontier/1", "frontiers": [\n' + ",\n".join(lines) + "\n]}\n"


def _metrics(sheet: Sheet, task: str) -> list[str]:
    return list(dict.fromkeys(f.metric for f in sheet.figures if f.task == task and f.game is None))


def _leakages(sheet: Sheet, task: str) -> list[tuple[str, str]]:
    seen = ((f.game, f.attack) for f in sheet.figures if f.task == task and f.metric == AUC)
    return list(dict.fromkeys((g, a) for g, a in seen if g is not None and a is not None))


def _pairs(sheet: Sheet, task: str, metric: str, game: str, attack: str) -> list[dict[str, Any]]:
    here = [f for f in sheet.figures if f.task == task and f.value is not None]
    utility = {f.method: f for f in here if f.metric == metric and f.game is None}
    leak = {f.method: f for f in here if (f.metric, f.game, f.attack) == (AUC, game, attack)}
    base = {f.method: f.value for f in here if (f.metric, f.game, f.attack) == (BASE, game, attack)}
    pairs = [(utility[m], leak[m]) for m in utility if m in leak]
    return [
        {
            "method": u.method,
            "utility": u.value,
            "utility_ci": u.ci,
            "auc": a.value,
            "auc_ci": a.ci,
            "auc_base": base.get(u.method),
            "dominated": dominated(u, a, pairs),
            "records": list(dict.fromkeys([*u.sources, *a.sources])),
        }
        for u, a in pairs
    ]


def dominated(utility: Figure, auc: Figure, pairs: Sequence[tuple[Figure, Figure]]) -> bool:
    """Whether another method is as useful and as close to ½, and better in one of both."""
    own = _goodness(utility), -_distance(auc)
    others = [(_goodness(u), -_distance(a)) for u, a in pairs if u is not utility]
    return any(g >= own[0] and d >= own[1] and (g, d) != own for g, d in others)


def _goodness(f: Figure) -> float:
    assert f.value is not None
    return -f.value if f.higher_is_better is False else f.value


def _distance(f: Figure) -> float:
    assert f.value is not None
    return abs(f.value - 0.5)
