"""A process that has imported everything and forks one for each command: a killed run costs no start.

Reads a JSON object a line: ``{"start": [words], "log": FILE, "limit": bytes that a file may grow to, or null, "dies":
a name of ``POINTS``, or null}`` is answered by ``{"pid": N}``, ``{"wait": N}`` by ``{"code": exit code, minus the
signal's number where one killed it}``.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

POINTS: dict[str, tuple[str, str, Callable[..., bool]]] = {
    "adapters trained, not written": (
        "prime_audit.cache.entry",
        "Entry.write",
        lambda _, kind, *rest: kind == "adapters",
    ),
    "entry half written": ("prime_audit.cache.entry", "_seal", lambda *_: True),
    "search over, not written": ("prime_audit.prime.search", "_packed", lambda *_: True),
    "answers written, signals not": ("prime_audit.engine.engine", "Engine._observe", lambda *_: True),
    "all computed, folder empty": ("prime_audit.runs.run", "write", lambda *_: True),
    "record written, not in place": (
        "os",
        "fsync",
        lambda file: ".record.json." in str(Path(f"/proc/self/fd/{file}").readlink()),
    ),
}
"""Where a run can be killed: name → module, a function of it (or ``Class.method``), which of its calls."""


def arm(point: str) -> None:
    """Let this process kill itself, as by ``kill -9``, at the first such call."""
    module, name, reached = POINTS[point]
    *outer, own = name.split(".")
    place: Any = import_module(module)
    for part in outer:
        place = getattr(place, part)
    plain = getattr(place, own)

    def fatal(*given: Any, **named: Any) -> Any:
        if reached(*given):
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*given, **named)

    setattr(place, own, fatal)


def work(words: list[str], log: str, limit: int | None, dies: str | None) -> None:
    """Run ``prime-audit`` with these words; all that it prints goes to a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    # As a terminal starts it, whoever started the tests: a shell's background jobs ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if dies is not None:
        arm(dies)
    sys.argv = ["prime-audit", *words]
    code = 1
    try:
        main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    import matplotlib.figure  # noqa: F401
    import nevergrad  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.cluster
    import sklearn.linear_model  # noqa: F401
    import torch

    import prime_audit.report.from_record
    import prime_audit.runs.run  # noqa: F401
    from prime_audit.commands.cli import main

    torch.set_num_threads(1)
    for line in sys.stdin:
        asked = json.loads(line)
        if "start" in asked:
            answer = {"pid": os.fork()}
            if not answer["pid"]:
                work(asked["start"], asked["log"], asked["limit"], asked["dies"])
        else:
            answer = {"code": os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])}
        print(json.dumps(answer), flush=True)
