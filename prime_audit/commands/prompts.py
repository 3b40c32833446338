"""``prime-audit prompts``."""

from __future__ import annotations

import json
from typing import Any

import click

from prime_audit.commands.options import shared, task_option
from prime_audit.commands.printing import about
from prime_audit.io.markup import visible
from prime_audit.io.terminal import say


@about(
    "Show every prompt that a method sends for a user.",
    "prompts --task LaMP-2 --user u012 --method prime+rag",
)
@click.command()
@shared("data", "columns", "time-column")
@task_option
@click.option(
    "--user", required=True, metavar="ID", help="The user; with --split history, any user of the data."
)
@click.option("--method", required=True, metavar="M", help="For example rag, pag or prime+rag:k=2.")
@click.option(
    "--split",
    type=click.Choice(["query", "history"]),
    default="query",
    show_default=True,
    help="The user's questions, or the examples made from their history.",
)
@shared("model", "preset", "set", "seed", "plugin", "json")
def command(as_json: bool, columns: str | None, time_column: str | None, **options: Any) -> None:
    """Show every prompt that a method sends for a user, with its gold.

    Split query: a target's questions, or the questions with which a user adapts the base (the same for every method).
    Split history: the examples that train or search a user's model. For a sharer, a run leaves the held-out items out
    of these. Notes on stderr say which preset --preset auto means for --model, and where a run would send something
    else, such as profiles that a model writes. No model is loaded.
    """
    from prime_audit.authoring.describe import user_prompts
    from prime_audit.lamp.columns import read_columns

    found = user_prompts(**options, columns=read_columns(columns, time_column))
    for note in found.notes:
        say(note, err=True)
    if as_json:
        say(json.dumps(found.rows, indent=2, ensure_ascii=False))
        return
    for row in found.rows:
        click.echo(
            f"{click.style(visible(row['id']), bold=True)}\n{visible(row['prompt'])} "
            f"{click.style(visible(row['gold']), fg='green')}\n"
        )
