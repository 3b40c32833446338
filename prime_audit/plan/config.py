"""Config files: ``--config FILE.toml`` holds options of a run, and every run's folder holds one that repeats it.

Keys are the names of the options without dashes in front (``sharer-dp = "epsilon=8"``). Lists stand for comma lists and
for repeated options, the table ``[set]`` for ``--set``. Options on the command line override the file, key by key in
``[set]``; ``--plugin`` adds to it. Relative paths start where the command runs.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prime_audit.errors import UserError, unknown
from prime_audit.io import intake
from prime_audit.plan.kinds import SettingError
from prime_audit.plan.options import Option, deciding, options_of

if TYPE_CHECKING:
    from prime_audit.plan.plan import Plan

CONFIG = "config.toml"
_HEAD = (
    "# prime-audit compare --config {} repeats this run; options on the command line override it.\n"
    "# Run it from the folder where the run was started: relative paths start there.\n"
)


def config_text(plan: Plan) -> str:
    """Write the options that repeat a run, defaults included; the same plan gives the same text."""
    values = {row.name: row.kind.toml(getattr(plan, row.word)) for row in deciding()}
    tables = {name: value for name, value in values.items() if isinstance(value, dict) and value}
    lines = [
        f"{name} = {_toml(value)}\n"
        for name, value in values.items()
        if value is not None and not isinstance(value, dict)
    ]
    for name, table in tables.items():
        lines += [f"\n[{name}]\n", *(f"{_toml(key)} = {_toml(value)}\n" for key, value in table.items())]
    return _HEAD.format(CONFIG) + "".join(lines)


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a config file as keywords of :func:`prime_audit.compare` (and ``as_json``, ``no_cache`` of the command).

    UserError for a file that is no TOML, an unknown key, or a value of another type; with the file and the line.
    """
    file = Path(path)
    try:
        text = intake.read_text(file)
        content = tomllib.loads(text)
    except OSError as error:
        raise UserError(f"--config {file}: cannot be read ({error.strerror}); give a TOML file") from None
    except ValueError as error:  # TOML and UTF-8 alike; tomllib names the line
        raise UserError(
            f"--config {file}: not valid TOML: {' '.join(str(error).split())}; correct it"
        ) from None
    except RecursionError:
        raise UserError(f"--config {file}: nested too deeply; correct it") from None
    rows = {row.name: row for row in options_of("compare")}
    found: dict[str, Any] = {}
    for key, value in content.items():
        where = f"--config {file}, line {_line(text, key)}"
        name = key.replace("_", "-")
        if name not in rows:
            raise UserError(f"{where}: {unknown('option', name, rows)}")
        found[rows[name].word] = _value(rows[name], value, where)
    return found


def _value(row: Option, value: Any, where: str) -> Any:
    try:
        return row.kind.from_toml(value)
    except SettingError as fault:
        raise UserError(f"{where}: {fault}") from None
    except ValueError:
        shown = json.dumps(value, default=str)[:40]
        raise UserError(f"{where}: {row.name} is {row.kind.takes}, not {shown}") from None


def _line(text: str, key: str) -> int:
    """Find the first line that sets a key; 1 where it is written in another way."""
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
