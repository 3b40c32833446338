"""What a leaderboard refuses: each refusal is one line that names the file and what to do."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prime_audit.boards.config import DIRECTIONS, Board
from prime_audit.boards.filed import NOT_DECIDING, Filed, own_parts
from prime_audit.errors import UserError
from prime_audit.plan.kinds import value_text
from prime_audit.plugins.loading import available
from prime_audit.record import Comparison, Leak, Record, Result
from prime_audit.settings import load_settings

_OURS = ("prime_audit.", "prime_attacks.", "prime_baselines.")
Fault = Iterator[str]
"""What is wrong with a record, in words."""


def require_admissible(board: Board, filed: Sequence[Filed]) -> None:
    """Refuse the first record that this board cannot take, alone or beside the others.

    Raises
    ------
    UserError
        For a dirty or limited run, one of which something failed, a plugin's older version, a figure that is no
        number, a TPR finer than the data carry, another direction than the column's, unequal questions or split within
        a column.
    """
    for one in filed:
        for fault in _faults(board, one.record):
            raise UserError(f"{board.folder / one.path}: {fault}")
    for one in filed:
        if one.seed not in board.seeds:
            seeds = ", ".join(map(str, board.seeds))
            raise UserError(
                f"{board.folder / one.path}: seed {one.seed} is none of those in {board.path} ({seeds}); run with these"
            )
    _require_alike(board, filed)


def _faults(board: Board, record: Record) -> Fault:
    yield from _incoherent(record)
    for failure in record.failures[:1]:
        yield f"has failures, the first: {failure.line()}; mend what failed and run again"
    for check in (_dirty, _limited, _incomplete):
        yield from check(board, record)
    yield from _stale(record)
    yield from _not_finite(record.to_json(), "")
    yield from _too_fine(record)
    yield from _backwards(board, record)


def _incoherent(record: Record) -> Fault:
    """Refuse a record whose entries do not belong together: made, or changed, by hand."""
    if "run" not in record.seeds:
        yield "tells no seed; run again with this prime-audit"
    tasks, (label,) = {d.task for d in record.data}, record.methods
    entries: tuple[Result | Comparison | Leak, ...] = (*record.results, *record.comparisons, *record.leaks)
    for one in entries:
        if one.task not in tasks or one.method != label:
            yield f"tells of {one.method} on {one.task}, which is not its method and data; file runs by leaderboard add"
    keys = [(r.task, r.metric, r.game, r.attack) for r in record.results]
    if len(keys) != len({*keys}):
        yield "tells a figure twice; file runs by leaderboard add"
    if lacking := sorted(tasks - {*record.spec.get("settings", {})}):
        yield f"tells no settings of {lacking[0]}; run again with this prime-audit"
    needed = [f"method {p}" for p in own_parts(label)] + [
        f"attack {a}" for a in record.spec.get("attacks", ())
    ]
    if missing := [name for name in needed if name not in record.plugins]:
        yield f"tells no version of {missing[0]}; run again with this prime-audit"


def _dirty(board: Board, record: Record) -> Fault:
    if record.code.get("dirty") or (record.code.get("dirty") is None and record.code.get("commit")):
        yield "a dirty run: files that decide numbers differed from the commit; commit them and run again"
    if not record.code:
        yield "tells no version of the code that ran; run again with this prime-audit"
    if "attacked" in record.spec:
        yield "attacks on an earlier run: file that run, with all attacks asked of compare"


def _limited(board: Board, record: Record) -> Fault:
    """Compare what ran with what the board says every run must have been."""
    asked = dict(board.run or {})
    overrides = asked.pop("set", {})
    for key, value in asked.items():
        if record.spec.get(key) != value:
            yield f"a limited run: {key} is {_shown(record.spec.get(key))}, the board's is {_shown(value)}"
    preset = asked.get("preset", record.spec.get("preset", "laptop"))
    due = load_settings(preset, [f"{k}={value_text(v)}" for k, v in overrides.items()])
    for task, settings in record.spec.get("settings", {}).items():
        for key, value in due.for_task(task).items():
            # A number that an older prime-audit did not have yet cannot have been another.
            if key not in NOT_DECIDING and key in settings and settings[key] != value:
                yield f"a limited run: {task}.{key} is {_shown(settings.get(key))}, the board's {_shown(value)}"
    own = {k for k in record.spec.get("overrides", {}) if k not in overrides and k not in NOT_DECIDING}
    for key in sorted(own):
        yield f"a limited run: --set {key}, which the board does not; run without it"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _incomplete(board: Board, record: Record) -> Fault:
    for what, due in (("games", board.games), ("attacks", board.attacks)):
        if lacking := [name for name in due if name not in record.spec.get(what, ())]:
            yield f"lacks {what} {', '.join(lacking)}, which the board asks of every run; run again with them"
    if extra := [d.task for d in record.data if board.tasks and d.task not in board.tasks]:
        yield f"has task {extra[0]}, which is none of the board's; add it to {board.path.name} or run without"


def _stale(record: Record) -> Fault:
    for name, told in record.plugins.items():
        kind, _, plugin = name.partition(" ")
        listed = available("method" if kind == "method" else "attack").get(plugin)
        if listed is None or not str(told.get("origin")).startswith(_OURS):
            continue  # somebody else's: what is installed here must not decide whether a board is sound
        if told.get("version") != (now := listed.version):
            yield f"{name} has version {told.get('version')}, now it is {now}: a stale run; run it again"


def _not_finite(value: Any, where: str) -> Fault:
    """Find numbers that are none; JSON's reader refuses them already, a record made in memory may hold them."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{where.lstrip('.')} is {value}; a figure that does not exist is null, with a reason"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _not_finite(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for n, inner in enumerate(value):
            yield from _not_finite(inner, f"{where}[{n}]")


