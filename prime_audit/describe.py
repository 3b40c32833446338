"""What a name means, and what a method really sends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prime_audit.errors import UserError, unknown
from prime_audit.lamp.prompts import Example, history_examples, query_examples
from prime_audit.lamp.tasks import TASKS, Task, find_task
from prime_audit.plugins import Attack, Method, Param, available, load_attack, load_method
from prime_audit.settings import Settings, load_settings, presets


def description(
    name: str, plugins: Sequence[Path] = (), preset: str = "laptop", overrides: Sequence[str] = ()
) -> str:
    """Describe a method, an attack, a task, or ``settings``; UserError with the nearest names otherwise."""
    from tabulate import tabulate

    settings = load_settings(preset, overrides)
    if name == "settings":
        table = {task: settings.for_task(task) for task in TASKS}
        rows = [[key, *(table[t].get(key, "") for t in TASKS)] for key in table["LaMP-1"]]
        return (
            f"preset {preset} (of {', '.join(presets())}); change one with --set KEY=VALUE or --set TASK.KEY=VALUE\n"
            + tabulate(rows, headers=["setting", *TASKS], disable_numparse=True)
        )
    if name in available("method", plugins):
        return _method(load_method(name, plugins), settings)
    if name in available("attack", plugins):
        return _attack(load_attack(name, plugins))
    try:
        return _task(find_task(name))
    except UserError:
        known = [*available("method", plugins), *available("attack", plugins), *TASKS, "settings"]
        raise unknown("name", name, known) from None


def _method(method: Method, settings: Settings) -> str:
    from tabulate import tabulate

    kind = "method of the prompt; joins any other with +" if method.augment else "method"
    lines = [f"{method.name}: {method.summary}", f"kind: {kind}", f"source: {method.source}"]
    if method.params:
        rows = [[p.name, _default(p, settings), p.help, ", ".join(p.choices)] for p in method.params]
        lines += [
            "",
            tabulate(
                rows, headers=["parameter", "default", "what", "words"], maxcolwidths=[None, 24, 60, 24]
            ),
        ]
    return "\n".join(lines)


def _default(param: Param, settings: Settings) -> str:
    if not str(param.default).startswith("preset:"):
        return "" if param.default is None else str(param.default)
    values = {task: settings.get(param.default.removeprefix("preset:"), task) for task in TASKS}
    if len(set(values.values())) == 1:
        return str(values["LaMP-1"])
    return ", ".join(f"{task} {value}" for task, value in values.items())


def _attack(attack: Attack) -> str:
    return "\n".join(
        [
            f"{attack.name}: {attack.summary}",
            "kind: attack; scores are higher for members",
            f"needs: {', '.join(attack.needs)}",
            f"source: {attack.source}",
        ]
    )


def _task(task: Task) -> str:
    lines = [
        f"{task.name} ({task.short}): {task.kind}, {' and '.join(task.metrics)}",
        f"history items: {', '.join(task.item_fields)}",
    ]
    if task.labels:
        lines.append(f"labels: {', '.join(task.labels)}")
    return "\n".join([*lines, "prompt:", task.instruction])


def user_prompts(
    *,
    data: str,
    task: str | None,
    user: str,
    method: str,
    split: str = "query",
    preset: str = "laptop",
    overrides: Sequence[str] = (),
    seed: int = 0,
    plugins: Sequence[Path] = (),
) -> list[dict[str, Any]]:
    """List a user's prompts as a method sends them: dictionaries of ``id``, ``prompt``, ``gold``.

    ``query``: her questions with what the method puts in front. ``history``: the examples that train or search
    her model, which the method does not change. Profile texts are the data's or the summary.
    """
    from prime_audit.community.profiles import plain_profile
    from prime_audit.lamp.source import open_data
    from prime_audit.plan import default_tasks, parse_methods

    settings = load_settings(preset, overrides)
    names = [find_task(task).name] if task else list(default_tasks(data))
    if len(names) > 1:
        raise UserError(f"--task: {data} holds {', '.join(names)}; name one")
    specs = parse_methods(method, plugins)
    if len(specs) != 1:
        raise UserError(f"--method {method}: name one method")
    row = TASKS[names[0]]
    dataset = open_data(data, row.name, seed, settings)
    people = dataset.targets if split == "query" else (*dataset.targets, *dataset.candidates, *dataset.adapt)
    found = next((u for u in people if u.id == user), None)
    if found is None:
        raise unknown("target" if split == "query" else "user", user, [u.id for u in people])
    front, profile = specs[0].augment(settings, row.name), plain_profile(row, found)
    examples: list[Example] = (
        query_examples(row, found, k=front.k, profile=profile if front.profile else None)
        if split == "query"
        else history_examples(row, found, profile=profile)
    )
    return [{"id": e.id, "prompt": e.prompt, "gold": e.gold} for e in examples]
