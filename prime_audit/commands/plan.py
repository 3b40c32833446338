"""``prime-audit plan``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from prime_audit.commands.options import config_option, run_options, share_cores, talk_options
from prime_audit.commands.printing import SOME_FAILED, about, cache_of
from prime_audit.io.terminal import print_table, say


@about("Predict a run: stages, cache hits, time, memory.", "plan --methods np,rag,prime --tasks LaMP-2")
@click.command()
@run_options("plan")
@talk_options
@config_option
def command(cache: Path | None, no_cache: bool, as_json: bool, quiet: bool, **options: Any) -> None:
    """Predict what compare would do: stages, cache hits, time and memory.

    It takes the options of compare. The run is rehearsed with an engine that counts what models would do, so what
    would fail is said first. Then this machine's speeds are measured, in about half a minute, and stored in the
    cache; nothing else is written.
    """
    import time

    import psutil

    from prime_audit.api import predict
    from prime_audit.forecast.forecast import headline, lines

    share_cores(options["threads"])
    begun = time.time() - psutil.Process().create_time()  # what any command takes to start, imports included
    tell = (lambda _: None) if quiet else partial(say, err=True)
    for of_results in ("details", "explain"):  # what compare takes: nothing is shown of results here
        options.pop(of_results)
    found = predict(cache=None if no_cache else cache_of(cache), start_up=begun, tell=tell, **options)
    if as_json:
        say(json.dumps(asdict(found), ensure_ascii=False))
    else:
        print_table(
            list(lines(found)), ["task", "method", "stage", "requests", "tokens", "cached", "seconds"]
        )
        say(headline(found))
    if found.failures:
        sys.exit(SOME_FAILED)
