"""MkDocs hook: fill the reference pages from the code, at build time, so that they cannot drift.

A line ``<!-- generated: NAME -->`` of a page is replaced by what the function NAME of ``GENERATED`` returns.
Nothing here imports torch.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import prime_audit
from prime_audit.authoring.describe_settings import preset_rows, settings_rows
from prime_audit.commands.cli import cli
from prime_audit.engine.rules import RULES
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.options import OPTIONS, keywords_of
from prime_audit.plugins.loading import available, load_attack, load_game, load_method
from prime_audit.report.columns import PANEL
from prime_audit.scores.columns import COLUMNS
from prime_audit.settings import load_settings, presets
from prime_audit.studies.catalog import STUDIES

FUNCTIONS = {"compare": "compare", "plan": "predict", "study": "study"}
"""Command → its function of the public API."""
PACKAGE = Path(prime_audit.__path__[0])
_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every mark of a page."""
    return _MARK.sub(lambda mark: GENERATED[mark[1]](), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Drop Sphinx's roles."""
    return re.sub(r":(?:func|class|meth|mod|data|attr):(?=<code|`)", "", html)


def options() -> str:
    """Write the table of keywords that ``compare()``, ``predict()`` and ``study()`` share."""
    rows = []
    for row in OPTIONS:
        functions = [name for command, name in FUNCTIONS.items() if row in keywords_of(command)]
        default = row.default_text or f"`{row.default!r}`"
        if functions:
            rows.append((f"`{row.word}`", row.kind.annotation, default, row.help, ", ".join(functions)))
    return _table(("Keyword", "Type", "Default", "Meaning", "Of"), rows)


def commands() -> str:
    """Write a table of the commands, then each: usage, help, examples, options."""
    context = click.Context(cli, info_name="prime-audit")
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    rows = [
        (f"[`{name}`](#prime-audit-{name})", _escaped(one.get_short_help_str(80)))
        for name, one in found.items()
        if one
    ]
    return "\n\n".join([_table(("Command", "What it does"), rows), *_command(cli, context, 2)])


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}"
    about, *more = inspect.cleandoc(command.help or "").split("\n\n")
    yield _paragraph(about)
    yield f"```text\n{command.get_usage(context)}\n```"
    yield from map(_paragraph, more)
    yield from map(_paragraph, inspect.cleandoc(command.epilog or "").split("\n\n"))
    records = [p.get_help_record(context) for p in command.params]
    rows = [(f"`{record[0]}`", _escaped(record[1])) for record in records if record and record[1]]
    if rows:
        yield _table(("Option", "Meaning"), rows)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _command(
                child, click.Context(child, info_name=name, parent=context), min(level + 1, 4)
            )


def _paragraph(text: str) -> str:
    """Write a paragraph of a help text. Click does not wrap one that begins with ``\\b``: its lines are commands."""
    if not text.startswith("\b"):
        return _escaped(text)
    head, *lines = text.splitlines()[1:]
    return f"{head}\n\n```sh\n" + "\n".join(line.strip() for line in lines) + "\n```"


def _escaped(text: str) -> str:
    """Write plain text so that Markdown shows it as it is."""
    return re.sub(r"([*_\[\]])", r"\\\1", text).replace("<", "&lt;")


def methods() -> str:
    """Write one section per method: summary, source, parameters."""
    parts = []
    for name in available("method"):
        found = load_method(name)
        kind = " A method of the prompt: joins any other with `+`." if found.augment else ""
        kind += f" It shows what merging anything gives: {found.control}." if found.control else ""
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
    rows = []
    for found in map(load_game, available("game")):
        drawn = "drawn at random" if found.design.randomised else "selected"
        rows.append((f"`{found.name}`", found.summary, found.design.unit, drawn, found.says, found.source))
    return _table(("Game", "Sides", "Test exchanges", "Membership", "Its verdict", "Source"), rows)


def rules() -> str:
    """Write the table of merge rules."""
    rows = [(f"`{rule.name}`", rule.summary, rule.source) for rule in RULES.values()]
    return _table(("Rule", "Update", "Source"), rows)


def tasks() -> str:
    """Write the table of tasks."""
    rows = [
        (f"`{t.name}`", t.short, t.kind, ", ".join(t.metrics), ", ".join(f"`{f}`" for f in t.item_fields))
        for t in TASKS.values()
    ]
    return _table(("Task", "Folder", "Kind", "Metrics", "Fields of a history item"), rows)


def preset_list() -> str:
    """Write the table of presets."""
    rows = [[f"`{row['preset']}`", *list(row.values())[1:]] for row in preset_rows()]
    return _table(("Preset", "For", "Model", "Targets", "Sharers"), rows)


def studies() -> str:
    """Write the table of studies."""
    rows = [(f"`{s.name}`", s.answers, s.title, ", ".join(s.tasks)) for s in STUDIES.values()]
    return _table(("Study", "Answers", "Question", "Tasks"), rows)


def settings() -> str:
    """Write the table of settings, as ``describe settings`` shows them, with a column for each preset."""
    by_preset = {name: settings_rows(load_settings(name)) for name in presets()}
    rows = []
    for same in zip(*by_preset.values(), strict=True):
        key, _, allowed, means = same[0]
        rows.append((f"`{key}`", means, allowed, *(f"`{value}`" for _, value, _, _ in same)))
    return _table(("Setting", "Meaning", "Allowed", *(f"`{name}`" for name in by_preset)), rows)


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


def panel() -> str:
    """Write the table of a control panel's columns."""
    return _table(("Column", "Meaning"), [(f"`{c.name}`", c.help) for c in PANEL if c.help])


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    text = " ".join(str(value).replace("``", "`").split())
    return "`".join(part if n % 2 else part.replace("|", "\\|") for n, part in enumerate(text.split("`")))


def columns() -> str:
    """Write the table of what ``stats`` reads."""
    rows = [(f"`{column.name}`", column.holds, column.says) for column in COLUMNS]
    return _table(("Column", "Values", "Meaning"), rows)


GENERATED: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "options": options,
    "methods": methods,
    "attacks": attacks,
    "games": games,
    "rules": rules,
    "tasks": tasks,
    "presets": preset_list,
    "studies": studies,
    "settings": settings,
    "record": record,
    "panel": panel,
    "columns": columns,
}
