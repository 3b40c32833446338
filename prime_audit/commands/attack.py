"""``prime-audit attack``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prime_audit.commands.options import share_cores, shared, talk_options, varied
from prime_audit.commands.printing import PATH, about, cache_of, exit_if_failed, show_run


@about("Score more attacks on a finished run.", "attack runs/first --attacks loss,minkpp,rmia")
@click.command()
@click.argument("run", type=PATH)
@varied("attacks", required=True)
@varied("games", default_text="all of the run's")
@varied("out", default_text="RUN/attacks-HASH")
@shared("sharers", "base-adapter", "plugin", "cache", "no-cache", "threads", "details", "explain", "json")
@talk_options
def command(
    run: Path,
    cache: Path | None,
    no_cache: bool,
    as_json: bool,
    details: bool,
    explain: bool,
    **options: Any,
) -> None:
    """Score attacks on the signals that a finished run stored; its record does not change.

    The model runs only for signals that the run did not store. They are stored too.
    """
    from prime_audit.runs.rescore import attack

    share_cores(options.pop("threads"))
    finished = attack(run, cache=None if no_cache else cache_of(cache), **options)
    show_run(finished, as_json, details=details, explain=explain)
    exit_if_failed(finished)
