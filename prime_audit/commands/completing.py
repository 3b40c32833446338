"""Completion of names in a shell, from file names alone: no plugin is imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from prime_audit.plugins.loading import Kind

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
SHELLS = ("bash", "zsh", "fish")


def script(shell: str) -> str:
    """Return what a shell has to read once, so that it completes prime-audit's words."""
    from click.shell_completion import get_completion_class

    from prime_audit.commands.cli import cli

    found = get_completion_class(shell)
    assert found is not None
    made = found(cli, {}, "prime-audit", "_PRIME_AUDIT_COMPLETE")
    # Its own source() runs bash to look at the version.
    return str(made.source_template % made.source_vars())


def _completer(names: Callable[[], Iterable[str]], cut: str = "") -> Completer:
    """Complete one name, or the last of several (``cut``: a pattern of what stands between two)."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before = 0
        for mark in re.finditer(cut, incomplete) if cut else ():
            before = mark.end()
        head, tail = incomplete[:before], incomplete[before:]
        return [CompletionItem(head + name) for name in names() if name.startswith(tail)]

    return complete


def _plugins(kind: Kind) -> list[str]:
    from prime_audit.plugins.loading import available

    return list(available(kind))


def _tasks() -> list[str]:
    from prime_audit.lamp.tasks import TASKS

    return list(TASKS)


def _presets() -> list[str]:
    from prime_audit.settings import presets

    return presets()


def _studies() -> list[str]:
    from prime_audit.studies.catalog import STUDIES

    return list(STUDIES)


def _examples() -> list[str]:
    from prime_audit.examples import EXAMPLES

    return list(EXAMPLES)


def _any_plugin() -> list[str]:
    from prime_audit.plugins.loading import KINDS

    return [name for kind in KINDS for name in _plugins(kind)]


methods = _completer(partial(_plugins, "method"), r"[,+]")
method = _completer(partial(_plugins, "method"), r"\+")
attacks = _completer(partial(_plugins, "attack"), ",")
games = _completer(partial(_plugins, "game"), ",")
tasks = _completer(_tasks, ",")
task = _completer(_tasks)
preset = _completer(_presets)
study = _completer(_studies)
example = _completer(_examples)
plugin = _completer(_any_plugin)
anything = _completer(lambda: [*_any_plugin(), *_tasks(), "settings"])
