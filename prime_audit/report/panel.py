"""The control panel of a record: every leakage figure with its best control, its test, and its verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prime_audit.audit.auc import FPRS
from prime_audit.audit.verdict import BLIND, MIN_SHARERS
from prime_audit.io.markup import markdown_text
from prime_audit.record import FAILED, Comparison, Failure, Leak, Record, Result
from prime_audit.report.games import GameNote, note_of

if TYPE_CHECKING:
    from rich.table import Table

HEADERS = (
    *("method", "game", "attack", "AUC", "over base", "best control", "over it"),
    *("p AUC", "p over base", "TPR", "ε ≥", "verdict"),
)
LEGEND = (
    "AUC: how often a member scores above a non-member (½ is guessing), with its interval. Over base, over it: the AUC "
    "minus the unmerged base's, minus the best control's, on the same draws. TPR: share of members found at "
    f"{', '.join(f'{100 * fpr:g}' for fpr in FPRS)} % FPR (– where too few non-members carry it). ε ≥: lower bound on "
    "ε, and the most that as many guesses could show (– where members were not drawn).",
    "p AUC: how often relabelled members give an AUC as high; p over base: an AUC minus the unmerged base's as high. "
    "In games that drew their members p over base (or a bound on ε above 0) makes leaks, and p AUC, which stands in "
    "the verdict's reason, makes confounded; in the paper's game p AUC is shown, and makes confounded at most. Both "
    "are Holm-corrected over the attacks of a method and game.",
    "leaks: members are told apart beyond the luck of the draw, and by p over base beyond the base (only where they "
    "were drawn at random). confounded: the sides differ, in the direction that was fixed or against it, and the game "
    f"cannot say by what. no leak found: no test shows any, and the interval ends below {BLIND:g}. too few "
    f"to say: an AUC of {BLIND:g} cannot be excluded, or the data carry no test "
    f"(say fewer than {MIN_SHARERS} people on a side). The whole rule: prime_audit/audit/verdict.py.",
)
"""What the panel's columns and verdicts mean, wherever it is shown."""
_WRAPPED = {"method": 6, "game": 12, "best control": 7, "verdict": 10}
"""Columns whose words may stand on several lines of the terminal, and their least width; figures stay whole."""
_HEADS = {
    "game": "game\nattack",
    "best control": "best\ncontrol",
    "p AUC": "p\nAUC",
    "p over base": "p over\nbase",
}
"""Heads that stand on two lines of the terminal."""
_STYLES = {"leaks": "bold red", "confounded": "yellow", "no leak found": "green"}


def rows(record: Record, task: str) -> list[tuple[str, ...]]:
    """Return one row of texts a figure of a task, then one an attack that failed; methods of one module share a row."""
    merged: dict[tuple[str, ...], list[str]] = {}
    for leak, gap in judged(record):
        if leak.task == task:
            merged.setdefault(cells(leak, gap, note_of(leak.game, record.plugins)), []).append(leak.method)
    for result in record.results:
        if (result.task, result.metric) == (task, "auc") and (failure := _failure(record, result)):
            merged.setdefault(_failed(failure), []).append(result.method)
    return [(", ".join(methods), *texts) for texts, methods in merged.items()]


def stands(record: Record) -> bool:
    """Whether any task has a row: only then is there something for the legend to explain."""
    return any(rows(record, task) for task in dict.fromkeys(r.task for r in record.results))


def judged(record: Record) -> list[tuple[Leak, Comparison | None]]:
    """Return every figure of a record with its AUC minus the unmerged base's; None where the record holds none."""
    gaps = {
        (c.task, c.method, c.game, c.attack): c
        for c in record.comparisons
        if (c.metric, c.baseline) == ("auc", "base")
    }
    return [(leak, gaps.get((leak.task, leak.method, leak.game, leak.attack))) for leak in record.leaks]


