"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from prime_audit.commands import completing

F = TypeVar("F", bound=Callable[..., Any])
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
task_option = click.option(
    "--task", metavar="T", help="The task, for instance LaMP-2.", shell_complete=completing.task
)
data_option = click.option(
    "--data",
    default="world",
    metavar="PATH",
    show_default=True,
    help="A folder or file, or the built-in 'world'.",
)


def _from_file(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Put the words of a file behind those of the command line."""
    if path is None:
        return
    from prime_audit.plan.config import read_config

    found = read_config(path)
    context.meta[_LISTED] = {key: found.pop(key) for key in ("overrides", "plugins") if key in found}
    context.default_map = {**(context.default_map or {}), **found}


def _after_file(context: click.Context, option: click.Parameter, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Put what is repeated on the command line after what the file has of it: the later wins."""
    listed = context.meta.get(_LISTED, {}).get(option.name, [])
    if option.name == "plugins":
        return tuple(dict.fromkeys((*map(Path, listed), *given)))
    return (*listed, *given)


_LISTED = "prime_audit.plan.config"
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_from_file,
    help="A TOML file of options, such as a run's config.toml; words of the command line win.",
)
plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    callback=_after_file,
    help="A Python file with a method or an attack.",
)
seed_option = click.option("--seed", default=0, show_default=True, help="Decides everything that is drawn.")
preset_options = (
    click.option(
        "--preset",
        default="laptop",
        show_default=True,
        help="Numbers of a run: laptop, or the paper's.",
        shell_complete=completing.preset,
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_after_file,
        help="Change one number (describe settings), or a method's parameter: prime.alpha=0.6.",
    ),
)


attack_option = click.option(
    "--attacks",
    default="loss",
    show_default=True,
    help="Membership-inference attacks.",
    shell_complete=completing.attacks,
)
_given = (
    click.option(
        "--sharers",
        type=click.Path(path_type=Path),
        help="A folder of sharers with LoRA adapters trained elsewhere and their items; the base is not adapted.",
    ),
    click.option(
        "--base-adapter",
        type=click.Path(path_type=Path),
        help="With --sharers: the LoRA that was merged into the base before theirs were trained.",
    ),
)
dp_option = click.option(
    "--sharer-dp", metavar="epsilon=E[,delta=D][,clip=C]", help="Train sharers' adapters with DP-SGD."
)
reader_options = (
    click.option(
        "--encoder",
        help="Model for user embeddings; '' uses the base's own states.  [default: the preset's]",
    ),
    click.option(
        "--profiler",
        help="Instruct model that writes PAG's profiles; '' summarises.  [default: the preset's]",
    ),
)
machine_options = (
    click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
    click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16 or float16."),
    seed_option,
    plugin_option,
    click.option("--strict", is_flag=True, help="Make any defect in the data an error."),
)
run_options = (
    click.option(
        "--methods",
        default="prime,perpcs",
        show_default=True,
        help="For instance np,rag,prime:alpha=0.6+rag.",
        shell_complete=completing.methods,
    ),
    click.option(
        "--tasks",
        metavar="T,…",
        help="Tasks; by default LaMP-2,LaMP-4 of the world, or what the data holds.",
        shell_complete=completing.tasks,
    ),
    attack_option,
    click.option(
        "--games",
        default="paper,heldout",
        show_default=True,
        help="Membership games (list games).",
        shell_complete=completing.games,
    ),
    dp_option,
    click.option(
        "--against",
        default="np",
        show_default=True,
        help="Methods that the others are compared with, paired.",
        shell_complete=completing.methods,
    ),
    data_option,
    *_given,
    click.option("--model", help="'mini', a Hugging Face folder or a hub id.  [default: the preset's]"),
    *reader_options,
    *preset_options,
    *machine_options,
    config_option,
)
study_options = (
    click.option(
        "--tasks",
        metavar="T,…",
        help="Tasks; by default the paper's, of the world, or what the data holds.",
        shell_complete=completing.tasks,
    ),
    attack_option,
    dp_option,
    data_option,
    click.option(
        "--model",
        "models",
        multiple=True,
        help="A base model, as compare takes it; several: one table each.  [default: the study's or the preset's]",
    ),
    *reader_options,
    *preset_options,
    *machine_options,
)


def _unless_named(context: click.Context, option: click.Parameter, given: bool) -> bool:
    """Let ``--cache DIR`` on the command line win over ``no-cache`` of a file."""
    by_file = context.get_parameter_source(str(option.name)) is ParameterSource.DEFAULT_MAP
    named = context.get_parameter_source("cache") is ParameterSource.COMMANDLINE
    return given and not (by_file and named)


cache_options = (
    click.option(
        "--cache", type=click.Path(path_type=Path), help="Where what was trained and answered is kept."
    ),
    click.option(
        "--no-cache", is_flag=True, callback=_unless_named, help="Keep nothing, and read nothing kept."
    ),
)
cluster_options = (
    click.option(
        "--executor", default="local", show_default=True, help="local, or ray: the workers of a Ray cluster."
    ),
    click.option(
        "--address",
        metavar="HOST:PORT",
        help="The Ray cluster.  [default: RAY_ADDRESS, or Ray on this machine]",
    ),
    click.option(
        "--workers", type=int, metavar="N", help="The most workers of a cluster.  [default: one a GPU]"
    ),
)


def with_run(command: F) -> F:
    """Add all that decides a run."""
    return _with(run_options, command)


def with_study(command: F) -> F:
    """Add all that decides a study, but its name."""
    return _with(study_options, command)


def given_options(command: F) -> F:
    """Add ``--sharers`` and ``--base-adapter``."""
    return _with(_given, command)


def with_cache(command: F) -> F:
    """Add ``--cache`` and ``--no-cache``."""
    return _with(cache_options, command)


def with_cluster(command: F) -> F:
    """Add who does the work, which changes no number."""
    return _with(cluster_options, command)


def with_presets(command: F) -> F:
    """Add ``--preset`` and ``--set``."""
    return _with(preset_options, command)


def _with(options: Sequence[Callable[[F], F]], command: F) -> F:
    for option in reversed(options):
        command = option(command)
    return command
