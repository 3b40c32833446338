"""Personalised language models: does it help its user, and whom does it leak.

``compare(methods=...)`` runs methods through one harness and returns the run; ``load_run(path)`` reads one back;
``study(name)`` makes a table or figure of the paper.
Importing this package loads neither torch nor numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prime_audit.api import compare as compare
    from prime_audit.api import predict as predict
    from prime_audit.folder import Run as Run
    from prime_audit.folder import load_run as load_run
    from prime_audit.studies.run import study as study

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "compare", "load_run", "predict", "study"]
_HOMES = {
    "compare": "prime_audit.api",
    "predict": "prime_audit.api",
    "Run": "prime_audit.folder",
    "load_run": "prime_audit.folder",
    "study": "prime_audit.studies.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
