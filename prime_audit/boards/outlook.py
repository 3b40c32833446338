"""A board's frontiers as data: utility against leakage."""

from __future__ import annotations

import json
from typing import Any

from prime_audit.report.frontier import points
from prime_audit.report.sheet import AUC, Figure, Sheet


def data(sheet: Sheet) -> str:
    """List every frontier's points as JSON: by task, metric, game and attack, dominated points marked."""
    found = [
        {"task": task, "metric": metric, "game": game, "attack": attack, "points": points}
        for task in sheet.tasks
        for metric in dict.fromkeys(f.metric for f in sheet.figures if f.task == task and f.game is None)
        for game, attack in _leakages(sheet, task)
        if (points := _pairs(sheet, task, metric, game, attack))
    ]
    lines = [json.dumps(f, ensure_ascii=False, allow_nan=False) for f in found]
    return '{"schema": "prime-audit/frontier/1", "frontiers": [\n' + ",\n".join(lines) + "\n]}\n"


def _leakages(sheet: Sheet, task: str) -> list[tuple[str, str]]:
    seen = ((f.game, f.attack) for f in sheet.figures if f.task == task and f.metric == AUC)
    return list(dict.fromkeys((g, a) for g, a in seen if g is not None and a is not None))


def _pairs(sheet: Sheet, task: str, metric: str, game: str, attack: str) -> list[dict[str, Any]]:
    found = [(p.utility, p.auc, p.base) for p in points(sheet, task, metric, game, attack) if p.auc]
    places = [(_goodness(u), -_distance(a)) for u, a, _ in found]
    return [
        {
            "method": u.method,
            "utility": u.value,
            "utility_ci": u.ci,
            "auc": a.value,
            "auc_ci": a.ci,
            "auc_base": base.value if base else None,
            # another is as useful and as close to ½, and better in one of both
            "dominated": any(other != own and other[0] >= own[0] and other[1] >= own[1] for other in places),
            "records": list(dict.fromkeys([*u.sources, *a.sources])),
        }
        for (u, a, base), own in zip(found, places, strict=True)
    ]


def _goodness(f: Figure) -> float:
    assert f.value is not None
    return -f.value if f.higher_is_better is False else f.value


def _distance(f: Figure) -> float:
    assert f.value is not None
    return abs(f.value - 0.5)
