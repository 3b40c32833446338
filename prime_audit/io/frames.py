"""Frames of a run for pandas: a table each, columns typed by what the record says they are.

Text is ``string``, numbers ``float64`` (missing: NaN) and ``Int64``, yes and no ``boolean``. An interval ``ci`` becomes
``ci_lo`` and ``ci_hi``, a mapping one column a key (``tpr.0.01``), merge weights one row an adapter.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import numpy as np

from prime_audit.errors import UserError, unknown
from prime_audit.record import Comparison, Cost, Data, Leak, Record, Result, StageSeconds

if TYPE_CHECKING:
    import pandas as pd

_DTYPES: dict[Any, str] = {str: "string", float: "float64", int: "Int64", bool: "boolean"}
_KEYS = {"task": str, "method": str, "target": str}
_ROWS: dict[str, dict[str, Any]] = {
    "predictions": {**_KEYS, "id": str, "prediction": str, "gold": str},
    "scores": {
        "task": str,
        "method": str,
        "game": str,
        "attack": str,
        **{"target": str, "sharer": str, "item": str, "member": bool, "score": float},
    },
    "models": {**_KEYS, "game": str, "rule": str, "adapter": str, "place": int, "weight": float},
    "sharers": {
        **{"task": str, "index": int, "user": str, "cluster": int, "items": int, "trained": int},
        **{"heldout": int, "epsilon": float, "delta": float, "adapter": str},
    },
}
"""Tables that are no class of the record: column → type."""
_CLASSES: dict[str, tuple[type[Any], Callable[[Record], Iterable[Any]]]] = {
    "results": (Result, lambda record: record.results),
    "comparisons": (Comparison, lambda record: record.comparisons),
    "leaks": (Leak, lambda record: record.leaks),
    "costs": (Cost, lambda record: record.costs),
    "stages": (StageSeconds, lambda record: record.times.stages),
    "data": (Data, lambda record: record.data),
}
NAMES = (*_CLASSES, *_ROWS)
Rows = Iterable[dict[str, Any]]


def frame(path: Path, record: Record, files: Mapping[str, Callable[[], Rows]], name: str) -> pd.DataFrame:
    """Return one of a run's tables (``NAMES``) as a frame.

    ``path`` is the run's folder, for messages; ``files`` read the rows of the files beside the record: predictions,
    scores, models. UserError for another name, without pandas, or where the rows are not what a run writes.
    """
    if name not in NAMES:
        raise unknown("frame", name, NAMES)
    try:
        import pandas as pd
    except ImportError:
        raise UserError("frames need pandas: pip install 'prime-audit[pandas]'") from None
    if name in _CLASSES:
        cls, rows = _CLASSES[name]
        columns, content = _columns(cls), [_flat(vars(row)) for row in rows(record)]
    else:
        found = _sharers(path, record) if name == "sharers" else files[name]()
        columns, content = _ROWS[name], [*(_weights(found) if name == "models" else found)]
    # Keys of mappings (limits of a TPR, roles of users) are known from the rows only.
    more = dict.fromkeys(key for row in content for key in row if key not in columns and "." in key)
    types_of = {**columns, **{key: _numeric(content, key) for key in more}}
    try:
        return pd.DataFrame(
            {key: _column(pd, [row.get(key) for row in content], kind) for key, kind in types_of.items()}
        )
    except (TypeError, ValueError, OverflowError) as fault:  # a community is any JSON, whoever wrote it
        why = " ".join(str(fault).split())[:120]
        raise UserError(f"{path}: its {name} are not what a run writes ({why}); run compare again") from fault


def _column(pd: Any, values: list[Any], kind: Any) -> Any:
    if kind is float:
        return pd.Series([np.nan if v is None else float(v) for v in values], dtype="float64")
    return pd.Series([pd.NA if v is None else v for v in values], dtype=_DTYPES[kind])


def _columns(cls: type[Any]) -> dict[str, Any]:
    """List a class's columns and their types; mappings have theirs in the rows."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(cls).items():
        if name not in {f.name for f in fields(cls)}:
            continue
        kind = _bare(hint)
        if kind in _DTYPES:
            found[name] = kind
        elif get_args(kind) == (float, float):
            found |= {f"{name}_lo": float, f"{name}_hi": float}
    return found


def _bare(hint: Any) -> Any:
    """Drop ``| None``."""
    if get_origin(hint) in (types.UnionType, typing.Union):
        return next(a for a in get_args(hint) if a is not type(None))
    return hint


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{name}": one for name, one in value.items()}
        elif isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, float) for v in value):
            found |= {f"{key}_lo": value[0], f"{key}_hi": value[1]}
        else:
            found[key] = value
    return found


def _numeric(rows: list[dict[str, Any]], key: str) -> type:
    values = [row[key] for row in rows if row.get(key) is not None]
    return int if values and all(isinstance(v, int) for v in values) else float


# -- the files beside the record -----------------------------------------------------------------------------


def _weights(models: Rows) -> Iterator[dict[str, Any]]:
    """Yield one row an adapter, and a layer or module where weights differ between those (``place``)."""
    for row in models:
        table = np.array(row["weights"], dtype=np.float64)
        own = {key: row.get(key) for key in ("task", "method", "target", "game", "rule")}
        if not row["adapters"]:
            yield own
        for place, weights in enumerate(np.atleast_2d(table) if row["adapters"] else ()):
            for adapter, weight in zip(row["adapters"], weights.tolist(), strict=True):
                where = {"place": place} if table.ndim > 1 else {}
                yield {**own, "adapter": adapter, "weight": weight, **where}


def _sharers(path: Path, record: Record) -> Iterator[dict[str, Any]]:
    for task, community in record.community.items():
        sharers = community.get("sharers", ()) if isinstance(community, dict) else None
        if not isinstance(sharers, list | tuple) or not all(isinstance(one, dict) for one in sharers):
            raise UserError(f"{path}: its record names no sharers on {task}; run compare again")
        for sharer in sharers:
            dp = sharer.get("dp") or {}
            own = {key: value for key, value in sharer.items() if key in _ROWS["sharers"]}
            yield {"task": task, **own, "epsilon": dp.get("epsilon"), "delta": dp.get("delta")}
