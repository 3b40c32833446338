"""What the settings and the presets are: ``describe settings``, ``describe PRESET``, ``list presets``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from prime_audit.engine.recipe import Recipe
from prime_audit.lamp.tasks import TASKS
from prime_audit.settings import SETTINGS, Setting, Settings, load_settings, presets, purpose

_HOW = (
    "Change one with --set KEY=VALUE, for one task with --set TASK.KEY=VALUE.\n"
    "Methods have parameters of their own (describe METHOD): --set METHOD.PARAM=VALUE."
)


def settings_text(settings: Settings) -> str:
    """Tabulate every setting."""
    head = f"settings of preset {settings.preset} (of {', '.join(presets())})\n{_HOW}\n\n"
    return head + _table(settings_rows(settings), ["setting", "value", "allowed", "meaning"])


def settings_rows(settings: Settings) -> list[list[str]]:
    """List every setting: its key, its value in force, what it may be, what it means."""
    return [
        [key, _in_force(settings, key), _allowed(row, settings, key), row.means]
        for key, row in SETTINGS.items()
    ]


def preset_text(name: str) -> str:
    """Say what a preset is for, and where its numbers differ from the other presets'."""
    own, others = load_settings(name), [load_settings(p) for p in presets() if p != name]
    rows = []
    for key, row in SETTINGS.items():
        values = [_in_force(settings, key) for settings in (own, *others)]
        if len({*values}) > 1:
            rows.append([key, *values, row.means])
    heads = ["setting", name, *(p for p in presets() if p != name), "meaning"]
    return f"{name}: {purpose(name)}\nkind: preset; --preset {name}\n\n{_table(rows, heads)}"


def preset_rows() -> list[dict[str, Any]]:
    """List the presets: what each is for, its model and its size."""
    rows = []
    for name in presets():
        own = load_settings(name)
        size = {"model": own.get("model"), "targets": own.get("targets"), "sharers": own.get("clusters")}
        rows.append({"preset": name, "for": purpose(name), **size})
    return rows


def _table(rows: list[list[str]], heads: list[str]) -> str:
    from tabulate import tabulate

    widths = [None, *(31,) * (len(heads) - 2), 48]
    return tabulate(rows, headers=heads, disable_numparse=True, maxcolwidths=widths)


def _in_force(settings: Settings, key: str) -> str:
    """Write a setting's value: the commonest, then the tasks that differ."""
    by_task = {task: _word(_value(settings, key, task)) for task in TASKS}
    return _by_value(by_task)


def _by_value(by_task: Mapping[str, str]) -> str:
    """Write values by task, the commonest first: ``3; LaMP-1 LaMP-3: 5``."""
    (usual, _), *others = Counter(by_task.values()).most_common()
    tasks = {value: [task for task, own in by_task.items() if own == value] for value, _ in others}
    return "; ".join([usual, *(f"{' '.join(own)}: {value}" for value, own in tasks.items())])


def _value(settings: Settings, key: str, task: str) -> Any:
    """Return the value in force; of a recipe's settings that the preset leaves out, the recipe's own default."""
    if (found := settings.find(key, task)) is not None:
        return found
    last = key.rpartition(".")[2]
    default = next(field.default for field in fields(Recipe) if field.name == last)
    return default or (0.0 if isinstance(default, float) else None)


def _word(value: Any) -> str:
    """Write a value as it is typed; a dash for none."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "+".join(value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value not in (None, "") else "–" if value is None else "''"


def _allowed(row: Setting, settings: Settings, key: str) -> str:
    """Write what a setting may be."""
    values = [_value(settings, key, task) for task in TASKS]
    like = next((value for value in (*values, row.like) if value is not None), "")
    if row.words:
        return ", ".join(row.words)
    if isinstance(like, bool):
        return "true, false"
    if not isinstance(like, int | float):
        return "text" if isinstance(like, str) else "names"
    low = row.least if row.least is not None else 1 if isinstance(like, int) else -math.inf
    if row.most < math.inf:
        return f"{low:g} to {row.most:g}"
    return f"≥ {low:g}" if low > -math.inf else "a number"
