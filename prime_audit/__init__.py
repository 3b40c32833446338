"""Audit personalised language models: how much they help their users, and whose data they leak.

``compare(methods=...)`` runs methods and returns the run, ``predict(...)`` says how long that takes, ``load_run(path)``
reads a finished run and ``study(name)`` makes a table or figure of the paper. Importing this package loads neither
torch nor numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prime_audit.api import Run, UserError, compare, load_run, predict, read_config, study

__version__ = "0.1.0"
__all__ = ["Run", "UserError", "__version__", "compare", "load_run", "predict", "read_config", "study"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from prime_audit import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return __all__
