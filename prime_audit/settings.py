"""All numbers of a run: the presets of ``presets.toml``, with single numbers changed by ``--set KEY=VALUE``."""

from __future__ import annotations

import copy
import json
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from prime_audit.errors import UserError, unknown

_FILE = Path(__file__).with_name("presets.toml")
RUN_WIDE = ("context", "encoder", "encoder_tokens", "lora.modules", "model", "profiler")
"""Settings of the models that all tasks of a run share: no task has its own."""
RECIPE_KEYS = ("batch", "epochs", "steps", "lr", "clip", "weight_decay", "schedule", "warmup")
# Keys a preset need not spell out: the recipe's own defaults stand behind them.
_OPTIONAL = {f"{part}.{key}" for part in ("adaptation", "sharer", "gate") for key in RECIPE_KEYS}


# Least and most of each number: beyond them nothing can be computed. Whole numbers not named here are at least 1.
BOUNDS: dict[str, tuple[float, float]] = {
    "chunk": (0, math.inf),
    "max_items": (0, math.inf),
    "adapt_share": (0, 0.99),
    "min_history": (0, math.inf),
    "heldout": (0, 0.99),
    "nonmember_items": (0, math.inf),
    "temperature": (1e-3, math.inf),
    "top_p": (1e-6, 1),
    "decode_seed": (0, math.inf),
    "lora.alpha": (1e-9, math.inf),
    "lora.dropout": (0, 0.99),
    "perpcs.n_sim": (0, math.inf),
    "prime.share": (0, 1),
} | {
    f"{part}.{key}": bounds
    for part in ("adaptation", "sharer", "gate")
    for key, bounds in {
        "lr": (0, math.inf),
        "clip": (1e-9, math.inf),
        "weight_decay": (0, math.inf),
        "warmup": (0, 1),
    }.items()
}
SCHEDULES = ("cosine", "linear")


Reader = Callable[[str, str], Any]
"""(text, where it stands) → the value it means; UserError where it means none."""


class Settings:
    """One preset with its overrides: plain nested data, read by dotted key and task."""

    def __init__(self, preset: str, overrides: Mapping[str, Any]) -> None:
        self.preset = preset
        self.overrides = dict(overrides)
        self._tree = _preset(preset)

    def get(self, key: str, task: str = "") -> Any:
        """Read ``key`` (``clusters``, ``sharer.lr``): override, then the task's row, then the preset's own."""
        if (given := self.override(key, task)) is not None:
            return given
        for branch in (self._tree["tasks"].get(task, {}), self._tree):
            found = _dig(branch, key)
            if found is not None:
                return found
        raise KeyError(key)

    def override(self, key: str, task: str) -> Any:
        """Return what ``--set`` says of a key, for the task before all tasks; None where it says nothing."""
        return self.overrides.get(f"{task}.{key}", self.overrides.get(key))

    def recipe(self, part: str, task: str) -> dict[str, Any]:
        """Gather a training recipe (``adaptation``, ``sharer``, ``gate``) for a task."""
        found = {}
        for key in RECIPE_KEYS:
            try:
                found[key] = self.get(f"{part}.{key}", task)
            except KeyError:
                continue
        return found

    def for_task(self, task: str) -> dict[str, Any]:
        """Everything in force for a task, flat: what the record keeps."""
        return {key: self.get(key, task) for key in sorted(_keys(self._tree)) if _has(self, key, task)}


def load_settings(
    preset: str, overrides: Sequence[str] = (), params: Mapping[str, Reader] | None = None
) -> Settings:
    """Read a preset and ``KEY=VALUE`` overrides (``[TASK.]key``); UserError for unknown names or a wrong type.

    ``params`` are further keys, those of methods (``plugins.load_run_settings``), and how each is read.
    """
    if preset not in presets():
        raise unknown("preset", preset, presets())
    known, others = _preset(preset), params or {}
    parsed: dict[str, Any] = {}
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: write KEY=VALUE, for example --set clusters=10")
        task, _, rest = name.partition(".")
        task, key = (task, rest) if task in known["tasks"] else ("", name)
        if key not in _keys(known) | others.keys():
            raise unknown("setting", key, _keys(known) | others.keys())
        read = others[key] if key not in _keys(known) else partial(_read, known, task, key)
        parsed[name] = read(value, f"--set {text}")
    return Settings(preset, parsed)


