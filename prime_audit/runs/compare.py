"""``compare()``: options in, a run's folder out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prime_audit.community.store import default_cache
from prime_audit.folder import Run
from prime_audit.io.cores import caution, threads
from prime_audit.io.terminal import say
from prime_audit.plan.options import deciding_of, documented, filled, keywords_of, named, option_words
from prime_audit.plan.plan import make_plan
from prime_audit.runs.executors import chosen

METHODS, CACHE = named("methods").default, named("cache").default


@documented("compare")
def compare(
    methods: str | Sequence[str] = METHODS,
    *,
    cache: str | Path | None = CACHE,
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Run methods, write the run's folder and return the run.

    Every method personalises the same base model for the same users. Every model answers the same questions and faces
    the same attacks.

    Parameters
    ----------
    methods : str or sequence of str, default "prime,perpcs"
        ``"np,prime:alpha=0.6+rag"``, or a sequence of such names. ``np``, the model that is not personalised, always
        runs.
    cache : str, Path or None, default "default"
        Folder of the cache; ``"default"`` is ``~/.cache/prime-audit``, None computes everything and stores nothing.
    quiet : bool, default False
        Whether to print no progress.
    **options
        The other options of ``prime-audit compare``, by keyword; ``help(compare)`` lists them. ``overrides`` is
        ``--set`` (``["clusters=10"]``) and ``plugins`` for ``--plugin``.

    Returns
    -------
    Run
        The finished run: its ``path``, its ``record``, and frames for pandas.

    Raises
    ------
    UserError
        For anything the caller can fix, in one line.

    Examples
    --------
    >>> run = compare("np,rag", tasks="LaMP-2", out="runs/first")  # doctest: +SKIP
    >>> [(r.method, r.metric, r.value) for r in run.record.results]  # doctest: +SKIP
    """
    given = {"methods": methods, **options}
    every = filled("compare()", {**given, "cache": cache}, keywords_of("compare"))
    where = chosen(every["executor"], every["address"], every["workers"], every["threads"])
    plan = make_plan(**deciding_of(given))
    for note in () if quiet else (*plan.notes, *caution()):
        say(note, err=True)
    from prime_audit.runs.run import run

    out = Path(every["out"] or Path("runs") / datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f"))
    command = command_line({**given, "preset": plan.preset})
    with threads(where.threads):
        return run(plan, out, command, cache=cache_folder(cache), quiet=quiet, where=where)


def cache_folder(cache: str | Path | None) -> Path | None:
    """Return the folder that ``cache`` names: ``"default"`` is the user's own."""
    return default_cache() if cache == CACHE else Path(cache) if cache else None


def command_line(given: Mapping[str, Any]) -> str:
    """Write the command that repeats a run, without its output folder."""
    return shlex.join(["prime-audit", "compare", *option_words("compare", deciding_of(given))])
