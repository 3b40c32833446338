"""MkDocs hook: fill the reference pages from the code, at build time, so that they cannot drift.

A line ``<!-- generated: NAME -->`` of a page is replaced by what the function NAME of ``GENERATED`` returns.
Nothing here imports torch.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import prime_audit
from prime_audit.commands.cli import cli
from prime_audit.games.deal import GAMES
from prime_audit.lamp.tasks import TASKS
from prime_audit.plugins.loading import available, load_attack, load_method
from prime_audit.settings import load_settings, presets
from prime_audit.studies.catalog import STUDIES

PACKAGE = Path(prime_audit.__path__[0])
_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every mark of a page."""
    return _MARK.sub(lambda mark: GENERATED[mark[1]](), markdown)


def commands() -> str:
    """Write every command: usage, help, options."""
    return "\n\n".join(_command(cli, click.Context(cli, info_name="prime-audit"), 2))


def _command(command: click.Command, context: click.Context, level: int) -> Iterable[str]:
    yield f"{'#' * level} {context.command_path}"
    help_text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    yield from (_prose(part) for part in help_text.split("\n\n"))
    yield f"```text\n{command.get_usage(context)}\n```"
    if command.epilog:
        yield "```sh\n" + inspect.cleandoc(command.epilog).replace("\b\n", "") + "\n```"
    records = [record for p in command.get_params(context) if (record := p.get_help_record(context))]
    rows = [(f"`{name}`", text) for name, text in records if text and "--help" not in name]
    if rows:
        yield _table(("Option", "Meaning"), rows)
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from _command(child, click.Context(child, info_name=name, parent=context), min(level + 1, 4))


def _prose(text: str) -> str:
    """Escape what Markdown would take for markup."""
    return re.sub(r"([*_`])", r"\\\1", text).replace("<", "&lt;")


def methods() -> str:
    """Write one section per method: summary, source, parameters."""
    parts = []
    for name in available("method"):
        found = load_method(name)
        kind = " A method of the prompt: joins any other with `+`." if found.augment else ""
        parts.append(f"### {name}\n\n{found.summary}{kind}\n\nSource: {found.source}.")
        rows = [
            (f"`{p.name}`", _default(p.default), p.help, ", ".join(f"`{word}`" for word in p.choices))
            for p in found.params
        ]
        if rows:
            parts.append(_table(("Parameter", "Default", "Meaning", "Values"), rows))
    return "\n\n".join(parts)


def _default(value: Any) -> str:
    if isinstance(value, str) and value.startswith("preset:"):
        return f"setting `{value.removeprefix('preset:')}`"
    return "" if value is None else f"`{json.dumps(value) if not isinstance(value, str) else value}`"


def attacks() -> str:
    """Write the table of attacks."""
    found = [load_attack(name) for name in available("attack")]
    rows = [(f"`{a.name}`", a.summary, ", ".join(f"`{n}`" for n in a.needs), a.source) for a in found]
    return _table(("Attack", "What it scores", "Signals it needs", "Source"), rows)


def games() -> str:
    """Write the table of games."""
    rows = [
        (f"`{g.name}`", g.summary, g.unit, "drawn at random" if g.randomised else "selected", g.says)
        for g in GAMES.values()
    ]
    return _table(
        ("Game", "Members against non-members", "Test exchanges", "Membership", "Its verdict"), rows
    )


def tasks() -> str:
    """Write the table of tasks."""
    rows = [
        (f"`{t.name}`", t.short, t.kind, ", ".join(t.metrics), ", ".join(f"`{f}`" for f in t.item_fields))
        for t in TASKS.values()
    ]
    return _table(("Task", "Folder", "Kind", "Metrics", "Fields of a history item"), rows)


def preset_list() -> str:
    """Write the table of presets."""
    rows = []
    for name in presets():
        all_tasks = [load_settings(name).for_task(task) for task in TASKS]
        rows.append((f"`{name}`", *(_values(own[key] for own in all_tasks) for key in ("model", "targets"))))
    return _table(("Preset", "Model", "Targets"), rows)


def studies() -> str:
    """Write the table of studies."""
    rows = [(f"`{s.name}`", s.answers, s.title, ", ".join(s.tasks)) for s in STUDIES.values()]
    return _table(("Study", "Answers", "Question", "Tasks"), rows)


def settings() -> str:
    """Write the table of settings: meaning and value of each preset."""
    by_preset = {name: [load_settings(name).for_task(task) for task in TASKS] for name in presets()}
    keys = sorted({key for rows in by_preset.values() for own in rows for key in own})
    rows = [
        (f"`{key}`", *(_values(own.get(key) for own in tasks) for tasks in by_preset.values()))
        for key in keys
    ]
    return _table(("Setting", *(f"`{name}`" for name in by_preset)), rows)


def _values(values: Iterable[Any]) -> str:
    """Write a setting's value, or the range over tasks."""
    different = sorted({json.dumps(v) for v in values if v is not None}, key=lambda t: (len(t), t))
    shown = [json.loads(text) for text in different]
    if not shown:
        return "–"
    if len(shown) == 1:
        one = shown[0]
        return f"`{'+'.join(one) if isinstance(one, list) else one if one != '' else chr(39) * 2}`"
    return f"`{min(shown)}` to `{max(shown)}`"


def record() -> str:
    """Write the record's fields from its JSON schema."""
    schema = json.loads((PACKAGE / "record.schema.json").read_text(encoding="utf-8"))
    parts = [_fields(schema)]
    for name, part in schema["$defs"].items():
        parts.append(f"### {name}\n\n{part.get('description', '')}\n\n{_fields(part)}")
    return "\n\n".join(parts)


def _fields(part: Mapping[str, Any]) -> str:
    required = set(part.get("required", ()))
    rows = [
        (
            f"`{name}`" + ("" if name in required else " (optional)"),
            _type(field),
            field.get("description", ""),
        )
        for name, field in part["properties"].items()
    ]
    return _table(("Field", "Type", "Meaning"), rows)


def _type(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    return str(field.get("type", "any"))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("``", "`").replace("|", "\\|").replace("\n", " ").strip()


GENERATED: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "methods": methods,
    "attacks": attacks,
    "games": games,
    "tasks": tasks,
    "presets": preset_list,
    "studies": studies,
    "settings": settings,
    "record": record,
}
