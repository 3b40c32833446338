"""From filed records to what a board shows: figures over seeds, ranks, gaps with their reasons."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from prime_audit.boards.abilities import shown_or_not
from prime_audit.boards.config import DIRECTIONS, Board
from prime_audit.boards.filed import Filed, split_of
from prime_audit.boards.pooling import Seen, pooled
from prime_audit.boards.wide import Wide, widened
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.plan import REFERENCE
from prime_audit.record import Result
from prime_audit.report.abilities import line_of
from prime_audit.report.columns import older
from prime_audit.report.from_record import control_notes, controls
from prime_audit.report.places import Gap, between, error_of, gap_between, with_places
from prime_audit.report.sheet import AUC, Figure, Sheet, Source, cut_share, judged

Key = tuple[str, str, str, str | None, str | None]
"""(task, method, metric, game, attack): one cell."""
NOTES = (
    "A figure is the mean over seeds. Its 95 % interval covers users and seeds: the users' variance from each run "
    "(leakage: over sharers and targets), the seeds' from the spread of their values, with Student's t for so few "
    "(prime_audit/boards/pooling.py).",
    "Place: a method is below another only if that one beats it in their paired difference over users and seeds; "
    "all pairs of a column are corrected together (Holm, 95 %). Bold: what no other beats, where any is beaten. An AUC "
    "is not ranked: ½ is chance, and distance from ½ in either direction is signal.",
    "Δ np is the method minus the non-personalised model on the same questions of each seed.",
    "AUC base is the same score from the unmerged base: what is there before any model is personalised. AUC − base is "
    "what merging adds.",
    "Board q: the smallest level at which the board calls a leak in a game that drew its members, over all of the "
    "game's cells (Benjamini and Hochberg) with the seeds of a cell combined (Stouffer). A record whose verdict is "
    "leaks where board q is above 0.05 is shown as leaks here, not board-wide; one whose verdict is not, where board q "
    "is at most 0.05, as leaks board-wide. Figures with signs of selection, or of too few people, items or exchanges, "
    "are no cells.",
    "n/a is not zero: its reason is the footnote, and no average includes it.",
)

APART = (
    "Some records were made before differences of all methods were kept: there, pairs without np are compared as if "
    "measured on different users, which tells fewer apart."
)


def sheet_of_board(board: Board, filed: Sequence[Filed]) -> Sheet:
    """Gather all records of a measured board."""
    methods = list(dict.fromkeys([*board.methods, *(f.method for f in filed)]))
    order = {m: i for i, m in enumerate(methods)}
    filed = sorted(filed, key=lambda f: (order[f.method], f.seed, f.id))
    gap, kinds = gaps(board, filed)
    figures, wide = with_places(_figures(board, filed, methods), gap), widened(filed)
    able, not_able = shown_or_not(board, filed, figures)
    plugins = {k: v for f in filed for k, v in f.record.plugins.items()}
    of_one_seed = {line_of(a) for f in filed for a in f.record.abilities}
    return sheet_with(
        board,
        tasks=board.tasks,
        methods={m: _known_of(m, filed) for m in methods},
        figures=tuple(_with_q(f, wide) for f in figures),
        leaks=tuple(
            wide.shown(one)._replace(unable=one.leak.task in not_able)
            for f in filed
            for one in judged(f.record, f.id)
        ),
        sources={f.id: Source(f.id, f.path.as_posix(), f.seed) for f in filed},
        controls=tuple(controls(plugins, methods)),
        notes=(
            *NOTES,
            *([APART] if False in kinds else []),
            *wide.notes,
            *_sizes(filed),
            *control_notes(plugins, methods),
            *older(f.record for f in filed),
            *_how(board, filed),
        ),
        able=able,
        unable=not_able,
        warnings=tuple(
            w for w in dict.fromkeys(w for f in filed for w in f.record.warnings) if w not in of_one_seed
        ),
    )


def _with_q(f: Figure, wide: Wide) -> Figure:
    """Give an AUC its board-wide q, where its game drew its members."""
    found = wide.q.get((f.task, f.method, f.game or "", f.attack or "")) if f.metric == AUC else None
    return f if found is None else replace(f, q=found[0])


def sheet_with(board: Board, **shown: Any) -> Sheet:
    """Build a board's sheet; ``shown``: the fields that the board's own file does not give."""
    command = f"prime-audit leaderboard build --board {board.name}"
    return Sheet(
        name=board.name, title=board.title, about=board.about, command=command, model=board.model, **shown
    )


def _known_of(method: str, filed: Iterable[Filed]) -> dict[str, Any]:
    """Return a method's parameters by task and its plugins' versions, as its records have them."""
    own = [f.record for f in filed if f.method == method]
    if not own:
        return {}
    versions = {name: plugin.get("version") for record in own for name, plugin in record.plugins.items()}
    return {"parameters": own[0].methods[method], "versions": versions}


def _sizes(filed: Sequence[Filed]) -> list[str]:
    lines = dict[str, set[tuple[int, int, int]]]()
    for one in filed:
        for data in one.record.data:
            lines.setdefault(data.task, set()).add((one.seed, data.queries, data.users.get("targets", 0)))
    return [
        f"{task}: " + "; ".join(f"seed {s}: {q} questions of {t} targets" for s, q, t in sorted(seen)) + "."
        for task, seen in sorted(lines.items())
    ]


def _how(board: Board, filed: Sequence[Filed]) -> list[str]:
    """Say how to make one of its runs, and which code made them."""
    lines = [f"To make a run of this board: {command}" for command in board.commands()]
    for what, of in (("Code", ""), ("Attacks judged later by", "judged_")):
        codes = {
            (code[f"{of}version"], code.get(f"{of}commit"))
            for code in (f.record.code for f in filed)
            if f"{of}version" in code
        }
        if codes:
            said = sorted(f"prime-audit {version}, commit {commit or 'unknown'}" for version, commit in codes)
            lines.append(f"{what}: {'; '.join(said)}.")
    return lines


def _figures(board: Board, filed: Sequence[Filed], methods: Sequence[str]) -> list[Figure]:
    """Make every cell: what is filed, and where a required one is not, why."""
    cells: dict[Key, list[tuple[Filed, Result]]] = {}
    for one in filed:
        for r in one.record.results:
            if board.columns is None or r.metric in board.columns:
                cells.setdefault((r.task, r.method, r.metric, r.game, r.attack), []).append((one, r))
    keys = _columns(board, cells)
    return [
        _figure(board, (task, method, *column), cells.get((task, method, *column), []))
        for task in board.tasks
        for method in methods
        for column in keys[task]
    ]


def _columns(board: Board, cells: Iterable[Key]) -> dict[str, list[tuple[str, str | None, str | None]]]:
    """List each task's columns: its metrics, then every game and attack with AUC and controls."""
    columns: dict[str, dict[tuple[str, str | None, str | None], None]] = {
        task: dict.fromkeys((m, None, None) for m in TASKS[task].metrics if m in (board.columns or (m,)))
        for task in board.tasks
    }
    asked = [(m, g, a) for g in board.games for a in board.attacks for m in board.columns or () if "auc" in m]
    for task in board.tasks:
        columns[task].update(dict.fromkeys(asked))
    for task, _, *column in cells:
        columns[task][tuple(column)] = None  # type: ignore[index]
    return {task: list(found) for task, found in columns.items()}


