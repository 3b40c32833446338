"""Whether a record that was read hangs together: what its types cannot say, and every table relies on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prime_audit.errors import UserError

if TYPE_CHECKING:
    from prime_audit.record import Record

_RATE = re.compile(r"[01](\.[0-9]{1,9})?")
"""A false-positive rate, as a key of ``tpr``."""


def require_coherent(record: Record, where: str) -> None:
    """Raise UserError where a record says what no run says; ``where`` names its file."""
    _require_spec(record.spec, where)
    _require_told(record, where)
    _require_figures(record, where)


def _require_spec(spec: Mapping[str, Any], where: str) -> None:
    """Refuse a specification whose entries, where they are there, are of another form than a plan's."""
    for key in ("tasks", "methods", "games", "attacks"):
        names = spec.get(key, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{where}: spec.{key} is no list of names; the record is damaged, run again")
    settings, overrides = spec.get("settings", {}), spec.get("overrides", {})
    if not isinstance(settings, Mapping) or not all(isinstance(own, Mapping) for own in settings.values()):
        raise UserError(f"{where}: spec.settings is no table by task; the record is damaged, run again")
    if not isinstance(overrides, Mapping):
        raise UserError(f"{where}: spec.overrides is no table; the record is damaged, run again")


def _require_told(record: Record, where: str) -> None:
    """Refuse a code or a plugin that is told of in anything but single words and numbers."""
    tables = {"code": record.code, **{f"plugins.{name}"[:80]: told for name, told in record.plugins.items()}}
    for name, told in tables.items():
        if not isinstance(told, Mapping) or any(isinstance(v, list | dict) for v in told.values()):
            raise UserError(f"{where}: {name} is no table of words; the record is damaged, run again")


def _require_figures(record: Record, where: str) -> None:
    """Refuse a record that tells a figure twice, of a leak without a figure, or of no parameters: no table shows it."""
    for label, by_task in record.methods.items():
        if not all(isinstance(parameters, Mapping) for parameters in by_task.values()):
            raise UserError(f"{where}: methods.{label[:80]}: no parameters; the record is damaged, run again")
    seen: set[tuple[str | None, ...]] = set()
    for r in record.results:
        key = (r.task, r.method, r.metric, r.game, r.attack)
        if key in seen:
            told = " ".join(filter(None, key))[:80]
            raise UserError(f"{where}: tells a figure twice ({told}); the record is damaged, run again")
        seen.add(key)
    shown = {key[:2] for key in seen}
    for leak in record.leaks:
        if not all(_RATE.fullmatch(limit) for limit in leak.tpr):
            raise UserError(f"{where}: a TPR at no FPR; the record is damaged, run again")
        if (leak.task, leak.method) not in shown:
            told = f"{leak.method} on {leak.task}"[:80]
            raise UserError(f"{where}: leaks of {told} without its results; the record is damaged, run again")
