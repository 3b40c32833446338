"""Completion of names in a shell, from file names alone: no plugin is imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

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
