"""Options of commands: those of a run from the table in ``plan/options.py``, and a few that single commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from prime_audit.commands import completing
from prime_audit.io.cores import make_way, use_threads
from prime_audit.io.log import show_more, write_to
from prime_audit.plan.kinds import Flag
from prime_audit.plan.options import Option, named, options_of

F = TypeVar("F", bound=Callable[..., Any])
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""How every command prints its help."""
_LISTED = "prime_audit.plan.config"


def run_options(command: str) -> Callable[[F], F]:
    """Add all options of ``compare``, ``plan`` or ``study``."""
    return _adding(options_of(command))


def shared(*names: str) -> Callable[[F], F]:
    """Add options of a run by name to a command that takes only some."""
    return _adding([named(name) for name in names])


def varied(name: str, *, default_text: str = "", required: bool = False) -> Callable[[F], F]:
    """Add an option of a run by name to a command where its default is another, or where there is none."""
    return _click_option(replace(named(name), default=None, default_text=default_text), required=required)


def _adding(rows: Iterable[Option]) -> Callable[[F], F]:
    def add(command: F) -> F:
        for row in reversed([*rows]):
            command = _click_option(row)(command)
        return command

    return add


def _click_option(row: Option, **more: Any) -> Callable[[F], F]:
    """Make the click option of a row."""
    if isinstance(row.kind, Flag):
        more["is_flag"] = True
    else:
        more["type"] = click.Path(path_type=Path) if row.kind.type is Path else row.kind.type
        more["multiple"] = row.kind.repeated
        more["metavar"] = row.metavar or (f"[{'|'.join(row.choices)}]" if row.choices else None)
        # A default in words is that of the preset or the function, which fills it in.
        more["default"] = None if row.default_text else row.default
        more["show_default"] = not row.default_text and row.default not in (None, ())
    if row.completes:
        more["shell_complete"] = getattr(completing, row.completes)
    if row.kind.repeated:
        more["callback"] = _after_file
    if row.unless:
        more["callback"] = partial(_unless_named, row.unless)
    text = f"{row.help}  [default: {row.default_text}]" if row.default_text else row.help
    return click.option(f"--{row.name}", row.word, help=text, **more)


def _from_file(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Make the options of a config file the defaults of the command line."""
    if path is None:
        return
    from prime_audit.plan.config import read_config

    found = read_config(path)
    repeated = {row.word for row in options_of("compare") if row.kind.repeated}
    context.meta[_LISTED] = {key: found.pop(key) for key in repeated & found.keys()}
    context.default_map = {**(context.default_map or {}), **found}


def _after_file(context: click.Context, option: click.Parameter, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Put the values of the command line after those of the file: of settings the last one counts."""
    listed = context.meta.get(_LISTED, {}).get(option.name, [])
    if isinstance(option.type, click.Path):
        return tuple(dict.fromkeys((*map(Path, listed), *given)))
    return (*listed, *given)


def _unless_named(other: str, context: click.Context, option: click.Parameter, given: bool) -> bool:
    """Let ``--cache DIR`` on the command line override ``no-cache`` of a file."""
    by_file = context.get_parameter_source(str(option.name)) is ParameterSource.DEFAULT_MAP
    named = context.get_parameter_source(other) is ParameterSource.COMMANDLINE
    return given and not (by_file and named)


def share_cores(count: int | None) -> None:
    """Decide how a command that runs models shares the machine's cores, before torch is imported."""
    if count is not None:
        use_threads(count)
    make_way()


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_from_file,
    help="A TOML file of options, such as a run's config.toml; options on the command line override it.",
)


def _log(_context: click.Context, _option: click.Parameter, file: Path | None) -> None:
    if file:
        write_to(file)


def _more(_context: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked:
        show_more()


def talk_options(command: F) -> F:
    """Add how much a command says: -q, -v, and a log file."""
    for option in (
        click.option(
            *("--log", "file"),
            type=click.Path(path_type=Path, dir_okay=False),
            expose_value=False,
            callback=_log,
            help="Append all that is said, what comes from the cache, and tracebacks to a file, with times.",
        ),
        click.option(
            *("-v", "--verbose"),
            is_flag=True,
            expose_value=False,
            callback=_more,
            help="Show what is read from the cache, tracebacks and libraries' warnings; lines instead of bars.",
        ),
        click.option(
            *("-q", "--quiet"), is_flag=True, help="Print results and errors, but no progress and no notes."
        ),
    ):
        command = option(command)
    return command


task_option = click.option(
    "--task",
    metavar="T",
    help="The task, for example LaMP-2 (see list tasks).",
    shell_complete=completing.task,
)
