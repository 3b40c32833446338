"""What a name means, and what a method really sends."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prime_audit.authoring.describe_settings import preset_text, settings_text
from prime_audit.errors import UserError, unknown
from prime_audit.lamp.data import Dataset
from prime_audit.lamp.prompts import Example, adaptation_examples, history_examples, query_examples
from prime_audit.lamp.tasks import TASKS, Task, find_task
from prime_audit.plan.options import named
from prime_audit.plan.presets import resolved
from prime_audit.plugins import Attack, Game, Method
from prime_audit.plugins.contracts import Plugin, first_line
from prime_audit.plugins.loading import KINDS, available, load, load_run_settings, read_params
from prime_audit.settings import Settings, presets

PRESET: str = named("preset").default


def description(
    name: str, plugins: Sequence[Path] = (), preset: str = PRESET, overrides: Sequence[str] = ()
) -> str:
    """Describe every plugin, task or preset of a name, or ``settings``; UserError with the nearest names otherwise."""
    settings = load_run_settings(resolved(preset, None, overrides)[0], overrides, plugins)
    found = [
        _plugin(load(made, name, plugins), settings)
        for kind, made in KINDS.items()
        if name in available(kind, plugins)
    ]
    if name in presets():
        found.append(preset_text(name))
    with suppress(UserError):
        found.append(_task(find_task(name)))
    if name == "settings":
        found.append(settings_text(settings))
    if not found:
        listed = [other for kind in KINDS for other in available(kind, plugins)]
        raise unknown("name", name, {*listed, *TASKS, *presets(), "settings"})
    return "\n\n".join(found)


def _plugin(plugin: Plugin, settings: Settings) -> str:
    if isinstance(plugin, Method):
        return _method(plugin, settings)
    if isinstance(plugin, Attack):
        return _attack(plugin)
    assert isinstance(plugin, Game)
    return _game(plugin)


def _method(method: Method, settings: Settings) -> str:
    from tabulate import tabulate

    kind = "method of the prompt; joins any other with +" if method.augment else "method"
    kind += f"; control: {method.control}" if method.control else ""
    lines = [*_head(method), f"kind: {kind}", *_origin(method)]
    if method.params:
        values = {task: read_params(method, {}, settings, task) for task in TASKS}
        rows = [
            [p.name, _shown({t: v[p.name] for t, v in values.items()}), p.help, ", ".join(p.choices)]
            for p in method.params
        ]
        lines += [
            "",
            tabulate(
                rows, headers=["parameter", "default", "what", "words"], maxcolwidths=[None, 24, 60, 24]
            ),
        ]
    return "\n".join(lines)


def _shown(values: Mapping[str, Any]) -> str:
    """Write a parameter's value by task, once where it is the same for all."""
    if len(set(values.values())) > 1:
        return ", ".join(f"{task} {value}" for task, value in values.items())
    value = next(iter(values.values()))
    if isinstance(value, bool):
        return str(value).lower()  # as it is typed
    return "" if value is None else str(value)


def _attack(attack: Attack) -> str:
    return "\n".join(
        [
            *_head(attack),
            "kind: attack; scores are higher for members",
            f"needs: {', '.join(attack.needs)}",
            *_origin(attack),
        ]
    )


_DRAWN = {
    "sharer": "whole people exchange membership with all their items in play",
    "item-within-sharer": "the items of one person exchange membership with each other",
    "item": "all items of a target exchange membership with each other",
}
"""What the permutation test does, by unit."""


def _game(game: Game) -> str:
    from prime_audit.games.exam.queries import queries_of

    design = game.design
    drawn = "membership was drawn at random" if design.randomised else "membership was selected, not drawn"
    return "\n".join(
        [
            *_head(game),
            "kind: membership game",
            f"who: {first_line(game.deal.__doc__)}",
            f"queried: {first_line(queries_of(game).__doc__)}",
            f"drawn: {drawn}; under the test's null {_DRAWN[design.unit]}",
            f"verdict: {game.says}",
            *_origin(game),
        ]
    )


