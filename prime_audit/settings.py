"""All numbers of a run: the presets of ``presets.toml``, with single numbers changed by ``--set KEY=VALUE``.

``settings.toml`` says of each setting what it means and what it may be.
"""

from __future__ import annotations

import copy
import json
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from prime_audit.errors import UserError, unknown

BEFORE: Mapping[str, str] = {"clustered": "candidates"}
"""Setting that older records lack → what they were made with."""
Reader = Callable[[str, str], Any]
"""(text, where it is from) → the value it means; UserError where it means none."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row of ``settings.toml``."""

    means: str
    """One line: what it decides, its unit."""
    least: float | None = None
    """The smallest number that can be computed with; None: 1 for whole numbers, none for others."""
    most: float = math.inf
    words: tuple[str, ...] = ()
    """The allowed words, where it is one of few."""
    run: bool = False
    """Whether all tasks of a run share it, as they share the models."""
    like: Any = None
    """A value of its type; None: every preset has one."""

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Least and most; None where only the type bounds it."""
        return None if self.least is None else (self.least, self.most)


@cache
def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _rows() -> dict[str, Setting]:
    table = _toml("settings.toml")
    rows = dict(table["settings"])
    for part, doing in table["recipes"].items():
        for key, row in table["recipe"].items():
            rows[f"{part}.{key}"] = {**row, "means": f"{row['means']}, {doing}"}
    return {key: Setting(**{**row, "words": tuple(row.get("words", ()))}) for key, row in rows.items()}


SETTINGS = _rows()
"""Key → what it means and may be."""
RECIPE_KEYS = tuple(_toml("settings.toml")["recipe"])


def words_of(key: str) -> tuple[str, ...]:
    """Return the words that a setting may be: its own, or true and false; none of a number or any text."""
    usual = isinstance(_sample(_preset(presets()[0]), key), bool)
    return ("false", "true") if usual else SETTINGS[key].words


class Settings:
    """One preset with its overrides: plain nested data, read by dotted key and task."""

    def __init__(self, preset: str, overrides: Mapping[str, Any]) -> None:
        self.preset = preset
        self.overrides = dict(overrides)
        self._tree = _preset(preset)

    def get(self, key: str, task: str = "") -> Any:
        """Read ``key`` (``clusters``, ``sharer.lr``): override, then the task's row, then the preset's own."""
        if (found := self.find(key, task)) is None:
            raise KeyError(key)
        return found

    def find(self, key: str, task: str = "") -> Any:
        """Read ``key`` as ``get`` does; None where the preset leaves it out."""
        given = (
            self.override(key, task),
            _dig(self._tree["tasks"].get(task, {}), key),
            _dig(self._tree, key),
        )
        return next((found for found in given if found is not None), None)

    def override(self, key: str, task: str) -> Any:
        """Return what ``--set`` gives a key: for this task, else for all tasks, else None."""
        return self.overrides.get(f"{task}.{key}", self.overrides.get(key))

    def recipe(self, part: str, task: str) -> dict[str, Any]:
        """Gather a training recipe (``adaptation``, ``sharer``, ``gate``) for a task."""
        found = {key: self.find(f"{part}.{key}", task) for key in RECIPE_KEYS}
        return {key: value for key, value in found.items() if value is not None}

    def for_task(self, task: str) -> dict[str, Any]:
        """Return everything in force for a task, flat, as the record has it."""
        found = {key: self.find(key, task) for key in sorted(SETTINGS)}
        return {key: value for key, value in found.items() if value is not None}


class Watched(Settings):
    """Settings that remember which keys were read."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.preset, settings.overrides)
        self.read: set[str] = set()

    def override(self, key: str, task: str) -> Any:
        """Note the key."""
        self.read.add(key)
        return super().override(key, task)


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
        if key not in SETTINGS.keys() | others.keys():
            if name.partition(".")[2] in SETTINGS.keys() | others.keys():
                raise unknown("task", name.partition(".")[0], known["tasks"])
            raise unknown("setting", key, SETTINGS.keys() | others.keys())
        read = others[key] if key not in SETTINGS else partial(_read, known, task, key)
        parsed[name] = read(value, f"--set {text}")
    return Settings(preset, parsed)


def _read(tree: Mapping[str, Any], task: str, key: str, text: str, where: str) -> Any:
    """Read a preset's setting, for one task (empty: for all)."""
    row = SETTINGS[key]
    if task and row.run:
        raise UserError(f"{where}: {key} is the same for all tasks of a run; write --set {key}={text}")
    value = require_bounds(parse_like(text, _sample(tree, key), where), row.bounds, where)
    _require_usable(tree, task, key, value, where)
    return value


def require_bounds(value: Any, bounds: tuple[float, float] | None, where: str) -> Any:
    """Return a value within its bounds; numbers must be finite, whole ones at least 1 by default."""
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
    """Refuse what no recipe can follow: an unknown word, no module, epochs where the preset counts steps."""
    part, _, last = key.rpartition(".")
    if (allowed := SETTINGS[key].words) and value not in allowed:
        raise unknown(last or key, value, allowed)
    if key == "lora.modules" and not all(value):
        raise UserError(f"{where}: name modules joined by +, for example q_proj+v_proj")
    other = {"epochs": "steps", "steps": "epochs"}.get(last)
    rows = [tree, *(row for name, row in tree["tasks"].items() if task in ("", name))]
    if other and any(_dig(row, f"{part}.{other}") is not None for row in rows):
        raise UserError(f"{where}: the preset counts {other} here; set {part}.{other}")


def parse_like(text: str, sample: Any, where: str) -> Any:
    """Read ``text`` as the type of ``sample``; UserError naming ``where`` if it is not of that type."""
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
        raise UserError(f"{where}: {text!r} is not {_WORDS[type(sample)]}") from None
    return value


_WORDS = {bool: "true or false", int: "a whole number", float: "a number"}


def presets() -> list[str]:
    """Names of all presets."""
    return list(_toml("presets.toml"))


def purpose(preset: str) -> str:
    """Return what a preset is for, in one line."""
    return str(_toml("presets.toml")[preset]["purpose"])


def _preset(name: str) -> dict[str, Any]:
    own: dict[str, Any] = copy.deepcopy(_toml("presets.toml")[name])
    del own["purpose"]
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


def _sample(tree: Mapping[str, Any], key: str) -> Any:
    """Return a value of the setting's type."""
    rows = (_dig(row, key) for row in (tree, *tree["tasks"].values()))
    return next((found for found in rows if found is not None), SETTINGS[key].like)
