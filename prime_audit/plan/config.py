"""A file of options: ``--config FILE.toml`` holds any word of a command, and every run folder one that repeats it.

Keys are the command's options without dashes in front (``sharer-dp = "epsilon=8"``); lists stand for comma lists and
for repeated options, ``[set]`` for ``--set``. Words of the command line win over the file, key by key in ``[set]``;
``--plugin`` adds to it. Paths are taken as typed, from where the command runs.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prime_audit.errors import UserError, unknown
from prime_audit.io import intake

if TYPE_CHECKING:
    from prime_audit.plan.plan import Plan

CONFIG = "config.toml"
LISTS = ("methods", "tasks", "attacks", "games", "against")
"""Options that hold names joined by commas; a list does too."""
TEXTS = (
    *("data", "model", "encoder", "profiler", "preset", "device", "dtype", "sharer-dp", "sharers"),
    *("base-adapter", "out", "cache", "executor", "address"),
)
FLAGS = ("strict", "no-cache", "json")
_API = {"set": "overrides", "plugin": "plugins", "json": "as_json"}
"""Option → the API's word, where it is not the option with underscores."""
WHOLE = ("seed", "workers")
KEYS = (*LISTS, *TEXTS, *FLAGS, *WHOLE, "plugin", "set")
_HEAD = (
    "# prime-audit compare --config {} makes this run again; words of the command line win over it.\n"
    "# Paths stand as they were given: give the command where the run was started, for there relative ones begin.\n"
)


def config_text(plan: Plan) -> str:
    """Write the options that make a run again, defaults filled in; the same plan, the same text."""
    privacy = plan.sharer_dp and [f"{k}={v}" for k, v in asdict(plan.sharer_dp).items() if v is not None]
    values: dict[str, Any] = {
        "methods": [m.label for m in plan.methods],
        "tasks": plan.tasks,
        "attacks": plan.attacks,
        "games": plan.games,
        "against": plan.against,
        "data": plan.data,
        "sharers": plan.sharers and str(plan.sharers),
        "base-adapter": plan.base_adapter and str(plan.base_adapter),
        "sharer-dp": privacy and ",".join(privacy),
        "model": plan.model,
        "encoder": plan.encoder,
        "profiler": plan.profiler,
        "preset": plan.settings.preset,
        "device": plan.device,
        "dtype": plan.dtype,
        "seed": plan.seed,
        "strict": plan.strict,
        "plugin": [str(path) for path in plan.plugins],
    }
    lines = [f"{key} = {_toml(value)}\n" for key, value in values.items() if value is not None]
    if plan.settings.overrides:
        lines += ["\n[set]\n"]
        lines += [f"{_toml(key)} = {_toml(value)}\n" for key, value in plan.settings.overrides.items()]
    return _HEAD.format(CONFIG) + "".join(lines)


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a file of options as words of :func:`prime_audit.compare` (and ``as_json``, ``no_cache``).

    Raises
    ------
    UserError
        For what is no TOML, an unknown key, or a value of another kind; with the file and the line.
    """
    file = Path(path)
    try:
        text = intake.read_text(file)
        content = tomllib.loads(text)
    except OSError as error:
        raise UserError(f"--config {file}: cannot be read ({error.strerror}); give a TOML file") from None
    except ValueError as error:  # TOML and UTF-8 alike; tomllib says the line
        raise UserError(f"--config {file}: no TOML: {' '.join(str(error).split())}; correct it") from None
    except RecursionError:
        raise UserError(f"--config {file}: nested without end; correct it") from None
    found: dict[str, Any] = {}
    for key, value in content.items():
        where = f"--config {file}, line {_line(text, key)}"
        name = key.replace("_", "-")
        if name not in KEYS:
            raise UserError(f"{where}: {unknown('option', name, KEYS)}")
        found[_API.get(name, name.replace("-", "_"))] = _value(name, value, where)
    return found


def _value(name: str, value: Any, where: str) -> Any:
    """Read one option's value, or say what it should be."""
    kinds = {"set": "a table, [set]"} | dict.fromkeys(FLAGS, "true or false")
    kinds |= dict.fromkeys(WHOLE, "a whole number")
    if name in LISTS and _is_texts(value):
        return ",".join(value)
    if name == "plugin" and (isinstance(value, str) or _is_texts(value)):
        return [value] if isinstance(value, str) else list(value)
    if name == "set" and isinstance(value, dict):
        return [f"{key}={text}" for key, text in _flat(value, where)]
    if name in FLAGS and isinstance(value, bool):
        return value
    if name in WHOLE and isinstance(value, int) and not isinstance(value, bool):
        return value
    if name in (*LISTS, *TEXTS) and isinstance(value, str):
        return value
    kind = kinds.get(name, "text, or a list of texts" if name in (*LISTS, "plugin") else "text")
    raise UserError(f"{where}: {name} is {kind}, not {json.dumps(value, default=str)[:40]}")


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _flat(table: Mapping[str, Any], where: str, before: str = "") -> Iterable[tuple[str, str]]:
    """List the settings of a table as text: ``lora.rank`` may stand as such, or as ``[set.lora]``."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, where, f"{before}{key}.")
        elif isinstance(value, str):
            yield f"{before}{key}", value
        elif _is_texts(value):
            yield f"{before}{key}", "+".join(value)
        elif isinstance(value, bool | int | float):
            yield f"{before}{key}", json.dumps(value)
        else:
            shown = json.dumps(value, default=str)[:40]
            raise UserError(f"{where}: set.{before}{key} is a number, true, false or text, not {shown}")


def _line(text: str, key: str) -> int:
    """Find the line on which a key stands first; 1 where it is written in another way."""
    pattern = re.compile(rf"""^\s*\[*\s*["']?{re.escape(key)}["']?\s*[=.\]]""")
    return next((n for n, line in enumerate(text.splitlines(), start=1) if pattern.match(line)), 1)


def _toml(value: Any) -> str:
    """Write one value; a JSON string is a TOML string but for the character DEL."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)