def _figure(board: Board, key: Key, seen: Sequence[tuple[Filed, Result]]) -> Figure:
    task, method, metric, game, attack = key
    direction = DIRECTIONS[(board.columns or {}).get(metric, "half")]
    empty = Figure(
        task=task,
        method=method,
        metric=metric,
        value=None,
        higher_is_better=direction,
        game=game,
        attack=attack,
    )
    if not seen:
        return replace(empty, reason="no run filed")
    empty = replace(empty, sources=tuple(f.id for f, _ in seen))
    first = seen[0][1]
    if lacking := [(f, r) for f, r in seen if r.value is None]:
        return replace(empty, reason=_reason(lacking))
    if missing := sorted({*board.seeds_of(task)} - {f.seed for f, _ in seen}):
        return replace(empty, reason=f"seed {', '.join(map(str, missing))} not filed")
    value, ci, _ = pooled([Seen(_value(r), error_of(r), split_of(f, task), r.ci) for f, r in seen])
    ci = _within_range(ci, first)
    difference, difference_ci, baseline = _difference(seen)
    return replace(
        empty,
        value=value,
        ci=ci,
        n=first.n,
        targets=first.targets,
        higher_is_better=first.higher_is_better,
        reason=None if ci else "; ".join(dict.fromkeys(r.reason for _, r in seen if r.reason)) or None,
        difference=difference,
        difference_ci=difference_ci,
        baseline=baseline,
        cut=cut_share(r for _, r in seen),
        seeds=tuple(_value(r) for _, r in seen),
    )