def _too_fine(record: Record) -> Fault:
    targets = {(r.task, r.method, r.game, r.attack): r.targets for r in record.results if r.metric == "auc"}
    for leak in record.leaks:
        for limit, rate in leak.tpr.items():
            if rate is not None and (most := _per_target(leak, targets)) * float(limit) < 1:
                yield (
                    f"{leak.task} {leak.game} {leak.attack}: TPR at FPR {limit} is finer than {most:g} "
                    "non-members a target carry; leave it null"
                )


def _per_target(leak: Leak, targets: Mapping[tuple[str, str, str | None, str | None], int]) -> float:
    """Non-members of a target: mean, and so never less than of the target with fewest."""
    return leak.others / max(1, targets.get((leak.task, leak.method, leak.game, leak.attack), 1))


def _backwards(board: Board, record: Record) -> Fault:
    for r in record.results:
        told = (board.columns or {}).get(r.metric)
        if told is not None and DIRECTIONS[told] is not r.higher_is_better:
            yield f"{r.task} {r.metric}: higher_is_better is {_shown(r.higher_is_better)}, the board says {told}"


def _require_alike(board: Board, filed: Sequence[Filed]) -> None:
    """One column compares methods on the same questions: same data, same split, same number of them."""
    first: dict[tuple[str, int], tuple[Filed, Any]] = {}
    for one in filed:
        _require_same_models(board, one, filed[0])
        for data in one.record.data:
            told = (data.split_sha256, data.sha256, _questions(one.record, data.task))
            other, theirs = first.setdefault((data.task, one.seed), (one, told))
            for what, own, their in zip(("split hash", "data hash", "questions"), told, theirs, strict=True):
                if own != their:
                    raise UserError(
                        f"{board.folder / one.path}: {data.task}, seed {one.seed}: {what} {own} differs from "
                        f"{their} of {other.path.as_posix()}; a column compares the same questions: file one of both"
                    )
    _require_once(board, filed)


def _require_same_models(board: Board, one: Filed, other: Filed) -> None:
    """All runs of a board have the same weights, number format, encoder, profiler and strictness."""
    told, theirs = _models(one.record), _models(other.record)
    for what, own in told.items():
        if own != theirs[what]:
            raise UserError(
                f"{board.folder / one.path}: {what} {_shown(own)} differs from {_shown(theirs[what])} of "
                f"{other.path.as_posix()}; a board compares methods on one model: file one of both"
            )


def _models(record: Record) -> dict[str, Any]:
    spec = {key: record.spec.get(key) for key in ("encoder", "profiler", "strict", "sharer_dp")}
    return {"model": record.model.sha256, "dtype": record.model.dtype, **spec}


def _questions(record: Record, task: str) -> tuple[int, ...]:
    return tuple(sorted({r.n for r in record.results if r.task == task and r.game is None}))


def _require_once(board: Board, filed: Iterable[Filed]) -> None:
    seen: dict[tuple[str, str, int], Filed] = {}
    for one in filed:
        for data in one.record.data:
            other = seen.setdefault((data.task, one.method, one.seed), one)
            if other is not one:
                raise UserError(
                    f"{board.folder / one.path}: {one.method} on {data.task} with seed {one.seed} is filed already, "
                    f"as {other.path.as_posix()}; take one of both away"
                )
