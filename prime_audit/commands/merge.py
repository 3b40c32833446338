"""``prime-audit merge``."""

from __future__ import annotations

from pathlib import Path

import click

from prime_audit.commands.printing import PATH, about
from prime_audit.engine.rules import DEFAULT, RULES, explained
from prime_audit.io.terminal import say


@about("Merge PEFT adapters into one PEFT adapter.", "merge ann bob --weights 0.5,0.5 --out merged")
@click.command()
@click.argument("adapters", nargs=-1, required=True, type=PATH)
@click.option(
    "--weights",
    required=True,
    metavar="W,…",
    help="One number per adapter, for example 0.5,0.3; or a JSON file: one number per adapter, or one row per layer.",
)
@click.option("--rule", type=click.Choice([*RULES]), default=DEFAULT, show_default=True, help=explained())
@click.option("--out", required=True, type=PATH, help="Folder of the merged adapter.")
def command(adapters: tuple[Path, ...], weights: str, rule: str, out: Path) -> None:
    """Merge PEFT adapters into one standard PEFT adapter."""
    from prime_audit.engine.merge import merge_folders

    made = merge_folders(adapters, weights, rule, out)
    for note in made.notes:
        say(f"warning: {note}", err=True)
    say(f"{out}: {len(adapters)} adapters merged by the {rule} rule, rank {made.adapter.rank}")
