"""The Python face of ``prime-audit compare``, with the same words."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prime_audit.community.store import default_cache
from prime_audit.folder import Run
from prime_audit.io.terminal import say
from prime_audit.plan.plan import make_plan
from prime_audit.runs.executors import chosen

if TYPE_CHECKING:
    from prime_audit.forecast.forecast import Forecast


def compare(
    methods: str | Sequence[str] = "prime,perpcs",
    *,
    out: str | Path | None = None,
    cache: str | Path | None = "default",
    quiet: bool = False,
    executor: str = "local",
    address: str | None = None,
    workers: int | None = None,
    **options: Any,
) -> Run:
    """Run methods through one harness: utility, leakage, controls; write the run folder and return it.

    Parameters
    ----------
    methods
        As on the command line: ``"np,prime:alpha=0.6+rag"``, or a sequence of such names.
    out
        The run's folder; by default ``runs/`` and the time.
    cache
        Where what models were asked is kept; None keeps nothing.
    quiet
        No progress.
    executor, address, workers
        ``"ray"``: carried out by a Ray cluster; see ``executors/README.md``.
    options
        Further words of the command: ``tasks``, ``attacks``, ``games``, ``against``, ``data``, ``model``,
        ``encoder``, ``profiler``, ``preset``, ``overrides`` (``["clusters=10"]``), ``device``, ``dtype``, ``seed``,
        ``plugins``, ``strict``, ``sharer_dp`` (``"epsilon=8"``: sharers' adapters are trained with DP-SGD), ``sharers``
        and ``base_adapter`` (adapters trained elsewhere: ``prime_audit/lamp/given.py``). A run's own ``config.toml``
        gives them all: ``compare(**read_config("runs/first/config.toml"))`` (``prime_audit/plan/config.py``).

    Raises
    ------
    UserError
        For whatever the caller can mend, in one line.
    """
    where = chosen(executor, address, workers)
    decided = make_plan(methods=methods, **options)
    for note in () if quiet else decided.notes:
        say(note, err=True)
    from prime_audit.runs.run import run

    folder = Path(out) if out else Path("runs") / datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    command = command_line(methods, options)
    return run(decided, folder, command, cache=_folder(cache), quiet=quiet, where=where)


def predict(
    methods: str | Sequence[str] = "prime,perpcs",
    *,
    cache: str | Path | None = "default",
    start_up: float = 0.0,
    tell: Callable[[str], object] = lambda _: None,
    **options: Any,
) -> Forecast:
    """Say what :func:`compare` would do with the same words, and predict its time and memory.

    ``start_up``: seconds to count for the start of a process of its own. ``tell``: called with every line that a user
    should see meanwhile.

    Raises
    ------
    UserError
        As the run itself would.
    """
    decided = make_plan(methods=methods, **options)
    for note in decided.notes:
        tell(note)
    from prime_audit.forecast.forecast import forecast

    return forecast(decided, _folder(cache), start_up, tell)


def _folder(cache: str | Path | None) -> Path | None:
    return default_cache() if cache == "default" else Path(cache) if cache else None


def command_line(methods: str | Sequence[str], options: dict[str, Any]) -> str:
    """Write the command that makes the run again, without its output folder."""
    return shlex.join(["prime-audit", "compare", "--methods", _joined(methods), *option_words(options)])


def option_words(options: Mapping[str, Any]) -> list[str]:
    """Write options as the words of a command; None and empty ones are left out."""
    words: list[str] = []
    for key, value in options.items():
        if key == "overrides":
            words += [w for pair in value for w in ("--set", pair)]
        elif key == "plugins":
            words += [w for path in value for w in ("--plugin", str(path))]
        elif key == "strict":
            words += ["--strict"] if value else []
        elif value is not None:
            option = f"--{key.replace('_', '-')}"
            words += [
                option,
                _joined(value) if key in ("tasks", "attacks", "games", "against") else str(value),
            ]
    return words


def _joined(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else ",".join(value)
