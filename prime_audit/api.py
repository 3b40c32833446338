"""The Python face of prime-audit: run methods, predict a run, read a run back, run a study.

Importing it loads no torch: models come with the call that needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prime_audit.errors import UserError
from prime_audit.folder import Run, load_run
from prime_audit.io.cores import caution, threads
from prime_audit.plan.config import read_config
from prime_audit.plan.options import deciding_of, documented, filled, keywords_of
from prime_audit.plan.plan import make_plan
from prime_audit.runs.compare import CACHE, METHODS, cache_folder, compare
from prime_audit.runs.executors import chosen
from prime_audit.studies.run import study

if TYPE_CHECKING:
    from prime_audit.forecast.forecast import Forecast

__all__ = ["Run", "UserError", "compare", "load_run", "predict", "read_config", "study"]


@documented("plan")
def predict(
    methods: str | Sequence[str] = METHODS,
    *,
    cache: str | Path | None = CACHE,
    start_up: float = 0.0,
    tell: Callable[[str], object] = lambda _: None,
    **options: Any,
) -> Forecast:
    """Predict what :func:`compare` would do with the same options, its time and its memory.

    Parameters
    ----------
    methods : str or sequence of str, default "prime,perpcs"
        As of :func:`compare`.
    cache : str, Path or None, default "default"
        As of :func:`compare`: what is cached takes no time.
    start_up : float, default 0
        Seconds to add for the start of a process.
    tell : callable
        Called with each line that a user should see meanwhile.
    **options
        The other options of ``prime-audit plan``, by keyword; ``help(predict)`` lists them.

    Returns
    -------
    Forecast
        Requests, tokens, cache hits and seconds of each stage; the memory in bytes; the failures to expect.

    Raises
    ------
    UserError
        As :func:`compare` would.
    """
    every = filled("predict()", {"methods": methods, "cache": cache, **options}, keywords_of("plan"))
    where = chosen(every["executor"], every["address"], every["workers"], every["threads"])
    plan = make_plan(**deciding_of({"methods": methods, **options}))
    for note in (*plan.notes, *caution()):
        tell(note)
    from prime_audit.forecast.forecast import forecast

    with threads(where.each()):
        return forecast(
            plan,
            cache_folder(cache),
            start_up,
            tell,
            out=every["out"] and Path(every["out"]),
            workers=where.workers or 1,
            again=every["remeasure"],
        )
