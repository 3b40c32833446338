"""A board's frontiers as data: utility against leakage."""

from __future__ import annotations

import json
from typing import Any

from prime_audit.report.frontier import points
from prime_audit.report.sheet import AUC, Sheet


def data(sheet: Sheet) -> str:
    """List every frontier's points as JSON: by task, metric, game and attack, dominated points marked."""
    found = [
        {"task": task, "metric": metric, "game": game, "attack": attack, "points": points}
        for task in sheet.tasks
        for metric in dict.fromkeys(f.metric for f in sheet.figures if f.task == task and f.game is None)
        for game, attack in dict.fromkeys(
            (f.game, f.attack) for f in sheet.figures if f.task == task and f.metric == AUC
        )
        if game is not None and attack is not None and (points := _pairs(sheet, task, metric, game, attack))
    ]
    lines = [json.dumps(f, ensure_ascii=False, allow_nan=False) for f in found]
    return '{"schema": "prime-audit/frontier/1", "frontiers": [\n' + ",\n".join(lines) + "\n]}\n"


def _pairs(sheet: Sheet, task: str, metric: str, game: str, attack: str) -> list[dict[str, Any]]:
    return [
        {
            "method": p.method,
            "utility": p.utility.value,
            "utility_ci": p.utility.ci,
            "auc": p.leak.value,
            "auc_ci": p.leak.ci,
            "auc_over_base": p.leak.difference,
            # another is as useful and leaks as little over the base (or is as close to ½), and is better in one
            "dominated": p.dominated,
            "records": list(dict.fromkeys([*p.utility.sources, *p.leak.sources])),
        }
        for p in points(sheet, task, metric, game, attack)
        if p.leak
    ]
