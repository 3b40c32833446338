"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
task_option = click.option("--task", metavar="T", help="The task, for instance LaMP-2.")
data_option = click.option(
    "--data",
    default="world",
    metavar="PATH",
    show_default=True,
    help="A folder or file, or the built-in 'world'.",
)
plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A Python file with a method or an attack.",
)
seed_option = click.option("--seed", default=0, show_default=True, help="Decides everything that is drawn.")
preset_options = (
    click.option(
        "--preset", default="laptop", show_default=True, help="Numbers of a run: laptop, or the paper's."
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change one number (describe settings), or a method's parameter: prime.alpha=0.6.",
    ),
)


def with_presets(command: F) -> F:
    """Add ``--preset`` and ``--set``."""
    for option in reversed(preset_options):
        command = option(command)
    return command
