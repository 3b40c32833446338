"""What a leaderboard refuses: each refusal is one line that names the file and the fix."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prime_audit.boards.config import DIRECTIONS, Board
from prime_audit.boards.filed import NOT_DECIDING, Filed, own_parts
from prime_audit.errors import UserError
from prime_audit.plan.kinds import value_text
from prime_audit.plan.options import deciding
from prime_audit.plan.presets import FIRST
from prime_audit.plugins.loading import KINDS, available, load_game
from prime_audit.record import Comparison, Leak, Record, Result
from prime_audit.settings import BEFORE, load_settings

_OURS = {"prime_audit", "prime_attacks", "prime_baselines"}
_MAY_DIFFER = {
    *("methods", "against", "seed", "plugins", "device"),
    # Compared otherwise: by what the board requires, the data's hashes, the model's weights and number format.
    *(
        "tasks",
        "games",
        "attacks",
        "preset",
        "overrides",
        "data",
        "columns",
        "time_column",
        "sharers",
        "base_adapter",
        "model",
        "dtype",
    ),
}
"""Keys of a record's ``spec`` that runs on one board need not share."""
Fault = Iterator[str]
"""What is wrong with a record, one line each."""


def require_admissible(board: Board, filed: Sequence[Filed]) -> None:
    """Refuse the first record that this board cannot take, by itself or beside the others.

    Raises UserError for a dirty or limited run, a run with failures, an older version of a plugin, a figure that is
    not a number, a TPR finer than the data allow, a direction that differs from the column's, or questions or
    splits that differ within a column.
    """
    for one in filed:
        for fault in _faults(board, one.record):
            raise UserError(f"{board.folder / one.path}: {fault}")
    for one in filed:
        for task in (data.task for data in one.record.data):
            if one.seed not in board.seeds_of(task):
                seeds = ", ".join(map(str, board.seeds_of(task)))
                raise UserError(
                    f"{board.folder / one.path}: seed {one.seed} is not among those of {task} in {board.path} "
                    f"({seeds}); use one"
                )
    _require_alike(board, filed)


def _faults(board: Board, record: Record) -> Fault:
    yield from _incoherent(record)
    for failure in record.failures[:1]:
        yield f"has failures, the first: {failure.line()}; fix it and rerun"
    for check in (_dirty, _limited, _incomplete):
        yield from check(board, record)
    yield from _stale(record)
    yield from _not_finite(record.to_json(), "")
    yield from _too_fine(record)
    yield from _backwards(board, record)


def _incoherent(record: Record) -> Fault:
    """Refuse a record whose entries do not belong together, because it was written or changed by hand."""
    if "run" not in record.seeds:
        yield "has no seed; rerun with this prime-audit"
    tasks, (label,) = {d.task for d in record.data}, record.methods
    entries: tuple[Result | Comparison | Leak, ...] = (*record.results, *record.comparisons, *record.leaks)
    for one in entries:
        if one.task not in tasks or one.method != label:
            yield f"has {one.method} on {one.task}, which is not its method and data; file runs with leaderboard add"
    if lacking := sorted(tasks - {*record.spec.get("settings", {})}):
        yield f"has no settings of {lacking[0]}; rerun with this prime-audit"
    needed = [f"method {p}" for p in own_parts(label)] + [
        f"attack {a}" for a in record.spec.get("attacks", ())
    ]
    if missing := [name for name in needed if name not in record.plugins]:
        yield f"has no version of {missing[0]}; rerun with this prime-audit"


def _dirty(board: Board, record: Record) -> Fault:
    # Other code than what ran may have judged its signals later (``prime-audit attack``).
    for of, again in (("", "rerun"), ("judged_", "run prime-audit attack again")):
        commit, dirty = (record.code.get(f"{of}{name}") for name in ("commit", "dirty"))
        if not (dirty or (dirty is None and commit)):
            continue
        yield f"a dirty run: files that decide numbers differed from the commit; commit them and {again}"
    if not record.code:
        yield "has no version of the code that ran; rerun with this prime-audit"


def _limited(board: Board, record: Record) -> Fault:
    """Compare the run with what the board requires of the runs of its tasks."""
    allowed, instead = {*NOT_DECIDING}, ""
    for task, settings in record.spec.get("settings", {}).items():
        asked, overrides = board.options_of(task), board.settings_of(task)
        instead = _instead(board, record, task)
        for key, value in asked.items():
            if record.spec.get(key) != value:
                own = _shown(record.spec.get(key))
                yield f"a limited run: {key} is {own}, the board's is {_shown(value)}{instead}"
        preset = asked.get("preset", record.spec.get("preset", FIRST))
        due = load_settings(preset, [f"{k}={value_text(v)}" for k, v in overrides.items()])
        for key, value in due.for_task(task).items():
            # A setting that an older prime-audit did not have had no other value, but for those in BEFORE.
            own = settings.get(key, BEFORE.get(key, value))
            if key not in NOT_DECIDING and own != value:
                yield f"a limited run: {task}.{key} is {_shown(own)}, the board's {_shown(value)}{instead}"
        allowed |= {*overrides, *(f"{task}.{key}" for key in overrides)}
    for key in sorted({*record.spec.get("overrides", {})} - allowed):
        yield f"a limited run: --set {key}, which the board does not set; rerun without it{instead}"