def _head(plugin: Plugin) -> list[str]:
    about = textwrap.fill(plugin.about.replace("``", ""), 100, break_long_words=False)
    return [f"{plugin.name}: {plugin.summary}", *([about] if about else [])]


def _origin(plugin: Plugin) -> list[str]:
    return [f"source: {plugin.source}", f"version: {plugin.version}"]


def _task(task: Task) -> str:
    lines = [
        f"{task.name} ({task.short}): {task.kind}, {' and '.join(task.metrics)}",
        "kind: task",
        f"history items: {', '.join(task.item_fields)}",
    ]
    if task.labels:
        lines.append(f"labels: {', '.join(task.labels)}")
    return "\n".join([*lines, "prompt:", task.instruction])


@dataclass(frozen=True)
class Prompts:
    """What a method sends for a user."""

    rows: list[dict[str, str]]
    """Dictionaries of ``id``, ``prompt`` and ``gold``."""
    notes: list[str]
    """Which preset ``auto`` means; where a run with the same words would send something else."""


def user_prompts(
    *,
    data: str,
    task: str | None,
    user: str,
    method: str,
    split: str = "query",
    preset: str = PRESET,
    model: str | None = None,
    overrides: Sequence[str] = (),
    seed: int = 0,
    plugins: Sequence[Path] = (),
    columns: Mapping[str, str] | None = None,
) -> Prompts:
    """List a user's prompts as a method sends them.

    ``query``: a target's questions with what the method puts in front, or the questions of a user who adapts the base,
    as every method's base is trained on them. ``history``: the examples that train or search their model, which the
    method does not change; of a sharer a run leaves the held-out items out, of profile texts and
    fronts too. Profile texts are the data's or the summary.
    """
    from prime_audit.community.profile_texts import plain_profile, shown_profile
    from prime_audit.lamp.source import open_data
    from prime_audit.plan.plan import default_tasks, parse_methods

    preset, why = resolved(preset, model, overrides)
    settings = load_run_settings(preset, overrides, plugins)
    names = [find_task(task).name] if task else list(default_tasks(data))
    if len(names) > 1:
        raise UserError(f"--task: {data} holds {', '.join(names)}; name one")
    specs = parse_methods(method, plugins)
    if len(specs) != 1:
        raise UserError(f"--method {method}: name one method")
    row = TASKS[names[0]]
    dataset = open_data(data, row.name, seed, settings, columns=columns)
    people = (*dataset.targets, *dataset.adapt, *(dataset.candidates if split == "history" else ()))
    found = next((u for u in people if u.id == user), None)
    if found is None:
        raise unknown("target or adapting user" if split == "query" else "user", user, [u.id for u in people])
    front, profile = specs[0].augment(settings, row.name), plain_profile(row, found)
    shown = shown_profile(row, found, {found.id: profile}, front.wording) if front.profile else None
    examples: list[Example]
    if split == "history":
        examples = history_examples(row, found, profile=profile)
    elif found in dataset.adapt:
        examples = adaptation_examples(row, found, profile)
    else:
        examples = query_examples(row, found, k=front.k, profile=shown)
    profiled = any(profile in e.prompt for e in examples)
    rows = [{"id": e.id, "prompt": e.prompt, "gold": e.gold} for e in examples]
    return Prompts(rows, [*why, *_notes(dataset, settings, profiled)])


def _notes(data: Dataset, settings: Settings, profiled: bool) -> list[str]:
    """Say where a run would send something else than shown, or less than the data hold."""
    notes, writer = [], settings.get("profiler")
    if profiled and writer:
        notes.append(
            f"note: profile texts are the data's or a summary here; in a run of this preset {writer} writes them"
        )
    if data.older:
        notes.append(
            f"note: {data.older} older history items of all users are left out, as in a run (max_items = "
            f"{settings.get('max_items', data.task)})"
        )
    return notes
