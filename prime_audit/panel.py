"""The control panel of a record: every leakage figure with its best control, its test, and its verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prime_audit.record import Leak, Record

if TYPE_CHECKING:
    from rich.table import Table

HEADERS = ("method", "game", "attack", "AUC", "best control", "over it", "p", "TPR@1%", "verdict")
NOTES = (
    "p: permutation test at the unit that was drawn, Holm-corrected over the attacks of a method and game. Over it: "
    "the AUC minus the best control's, on the same draws. TPR@1%: mean TPR at 1 % FPR; – where "
    "the non-members cannot carry it.",
    "Verdicts follow the rule in prime_audit/audit/verdict.py: leaks, confounded (the sides differ, but no more than "
    "a control that never asks the personalised model), no leak found, too few to say.",
)
_STYLES = {"leaks": "bold red", "confounded": "yellow", "no leak found": "green"}


def rows(record: Record, task: str) -> list[tuple[str, ...]]:
    """Return one row of texts a figure of a task; methods that deploy the same module share a row."""
    merged: dict[tuple[str, ...], list[str]] = {}
    for leak in record.leaks:
        if leak.task == task:
            merged.setdefault(_cells(leak), []).append(leak.method)
    return [(", ".join(methods), *cells) for cells, methods in merged.items()]


def _cells(leak: Leak) -> tuple[str, ...]:
    over = (
        "–"
        if leak.over_control is None
        else f"{leak.over_control:+.3f}{_interval(leak.over_control_ci, '+')}"
    )
    tpr = leak.tpr.get("0.01")
    return (
        leak.game,
        leak.attack,
        f"{leak.auc:.3f}{_interval(leak.ci)}",
        (leak.best_control or "–").replace("_", " "),
        over,
        "–" if leak.p_adjusted is None else f"{leak.p_adjusted:.3f}",
        "–" if tpr is None else f"{tpr:.3f}",
        leak.verdict,
    )


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
    if leak.both_sides:
        total = leak.members + leak.others
        yield f"game {leak.game}: {leak.both_sides} of {total} items have a text that stands on both sides"


def terminal(table: Sequence[tuple[str, ...]]) -> Table:
    """Make the rich table of ``rows``."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        title="control panel",
        title_justify="left",
    )
    for header in HEADERS:
        made.add_column(header, overflow="fold")
    for row in table:
        methods, *figures, word = (_compact(cell) for cell in row)
        cells = [Text(methods.replace(", ", ",\n")), *map(Text, figures)]
        made.add_row(*cells, Text(word, style=_STYLES.get(word, "")))
    return made


def _compact(cell: str) -> str:
    """``0.582 [0.460, 0.694]`` as two short lines: intervals would not fit a hundred columns otherwise."""
    figure, bracket, interval = cell.partition(" [")
    return figure + ("\n" + interval.rstrip("]").replace("0.", ".").replace(", ", " ") if bracket else "")


def markdown(table: Sequence[tuple[str, ...]]) -> str:
    """Make the Markdown table of ``rows``."""
    from tabulate import tabulate

    return tabulate(table, headers=HEADERS, tablefmt="pipe", disable_numparse=True)