def _instead(board: Board, record: Record, task: str = "") -> str:
    """Name the board's own command for the record's seed and a task (by default its first)."""
    tasks = [task] if task else [data.task for data in record.data]
    command = board.command_for(tasks[0], record.seeds["run"]) if tasks else ""
    return f"; the board's command is: {command}" if command else ""


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _incomplete(board: Board, record: Record) -> Fault:
    for what, due in (("games", board.games), ("attacks", board.attacks)):
        if lacking := [name for name in due if name not in record.spec.get(what, ())]:
            names = ", ".join(lacking)
            yield f"lacks {what} {names}, which the board requires; rerun with them{_instead(board, record)}"
    if extra := [d.task for d in record.data if board.tasks and d.task not in board.tasks]:
        yield f"has task {extra[0]}, which the board does not have; add it to {board.path.name} or rerun without it"


def _stale(record: Record) -> Fault:
    for name, told in record.plugins.items():
        kind, _, plugin = name.partition(" ")
        listed = next((available(known).get(plugin) for known in KINDS if known == kind), None)
        if listed is None or str(told.get("origin")).partition(".")[0] not in _OURS:
            continue  # a third party's: what is installed here must not decide whether a board is valid
        if told.get("version") != (now := listed.version):
            yield f"{name} has version {told.get('version')}, now it is {now}: a stale run; run it again"
        elif kind == "game" and told.get("randomised") not in (
            None,
            drawn := load_game(plugin).design.randomised,
        ):
            yield f"{name} is recorded as randomised={told['randomised']}, but it is {drawn}: not a run's record"


def _not_finite(value: Any, where: str) -> Fault:
    """Find NaN and infinity; the JSON reader refuses them, but a record made in memory may have them."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{where.lstrip('.')} is {value}; write null and a reason for a missing figure"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _not_finite(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for n, inner in enumerate(value):
            yield from _not_finite(inner, f"{where}[{n}]")


def _too_fine(record: Record) -> Fault:
    targets = {(r.task, r.method, r.game, r.attack): r.targets for r in record.results if r.metric == "auc"}
    for leak in record.leaks:
        # The mean number of non-members of a target, which is never below the smallest.
        most = leak.others / max(1, targets.get((leak.task, leak.method, leak.game, leak.attack), 1))
        for limit, rate in leak.tpr.items():
            if rate is not None and most * float(limit) < 1:
                yield (
                    f"{leak.task} {leak.game} {leak.attack}: TPR at FPR {limit} is finer than {most:g} "
                    "non-members for each target allow; leave it null"
                )


def _backwards(board: Board, record: Record) -> Fault:
    for r in record.results:
        direction = (board.columns or {}).get(r.metric)
        if direction is not None and DIRECTIONS[direction] is not r.higher_is_better:
            yield f"{r.task} {r.metric}: higher_is_better is {_shown(r.higher_is_better)}, the board has {direction}"


def _require_alike(board: Board, filed: Sequence[Filed]) -> None:
    """Check that a column compares methods on the same questions: same data, split and number."""
    first: dict[tuple[str, int], tuple[Filed, Any]] = {}
    for one in filed:
        _require_same_models(board, one, filed[0])
        for data in one.record.data:
            own_results = [r for r in one.record.results if r.task == data.task and r.game is None]
            ours = (data.split_sha256, data.sha256, tuple(sorted({r.n for r in own_results})))
            other, theirs = first.setdefault((data.task, one.seed), (one, ours))
            for what, own, their in zip(("split hash", "data hash", "questions"), ours, theirs, strict=True):
                if own != their:
                    raise UserError(
                        f"{board.folder / one.path}: {data.task}, seed {one.seed}: {what} {own} differs from "
                        f"{their} of {other.path.as_posix()}; a column compares the same questions: file only one"
                        f"{_instead(board, one.record, data.task)}"
                    )
    _require_once(board, filed)


def _require_same_models(board: Board, one: Filed, other: Filed) -> None:
    """Check that all runs have the same weights, number format and options but ``_MAY_DIFFER``."""
    ours, theirs = _models(one.record), _models(other.record)
    for what, own in ours.items():
        if own != theirs[what]:
            raise UserError(
                f"{board.folder / one.path}: {what} {_shown(own)} differs from {_shown(theirs[what])} of "
                f"{other.path.as_posix()}; a board compares methods on one model: file only one"
                f"{_instead(board, one.record)}"
            )


def _models(record: Record) -> dict[str, Any]:
    # An older record lacks a newer option, and ran with what is its default now.
    rows = [row for row in deciding() if row.word not in _MAY_DIFFER]
    spec = {row.word: record.spec.get(row.word, row.default) for row in rows}
    return {"model": record.model.sha256, "dtype": record.model.dtype, **spec}


def _require_once(board: Board, filed: Iterable[Filed]) -> None:
    seen: dict[tuple[str, str, int], Filed] = {}
    for one in filed:
        for data in one.record.data:
            other = seen.setdefault((data.task, one.method, one.seed), one)
            if other is not one:
                raise UserError(
                    f"{board.folder / one.path}: {one.method} on {data.task} with seed {one.seed} is filed already, "
                    f"as {other.path.as_posix()}; remove one"
                )
