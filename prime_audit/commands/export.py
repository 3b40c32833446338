"""``prime-audit export``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from prime_audit.commands import completing
from prime_audit.commands.options import share_cores, shared, task_option
from prime_audit.commands.printing import PATH, about, cache_of
from prime_audit.errors import UserError
from prime_audit.io.terminal import say


def _benchmark(_: click.Context, __: click.Parameter, given: str | None) -> tuple[str, str] | None:
    if given is None:
        return None
    found = re.fullmatch(r"([\w.-]+/[\w.-]+):([\w./-]+)", given)
    if not found:
        raise UserError(f"--benchmark {given}: pass the id of a dataset and of its task, as OWNER/NAME:TASK")
    return found[1], found[2]


@about(
    "Write a target's model as one PEFT adapter.",
    "export runs/first --target u012 --method prime --out u012_prime",
)
@click.command()
@click.argument("run", type=PATH)
@click.option("--target", required=True, metavar="ID", help="The user whose model is written.")
@click.option(
    "--method",
    metavar="M",
    help="The method, as the run names it.  [default: its only method besides np]",
    shell_complete=completing.method,
)
@task_option
@click.option("--out", required=True, type=PATH, help="Folder to write.")
@click.option(
    "--without",
    metavar="SHARER",
    help="Make the model again without this sharer, and report what it still reveals of the sharer's items.",
)
@click.option(
    "--benchmark",
    metavar="DATASET:TASK",
    callback=_benchmark,
    help="A benchmark dataset on the Hub and its task: also write .eval_results/, an entry of its leaderboard.",
)
@shared("sharers", "base-adapter", "plugin", "cache", "no-cache", "threads")
def command(
    run: Path, target: str, method: str | None, out: Path, cache: Path | None, no_cache: bool, **options: Any
) -> None:
    """Write a target's model as one adapter that plain PEFT loads on the original base, with a model card.

    With --without the method runs once more on the community without the sharer. This needs the run's base and data.
    """
    from prime_audit.export.card import gain_of, least_p, rank_p
    from prime_audit.export.export import export
    from prime_audit.lamp.given import shown

    if no_cache:
        raise UserError("--no-cache: the adapters come from the cache; leave it out, or pass --cache DIR")
    share_cores(options.pop("threads"))
    made = export(run, target, method, out, cache=cache_of(cache), **options)
    model, target = made.model, shown(made.model.row["target"])
    say(
        f"{out}: {model.label} of {target} on {model.task}, rank {made.rank}; its README.md says how to load it"
    )
    if found := model.unlearnt:
        sharer = shown(found.sharer)
        if not found.merged:
            say(f"{sharer} was not merged in the run's model of {target}")
        for name, standing in (("the run's model", found.before), ("the new model", found.after)):
            say(
                f"{sharer} in {name}: gain over the base {gain_of(standing)} nats a token, higher than for "
                f"{standing.below} of {standing.others} sharers that neither model merges; rank p = {rank_p(standing)}"
            )
        others = found.before.others
        say(f"with {others} such sharer{'s' * (others != 1)} a rank p cannot be below {least_p(others)}")
