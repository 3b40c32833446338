"""A single run as a sheet."""

from __future__ import annotations

from collections.abc import Iterable

from prime_audit.folder import RECORD
from prime_audit.record import Comparison, Record, Result
from prime_audit.report import panel
from prime_audit.report import tables as board
from prime_audit.report.page_data import PARAMETERS
from prime_audit.report.sheet import Figure, Judged, Sheet, Source

_READING = (
    "Does personalisation help its user, and whom does it leak? Each task's figures stand in a table and as marks on a "
    "frontier; any of them opens the record, the control panel and the parameters behind it.",
    "Utility pools the questions of all targets. An interval says more than the order.",
)
_MISSING = "— is no 0.5: a method that merges nobody has no members."


def sheet_of(record: Record, name: str) -> Sheet:
    """Arrange one run's record as a sheet that lies beside its ``record.json``; ``name`` stands for the run."""
    compared: dict[tuple[str | None, ...], Comparison] = {}
    for c in record.comparisons:  # of several the first is shown, as in the tables
        compared.setdefault((c.task, c.method, c.metric, c.game, c.attack), c)
    tasks = tuple(dict.fromkeys(r.task for r in record.results))
    methods = dict.fromkeys([*record.methods, *(r.method for r in record.results)])
    return Sheet(
        name=name,
        title=f"What personalisation gives, and what it gives away: {', '.join(tasks)}",
        about=(*_READING, *(line.replace("*", "") for line in board.READING), _MISSING),
        command=record.command,
        model=record.model.name,
        tasks=tasks,
        methods={method: {PARAMETERS: record.methods.get(method, {})} for method in methods},
        figures=tuple(
            _figure(r, compared.get((r.task, r.method, r.metric, r.game, r.attack)), name)
            for r in record.results
        ),
        leaks=tuple(Judged(leak, name, gap) for leak, gap in panel.judged(record)),
        sources={name: Source(name, RECORD, record.seeds.get("run"))},
        plugins=record.plugins,
        notes=(*_notes(record), *(panel.LEGEND if panel.stands(record) else ())),
        warnings=(
            *(f"failed: {failure.line()}" for failure in record.failures),
            *record.warnings,
            *(f"{task}: {line}" for task in tasks for line in panel.warnings(record, task)),
        ),
    )


def _figure(r: Result, c: Comparison | None, source: str) -> Figure:
    return Figure(
        task=r.task,
        method=r.method,
        metric=r.metric,
        value=r.value,
        ci=r.ci,
        n=r.n,
        targets=r.targets,
        higher_is_better=r.higher_is_better,
        reason=r.reason or (c.reason if c else None),
        game=r.game,
        attack=r.attack,
        difference=c.difference if c else None,
        difference_ci=c.ci if c else None,
        baseline=c.baseline if c else None,
        sources=(source,),
        seeds=() if r.value is None else (r.value,),
    )


def _notes(record: Record) -> Iterable[str]:
    """Say what the tables rest on: once where all tasks agree, else task by task."""
    tables = board.rows(record)
    lines = dict.fromkeys(line for table in tables for line in table.notes)
    for line in lines:
        tasks = [table.task for table in tables if line in table.notes]
        yield line if len(tasks) == len(tables) else f"{', '.join(tasks)}: {line}"
