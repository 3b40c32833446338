"""``prime-audit compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prime_audit.commands.options import config_option, run_options, share_cores, talk_options
from prime_audit.commands.printing import about, cache_of, exit_if_failed, show_run


@about(
    "Run methods: utility, leakage, controls, frontier.",
    "compare --methods np,rag,prime --tasks LaMP-2 --out runs/first",
    "compare --methods prime:alpha=0,prime:alpha=0.6 --games heldout --attacks loss,zlib",
    "compare --methods np,prime --data my_items.jsonl --tasks LaMP-4 --model my_model",
)
@click.command()
@run_options("compare")
@talk_options
@config_option
def command(
    cache: Path | None, no_cache: bool, as_json: bool, details: bool, explain: bool, **options: Any
) -> None:
    """Run methods and measure utility and leakage.

    Every method personalises the same base model for the same users; every model answers the same questions and faces
    the same attacks. The run's folder holds the record, tables, a page, a figure, and a config.toml that repeats it.
    """
    from prime_audit.api import compare

    share_cores(options["threads"])
    finished = compare(cache=None if no_cache else cache_of(cache), **options)
    show_run(finished, as_json, details=details, explain=explain)
    exit_if_failed(finished)
