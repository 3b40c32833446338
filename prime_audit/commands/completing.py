"""Completion of names in a shell, from file names alone: no plugin is imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

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


def _methods() -> Iterable[str]:
    from prime_audit.plugins.loading import available

    return available("method")


def _attacks() -> Iterable[str]:
    from prime_audit.plugins.loading import available

    return available("attack")


def _tasks() -> Iterable[str]:
    from prime_audit.lamp.tasks import TASKS

    return TASKS


def _games() -> Iterable[str]:
    from prime_audit.games.deal import GAMES

    return GAMES


def _presets() -> Iterable[str]:
    from prime_audit.settings import presets

    return presets()


def _studies() -> Iterable[str]:
    from prime_audit.studies.catalog import STUDIES

    return STUDIES


def _examples() -> Iterable[str]:
    from prime_audit.examples import EXAMPLES

    return EXAMPLES


methods = _completer(_methods, r"[,+]")
method = _completer(_methods, r"\+")
attacks = _completer(_attacks, ",")
games = _completer(_games, ",")
tasks = _completer(_tasks, ",")
task = _completer(_tasks)
preset = _completer(_presets)
study = _completer(_studies)
example = _completer(_examples)
plugin = _completer(lambda: [*_methods(), *_attacks()])
anything = _completer(lambda: [*_methods(), *_attacks(), *_tasks(), *_presets(), "settings"])