def _within_range(ci: tuple[float, float] | None, result: Result) -> tuple[float, float] | None:
    """Cut an interval to what the metric can be: errors are not negative, all else is between 0 and 1."""
    most = math.inf if result.higher_is_better is False else 1.0
    return None if ci is None else (max(0.0, ci[0]), min(most, ci[1]))


def _value(result: Result) -> float:
    assert result.value is not None
    return result.value


def _reason(lacking: Sequence[tuple[Filed, Result]]) -> str:
    """Say why there is no figure; which seeds, where it is not all of them that say so."""
    reasons = dict.fromkeys(r.reason or "no figure" for _, r in lacking)
    if len(reasons) == 1:
        return next(iter(reasons))
    return "; ".join(f"seed {f.seed}: {r.reason or 'no figure'}" for f, r in lacking)


def _difference(
    seen: Sequence[tuple[Filed, Result]],
) -> tuple[float | None, tuple[float, float] | None, str | None]:
    """Pool the differences to np, or of an AUC to the unmerged base."""
    found = []
    for one, r in seen:
        wanted = (r.metric, r.task, r.game, r.attack, "base" if r.game else REFERENCE)
        every = ((x, (x.metric, x.task, x.game, x.attack, x.baseline)) for x in one.record.comparisons)
        c = next((x for x, key in every if key == wanted), None)
        if c is None or c.difference is None:
            return None, None, None
        found.append((c, Seen(c.difference, error_of(c), split_of(one, r.task), c.ci)))
    value, ci, _ = pooled([s for _, s in found])
    return value, ci, found[0][0].baseline


def gaps(board: Board, filed: Sequence[Filed]) -> tuple[Callable[[Figure, Figure], Gap | None], set[bool]]:
    """Return the difference of two figures over seeds, and the kinds met so far (paired, or apart)."""
    results = {
        (r.task, f.method, r.metric, f.seed): (f, r)
        for f in filed
        for r in f.record.results
        if r.game is None
    }
    kinds = set[bool]()

    def gap(one: Figure, other: Figure) -> Gap | None:
        seen, paired = [], True
        for seed in board.seeds_of(one.task):
            ours, theirs = (results[f.task, f.method, f.metric, seed] for f in (one, other))
            same = _data(ours[0], one.task) == _data(theirs[0], one.task)
            held = between([*ours[0].record.comparisons, *theirs[0].record.comparisons], ours[1], theirs[1])
            found = gap_between(ours[1], theirs[1], held, same=same)
            if found is None:
                return None
            paired = paired and found.paired
            seen.append(Seen(found.difference, (found.se, found.freedom), split_of(ours[0], one.task)))
        value, _, error = pooled(seen)
        kinds.add(paired)
        return None if error is None else Gap(value, *error, paired)

    return gap, kinds


def _data(one: Filed, task: str) -> tuple[str, str]:
    """Identify a task's questions."""
    return next((d.sha256, d.split_sha256) for d in one.record.data if d.task == task)