def _read(tree: Mapping[str, Any], task: str, key: str, text: str, where: str) -> Any:
    """Read a preset's setting, for one task (empty: for all)."""
    if task and key in RUN_WIDE:
        raise UserError(f"{where}: {key} is one for all tasks of a run; write --set {key}={text}")
    value = require_bounds(parse_like(text, _sample(tree, key), where), BOUNDS.get(key), where)
    _require_usable(tree, task, key, value, where)
    return value


def require_bounds(value: Any, bounds: tuple[float, float] | None, where: str) -> Any:
    """Return a value that lies within its bounds; numbers have to be finite, whole ones at least 1 by default."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    low, high = bounds or ((1, math.inf) if isinstance(value, int) else (-math.inf, math.inf))
    if not math.isfinite(value) or not low <= value <= high:
        top = "" if high == math.inf else f", at most {high:g}"
        raise UserError(
            f"{where}: give a finite number" + (f", at least {low:g}{top}" if low > -math.inf else top)
        )
    return value


def _require_usable(tree: Mapping[str, Any], task: str, key: str, value: Any, where: str) -> None:
    """Refuse what no recipe can follow: an unknown schedule, no module, epochs where the preset counts steps."""
    part, _, last = key.rpartition(".")
    if last == "schedule" and value not in SCHEDULES:
        raise unknown("schedule", value, SCHEDULES)
    if key == "lora.modules" and not all(value):
        raise UserError(f"{where}: name modules, joined by +, for example q_proj+v_proj")
    other = {"epochs": "steps", "steps": "epochs"}.get(last)
    rows = [tree, *(row for name, row in tree["tasks"].items() if task in ("", name))]
    if other and any(_dig(row, f"{part}.{other}") is not None for row in rows):
        raise UserError(f"{where}: the preset counts {other} here; set {part}.{other}")


def parse_like(text: str, sample: Any, where: str) -> Any:
    """Read ``text`` as the type of ``sample``; UserError naming ``where`` if it is no such thing."""
    try:
        if isinstance(sample, str):
            return text
        if isinstance(sample, list):
            return text.split("+")
        value = json.loads(text.lower() if isinstance(sample, bool) else text)
        if isinstance(sample, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(sample):
            raise ValueError
    except (ValueError, OverflowError, RecursionError):
        raise UserError(f"{where}: {text!r} is no {_WORDS[type(sample)]}") from None
    return value


_WORDS = {bool: "true or false", int: "whole number", float: "number"}


def presets() -> list[str]:
    """Names of all presets."""
    return list(_file())


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


def _preset(name: str) -> dict[str, Any]:
    own: dict[str, Any] = copy.deepcopy(_file()[name])
    if "extends" not in own:
        return own
    tree = _lay_over(_preset(own.pop("extends")), {k: v for k, v in own.items() if k != "all_tasks"})
    for task in tree["tasks"]:
        tree["tasks"][task] = _lay_over(
            _lay_over(tree["tasks"][task], own.get("all_tasks", {})), own.get("tasks", {}).get(task, {})
        )
    return tree


def _lay_over(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        merged[key] = (
            _lay_over(merged[key], value)
            if isinstance(value, dict) and isinstance(merged.get(key), dict)
            else value
        )
    return merged


def _dig(tree: Mapping[str, Any], key: str) -> Any:
    for part in key.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            return None
        tree = tree[part]
    return tree


def _keys(tree: Mapping[str, Any]) -> set[str]:
    rows = [{k: v for k, v in tree.items() if k != "tasks"}, *tree["tasks"].values()]
    return {key for row in rows for key in _flat(row)} | _OPTIONAL


def _flat(tree: Mapping[str, Any]) -> list[str]:
    return [
        f"{k}.{s}" if s else k for k, v in tree.items() for s in (_flat(v) if isinstance(v, dict) else [""])
    ]


def _has(settings: Settings, key: str, task: str) -> bool:
    try:
        settings.get(key, task)
    except KeyError:
        return False
    return True


def _sample(tree: Mapping[str, Any], key: str) -> Any:
    fallback = {
        "schedule": "",
        "warmup": 0.0,
        "weight_decay": 0.0,
        "clip": 1.0,
        "epochs": 1,
        "steps": 1,
        "batch": 1,
        "lr": 0.0,
    }
    for row in (tree, *tree["tasks"].values()):
        found = _dig(row, key)
        if found is not None:
            return found
    return fallback[key.rpartition(".")[2]]
