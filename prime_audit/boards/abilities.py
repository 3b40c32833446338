"""Whether a board's runs show that the model can do a task: the one rule behind its line, its † and its findings.

A method is compared with the best answers without a model over all seeds together, in the one metric that the records
name (in others, random guesses may beat a constant answer), and with their minimum; the methods of a task are corrected
together (Bonferroni). A record's own statement is of one seed and the methods of one run: it does not count here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prime_audit.boards.compared import FOR, Compared, has, over_seeds, together, with_value
from prime_audit.boards.config import Board
from prime_audit.boards.filed import Filed
from prime_audit.report.abilities import able_line, unable_line
from prime_audit.report.sheet import Figure
from prime_audit.report.table import Cell

UNAIDED = "no model"
"""Takes a method's place in a claim: the best answers without a model."""


def unaided(
    method: str, task: str, board: Board, filed: Sequence[Filed], figures: Sequence[Figure]
) -> Compared | None:
    """Compare a method with the best answers without a model; None where golds cannot show it, or a seed is missing."""
    asked = next((a for f in filed for a in f.record.abilities if a.task == task), None)
    if asked is None:
        return None
    wanted = {"task": task, "method": method, "metric": asked.metric}
    own = next(iter(with_value(figures, **wanted, game=None)), None)
    turned = own is not None and own.higher_is_better is False
    found = over_seeds(board, filed, task, lambda r: r.unaided, wanted, turned)
    if own is None or own.value is None or found is None:
        return None
    gain, ci, error = found
    named = dict.fromkeys(c.baseline for f in filed for c in f.record.unaided if has(c, wanted))
    return Compared(
        task=task,
        method=method,
        baseline=f"{UNAIDED}: {', '.join(named)}",
        what=own.metric,
        gain=gain,
        ci=ci,
        error=error,
        values=(Cell(own.value, own.ci), Cell(own.value + gain if turned else own.value - gain)),
        least=asked.floor,
    )


def ablest(board: Board, filed: Sequence[Filed], figures: Sequence[Figure]) -> dict[str, Compared]:
    """Return for each task the method most clearly ahead of no model; the task is shown where it is ``FOR`` that."""
    methods = dict.fromkeys(f.method for f in filed)
    best = {}
    for task in board.tasks:
        every = (unaided(method, task, board, filed, figures) for method in methods)
        if found := together([c for c in every if c]):
            best[task] = max(found, key=lambda c: (c.word == FOR, c.gain > 0, -c.p, c.gain))
    return best


def shown_or_not(
    board: Board, filed: Sequence[Filed], figures: Sequence[Figure]
) -> tuple[dict[str, str], dict[str, str]]:
    """Say of each task by which figures the model is shown to do it, or that it is not: (shown, not shown), by task.

    Neither where golds cannot show an ability.
    """
    best = ablest(board, filed, figures)
    able = {
        task: able_line(c.what, (c.method, c.values[0].value or 0.0), (c.baseline, c.values[1].value or 0.0))
        for task, c in best.items()
        if c.word == FOR
    }
    return able, dict(_unable(board, filed, best))


def _unable(board: Board, filed: Sequence[Filed], best: Mapping[str, Compared]) -> Iterator[tuple[str, str]]:
    asked = {a.task for f in filed for a in f.record.abilities}
    for task in board.tasks:
        found, seeds = best.get(task), len(board.seeds_of(task))
        if found is not None and found.word != FOR:
            own, plain = found.values
            sizes = f"{seeds} seeds together" if seeds > 1 else "one seed"
            yield (
                task,
                unable_line(
                    task,
                    sizes,
                    found.what,
                    (found.method, own.value or 0.0),
                    (found.baseline, plain.value or 0.0),
                    found.least,
                ),
            )
        elif found is None and task in asked:
            yield (
                task,
                f"{task}: no method has figures of all {seeds} seeds, so the model is not shown to do the task",
            )