def cells(leak: Leak, gap: Comparison | None, game: GameNote) -> tuple[str, ...]:
    """Return what the panel shows of a figure, without its method; ``gap``: its AUC minus the unmerged base's."""
    return (
        leak.game,
        leak.attack,
        f"{leak.auc:.3f}{_interval(leak.ci)}",
        "n/a" if gap is None else _difference(gap.difference, gap.ci, "n/a"),
        (leak.best_control or "–").replace("_", " "),
        _difference(leak.over_control, leak.over_control_ci, "–"),
        *_tested(leak, game),
        " ".join(_short(rate) for rate in leak.tpr.values()),
        _bound(leak),
        leak.verdict,
    )


def _failure(record: Record, result: Result) -> Failure | None:
    """Find the attack's failure that cost an AUC; a failure names the model's core, the AUC every label made of it."""
    where = (result.task, f"game {result.game}", result.attack, result.reason)
    found = [f for f in record.failures if (f.task, f.stage, f.attack, FAILED + f.error) == where]
    # np+rag is called rag: its core's name does not stand in it.
    own = [f for f in found if f"{result.method}+".startswith(f"{f.method}+")]
    return max(own or found, key=lambda f: len(f.method or ""), default=None)


def _failed(failure: Failure) -> tuple[str, ...]:
    """Return what the panel shows of an attack that failed, without its method."""
    figures = ("–",) * (len(HEADERS) - 4)
    where = f" (see {failure.file})" if failure.file else ""
    return (failure.stage.removeprefix("game "), failure.attack or "–", *figures, f"failed{where}")


def _tested(leak: Leak, game: GameNote) -> tuple[str, str]:
    """Show the test's p under the name of what it tested: the AUC, or what that has over the base's."""
    p = "–" if leak.p_adjusted is None else f"{leak.p_adjusted:.3f}"
    return ("–", p) if game.drawn else (p, "–")


def no_base(gap: Comparison | None) -> str | None:
    """Say why a figure has nothing over the base; None where it has."""
    if gap is None:
        return "the record holds no difference to the unmerged base's AUC"
    return None if gap.difference is not None else gap.reason or "the record does not say why"


def _difference(value: float | None, ci: tuple[float, float] | None, none: str) -> str:
    return none if value is None else f"{value:+.3f}{_interval(ci, '+')}"


def _bound(leak: Leak) -> str:
    if leak.epsilon is None or leak.epsilon_ceiling is None:
        return "–"
    return f"{leak.epsilon:.2f} of {leak.epsilon_ceiling:.2f}"


def _short(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:.2f}".removeprefix("0")


def _interval(ci: tuple[float, float] | None, sign: str = "") -> str:
    return f" [{ci[0]:{sign}.3f}, {ci[1]:{sign}.3f}]" if ci else ""


def warnings(record: Record, task: str) -> list[str]:
    """Tell of undefined items, of texts on both sides, and of what has no figure of the base, once a game."""
    of_task = [(leak, gap) for leak, gap in judged(record) if leak.task == task]
    return list(
        dict.fromkeys(line for leak, gap in of_task for line in (*_lines(leak), *without_base(leak, gap)))
    )


def without_base(leak: Leak, gap: Comparison | None) -> Iterable[str]:
    """Tell in a line why a figure has nothing over the base, if it has not."""
    if why := no_base(gap):
        yield f"{leak.attack}, game {leak.game}: over base n/a: {why}"


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
    names = max((len(name) for row in table for name in row[1:3]), default=0)
    least = _WRAPPED | {"game": min(names, _WRAPPED["game"])}
    for header in HEADERS:
        if header != "attack":  # it stands below its game: a hundred columns hold no more
            head = _HEADS.get(header, header)
            wraps = header in _WRAPPED
            made.add_column(head, overflow="fold", no_wrap=not wraps, min_width=least.get(header))
    for row in table:
        methods, game, attack, *figures, tpr, bound, word = row
        figures = [*map(_compact, figures), "\n".join(tpr.rsplit(" ", 1)), bound.replace(" of ", "\n/")]
        cells = [Text(methods.replace(", ", ",\n")), Text(f"{game}\n{attack}"), *map(Text, figures)]
        lines = word.replace(" (see ", "\n(see ").replace("/", "/\n")  # a file's name stays whole
        made.add_row(*cells, Text(lines, style=_STYLES.get(word, "")))
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
