"""Filing a run on a board, and the differences between two boards or runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from prime_audit.boards.admission import require_admissible
from prime_audit.boards.config import Board
from prime_audit.boards.filed import Filed, dumped, parts, place, read_filed, same_figures
from prime_audit.errors import UserError
from prime_audit.folder import load_run, write_atomic
from prime_audit.io.markup import number, without_folder, without_folders
from prime_audit.record import NAMED, Record
from prime_audit.report.sheet import Sheet


def add(run: Path, board: Board, methods: tuple[str, ...] = ()) -> list[Path]:
    """File a run's methods (all, or those named) on a board; return the records that are new.

    Raises UserError if the board refuses one of them; then nothing is filed.
    """
    if board.kind != "measured":
        raise UserError(f"leaderboard {board.name} has reported figures: file runs on a measured board")
    record = load_run(run).record
    for name in methods:
        if name not in record.methods:
            raise UserError(f"{run} has no method {name!r}: it has {', '.join(record.methods)}")
    here = {f.path: f for f in read_filed(board.folder)}
    fresh = [
        Filed(place(p), p) for p in parts(_anonymous(record)) if not methods or set(p.methods) <= {*methods}
    ]
    for one in fresh:
        if one.path in here and not same_figures(one.record, here[one.path].record):
            raise UserError(
                f"{board.folder / one.path} has other figures for the same specification: records are never "
                "changed; raise the plugin's version, or find out why the numbers differ"
            )
    new = [f for f in fresh if f.path not in here]
    require_admissible(board, [*here.values(), *new])
    for one in new:
        (board.folder / one.path).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(board.folder / one.path, [dumped(one.record)])
    return [board.folder / one.path for one in new]


def _anonymous(record: Record) -> Record:
    """Remove people and the author's folders from what is published: only the last part of a path stays."""
    data = tuple(replace(d, source=without_folder(d.source), first_defects=()) for d in record.data)
    spec = {k: without_folder(v) if isinstance(v, str) else v for k, v in record.spec.items()}
    command = without_folders(record.command)
    model = replace(record.model, name=without_folder(record.model.name))
    warnings = tuple(line.partition(NAMED)[0] for line in record.warnings)
    return replace(record, data=data, spec=spec, command=command, model=model, warnings=warnings)


def differences(one: Sheet, other: Sheet) -> Iterator[tuple[str, str, str, str, str, str, str]]:
    """Yield task, method, metric, game, attack, and both values of every figure that differs."""
    left, right = (
        {(f.task, f.method, f.metric, f.game or "", f.attack or ""): f.value for f in sheet.figures}
        for sheet in (one, other)
    )
    for key in left | right:
        if left.get(key) != right.get(key):
            yield *key, _shown(left.get(key)), _shown(right.get(key))


def _shown(value: float | None) -> str:
    return "—" if value is None else number(value)
