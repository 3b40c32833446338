"""The control panel of a record: every leakage figure with its best control, its test, and its verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prime_audit.markup import markdown_text
from prime_audit.record import Failure, Leak, Record

if TYPE_CHECKING:
    from rich.table import Table

HEADERS = ("method", "game", "attack", "AUC", "best control", "over it", "p", "TPR", "ε ≥", "verdict")
NOTES = (
    "p: permutation test at the unit that was drawn, of the AUC minus the unmerged base's (paper: of the AUC), "
    "Holm-corrected over the attacks of a method and game. Over it: the AUC minus the best control's, on the same "
    "draws. TPR: mean TPR at 10, 1 and 0.1 % FPR; – where the non-members cannot carry it. ε ≥: lower bound on ε, and "
    "the highest that as many guesses could show; – where members were not drawn at random.",
    "Verdicts follow the rule in prime_audit/audit/verdict.py: leaks (only where membership was drawn at random), "
    "confounded (the sides differ, and the game cannot say by what), no leak found, too few to say.",
)
_WRAPPED = {"method": 6, "best control": 7, "verdict": 10}
"""Columns whose words may stand on several lines of the terminal, and their least width; figures stay whole."""
_STYLES = {"leaks": "bold red", "confounded": "yellow", "no leak found": "green"}


def rows(record: Record, task: str) -> list[tuple[str, ...]]:
    """Return one row of texts a figure of a task, then one an attack that failed; methods of one module share a row."""
    merged: dict[tuple[str, ...], list[str]] = {}
    for leak in record.leaks:
        if leak.task == task:
            merged.setdefault(cells(leak), []).append(leak.method)
    for failure in record.failures:
        if failure.task == task and failure.attack and failure.method:
            merged.setdefault(_failed(failure), []).append(failure.method)
    return [(", ".join(methods), *texts) for texts, methods in merged.items()]


def cells(leak: Leak) -> tuple[str, ...]:
    """Return what the panel shows of a figure, without its method."""
    over = (
        "–"
        if leak.over_control is None
        else f"{leak.over_control:+.3f}{_interval(leak.over_control_ci, '+')}"
    )
    return (
        leak.game,
        leak.attack,
        f"{leak.auc:.3f}{_interval(leak.ci)}",
        (leak.best_control or "–").replace("_", " "),
        over,
        "–" if leak.p_adjusted is None else f"{leak.p_adjusted:.3f}",
        " ".join(_short(rate) for rate in leak.tpr.values()),
        _bound(leak),
        leak.verdict,
    )


def _failed(failure: Failure) -> tuple[str, ...]:
    """Return what the panel shows of an attack that failed, without its method."""
    figures = ("–",) * (len(HEADERS) - 4)
    where = f" (see {failure.file})" if failure.file else ""
    return (failure.stage.removeprefix("game "), failure.attack or "–", *figures, f"failed{where}")


def _bound(leak: Leak) -> str:
    if leak.epsilon is None or leak.epsilon_ceiling is None:
        return "–"
    return f"{leak.epsilon:.2f} of {leak.epsilon_ceiling:.2f}"


def _short(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:.2f}".removeprefix("0")


def _interval(ci: tuple[float, float] | None, sign: str = "") -> str:
    return f" [{ci[0]:{sign}.3f}, {ci[1]:{sign}.3f}]" if ci else ""


def warnings(record: Record, task: str) -> list[str]:
    """Tell of undefined items and of texts on both sides, once a game."""
    found = dict.fromkeys(line for leak in record.leaks if leak.task == task for line in _lines(leak))
    return list(found)


def _lines(leak: Leak) -> Iterable[str]:
    if leak.undefined:
        yield (
            f"{leak.attack}, game {leak.game}: undefined for {leak.undefined} items, which count with their "
            "target's median (a target without a defined item is left out)"
        )
    if leak.undefined_base:
        yield f"{leak.attack}, game {leak.game}: undefined for {leak.undefined_base} items under the unmerged base"
    if leak.both_sides:
        total = leak.members + leak.others
        yield (
            f"game {leak.game}: {leak.both_sides} of {total} items are no clean members or non-members: their text "
            "stands on the other side too, or was trained on all the same"
        )


def terminal(table: Sequence[tuple[str, ...]]) -> Table:
    """Make the rich table of ``rows``."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
        title="control panel",
        title_justify="left",
    )
    for header in HEADERS:
        made.add_column(
            header, overflow="fold", no_wrap=header not in _WRAPPED, min_width=_WRAPPED.get(header)
        )
    for row in table:
        methods, *figures, tpr, bound, word = row
        figures = [*map(_compact, figures), "\n".join(tpr.rsplit(" ", 1)), bound.replace(" of ", "\n/")]
        cells = [Text(methods.replace(", ", ",\n")), *map(Text, figures)]
        made.add_row(*cells, Text(word, style=_STYLES.get(word, "")))
    return made


def _compact(cell: str) -> str:
    """``0.582 [0.460, 0.694]`` and ``bag of words`` as two short lines: a hundred columns hold no more."""
    figure, bracket, interval = cell.partition(" [")
    lines = figure.replace(" of ", "\nof ")
    return lines + ("\n" + interval.rstrip("]").replace("0.", ".").replace(", ", " ") if bracket else "")


def markdown(table: Sequence[tuple[str, ...]]) -> str:
    """Make the Markdown table of ``rows``."""
    from tabulate import tabulate

    rows = [[*map(markdown_text, row)] for row in table]
    return tabulate(rows, headers=HEADERS, tablefmt="pipe", disable_numparse=True)
