"""Completion of names in a shell, from file names alone: no plugin is imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

if TYPE_CHECKING:
    from prime_audit.plugins.loading import Kind

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(names: Callable[[], Iterable[str]], cut: str = "") -> Completer:
    """Complete one name, or the last of several (``cut``: a pattern of what separates them)."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before = 0
        for mark in re.finditer(cut, incomplete) if cut else ():
            before = mark.end()
        head, tail = incomplete[:before], incomplete[before:]
        return [CompletionItem(head + name) for name in names() if name.startswith(tail)]

    return complete


def _plugins(kind: Kind) -> Iterable[str]:
    from prime_audit.plugins.loading import available

    return available(kind)


def _presets() -> Iterable[str]:
    from prime_audit.plan.presets import AUTO

    return [AUTO, *_numbers()]


def _numbers() -> Iterable[str]:
    from prime_audit.settings import presets

    return presets()


def _names(module: str, attribute: str) -> Iterable[str]:
    names: Iterable[str] = getattr(import_module(f"prime_audit.{module}"), attribute)
    return names


def _setting_words(incomplete: str) -> Iterable[str]:
    """List what may be written: KEY=, TASK.KEY= behind a task, KEY=WORD behind a key that takes words."""
    from prime_audit.settings import SETTINGS, words_of

    task, dot, rest = incomplete.partition(".")
    before, typed = (task + dot, rest) if dot and task in _tasks() else ("", incomplete)
    key, equals, _ = typed.partition("=")
    if equals:
        return [f"{before}{key}={word}" for word in (words_of(key) if key in SETTINGS else ())]
    return [f"{before}{name}=" for name, row in SETTINGS.items() if not (before and row.run)]


def setting(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete ``--set``."""
    return [CompletionItem(word) for word in _setting_words(incomplete) if word.startswith(incomplete)]


@add_completion_class
class Bash(BashComplete):
    """Completion in bash, which splits words at = and : too, and replaces only what is behind the last of them."""

    source_template = BashComplete.source_template.replace(
        "    return 0\n", "    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n    return 0\n"
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """Join the words that bash split."""
        args, incomplete = super().get_completion_args()
        joined: list[str] = []
        for word in (*args, incomplete):
            behind = joined and joined[-1].endswith(("=", ":")) and not word.startswith("-")
            if joined and (word in ("=", ":") or behind):
                joined[-1] += word
            else:
                joined.append(word)
        return joined[:-1], joined[-1]

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """Cut what bash keeps from each word."""
        option, equals, value = incomplete.partition("=")
        typed = value if equals and option.startswith("--") else incomplete
        cut = max(typed.rfind("="), typed.rfind(":")) + 1
        found = super().get_completions(args, incomplete)
        return [CompletionItem(item.value[cut:], item.type) for item in found]


def _any_plugin() -> list[str]:
    from prime_audit.plugins.loading import KINDS

    return [name for kind in KINDS for name in _plugins(kind)]


methods = _completer(partial(_plugins, "method"), r"[,+]")
method = _completer(partial(_plugins, "method"), r"\+")
attacks = _completer(partial(_plugins, "attack"), ",")
games = _completer(partial(_plugins, "game"), ",")
_tasks = partial(_names, "lamp.tasks", "TASKS")
tasks = _completer(_tasks, ",")
task = _completer(_tasks)
preset = _completer(_presets)
study = _completer(partial(_names, "studies.catalog", "STUDIES"))
example = _completer(partial(_names, "examples", "EXAMPLES"))
plugin = _completer(_any_plugin)
anything = _completer(lambda: [*_any_plugin(), *_tasks(), *_numbers(), "settings"])
