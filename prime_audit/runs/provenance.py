"""The code of a run: version, commit, local changes, and a hash of every source file."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prime_audit.plugins import Game, Method
from prime_audit.plugins.contracts import Plugin
from prime_audit.plugins.loading import available, kind_of

_HOME = Path(__file__).parents[1]
_OURS = ("prime_audit", "attacks", "baselines", "pyproject.toml")
"""Folders that decide numbers in a checkout; changes elsewhere make no run dirty."""


def code() -> dict[str, Any]:
    """Describe the installed prime-audit.

    Returns version, sha256 (of its sources), commit and dirty (whether files that decide numbers differ from it). The
    last two are null outside a checkout.
    """
    return {"version": version("prime-audit"), "sha256": _sources(), **_commit()}


def code_since(then: dict[str, Any]) -> dict[str, Any]:
    """Describe the code that has run since ``then`` (:func:`code`): dirty, if it was changed meanwhile."""
    return then if code() == then else {**then, "dirty": True}


def plugins_of(plugins: Iterable[Plugin], files: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """List each plugin's version and origin, by ``method NAME``, ``attack NAME`` and ``game NAME``.

    version (the plugin's own number), origin (its distribution, or FILE.py), sha256 (of a one-off file's text); of a
    game also randomised, whole, says, samples and exposes, of a control what it says, for whoever reads the record
    without the plugin.
    """
    paths = tuple(files)
    found = {}
    for plugin in plugins:
        kind = kind_of(plugin)
        own = {"version": plugin.version, **_origin(available(kind, paths)[plugin.name].module)}
        if isinstance(plugin, Game):
            own |= {
                "randomised": plugin.design.randomised,
                "whole": plugin.design.whole,
                "says": plugin.says,
                "samples": plugin.samples,
                "exposes": plugin.exposes,
            }
        if isinstance(plugin, Method) and plugin.control:
            own |= {"control": plugin.control}
        found[f"{kind} {plugin.name}"] = own
    return dict(sorted(found.items()))


def _origin(module: str) -> dict[str, str]:
    if not module.endswith(".py"):
        return {"origin": module}
    path = Path(module)
    return {"origin": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _sources() -> str:
    total = hashlib.sha256()
    for path in sorted(p for p in _HOME.rglob("*") if p.suffix in (".py", ".toml") and p.is_file()):
        total.update(path.relative_to(_HOME).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def _commit() -> dict[str, Any]:
    root = _HOME.parent
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--", *_OURS)
    # If git gives no answer, nothing proves that the code is unchanged.
    return {"commit": commit or None, "dirty": changed is None or bool(changed)}


def _git(root: Path, *words: str) -> str | None:
    """Run git; None where it is missing or refuses the folder."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
