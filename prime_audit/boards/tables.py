"""A leaderboard's page in Markdown, from a sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prime_audit.boards.gather import methods_shown
from prime_audit.io.markup import code, fenced, interval, markdown_text, number, plain
from prime_audit.report import panel
from prime_audit.report.games import note_of
from prime_audit.report.sheet import Figure, Sheet

NONE = "—"
Column = tuple[str, str | None, str | None]
"""(metric, game, attack)."""


def columns(sheet: Sheet, task: str, leakage: bool) -> list[Column]:
    """List a task's columns of utility, or of leakage, in their order."""
    found = dict.fromkeys((f.metric, f.game, f.attack) for f in sheet.figures if f.task == task)
    return [c for c in found if (c[1] is not None) is leakage]


def title(column: Column, sheet: Sheet) -> str:
    """``accuracy ↑``; an AUC's game and attack stand in the heading above."""
    metric, _, _ = column
    direction = next(f.higher_is_better for f in sheet.figures if (f.metric, f.game, f.attack) == column)
    return (
        plain(metric).replace("auc", "AUC").replace("_", " ") + {True: " ↑", False: " ↓", None: ""}[direction]
    )


def markdown(sheet: Sheet) -> str:
    """Return the board as a Markdown page: every cell links to the records behind it."""
    lines = [f"# {sheet.title}", *sheet.about, f"Model {code(sheet.model)}. To make this page again:"]
    lines.append(fenced(sheet.command))
    lines.append("![Utility against leakage](frontier.svg)")
    lines += ["## At a glance", _glance(sheet)]
    for task in sheet.tasks:
        lines += [f"## {task}", _utility(sheet, task), *_leakage(sheet, task), _reasons(sheet, task)]
        lines += _judged(sheet, task)
    lines += ["## How to read this", _bullets(map(markdown_text, sheet.notes))]
    if sheet.warnings:
        lines += ["## Warnings", _bullets(map(markdown_text, sheet.warnings))]
    return "\n\n".join(filter(None, lines)) + "\n"


def _glance(sheet: Sheet) -> str:
    """Every method's utility on every task, the paper's Table 1 turned: bold shares the first place."""
    heads = [(task, c) for task in sheet.tasks for c in columns(sheet, task, leakage=False)]
    cells = {(f.task, f.method, (f.metric, f.game, f.attack)): f for f in sheet.figures}
    rows = []
    for method in sheet.methods:
        found = [cells.get((task, method, c)) for task, c in heads]
        rows.append([code(method), *(_first(f) if f else NONE for f in found)])
    return table(rows, ["method", *(f"{task} {title(c, sheet)}" for task, c in heads)])


def _first(figure: Figure) -> str:
    """Show a value, bold where the intervals allow it the first place."""
    if figure.value is None:
        return NONE
    return f"**{number(figure.value)}**" if figure.rank and figure.rank[0] == 1 else number(figure.value)


def _utility(sheet: Sheet, task: str) -> str:
    heads = columns(sheet, task, leakage=False)
    titles = [t for c in heads for t in (title(c, sheet), "Δ np", "place")]
    rows = []
    for method, figures in methods_shown(sheet, task).items():
        if not figures:
            continue
        by_column = {(f.metric, f.game, f.attack): f for f in figures}
        cells = [t for c in heads for t in _trio(by_column.get(c), sheet)]
        rows.append([code(method), *cells, _records(figures, sheet)])
    return table(rows, ["method", *titles, "records"])


def _trio(figure: Figure | None, sheet: Sheet) -> list[str]:
    """Value with interval, difference to np, place."""
    if figure is None or figure.value is None:
        return [NONE, NONE, NONE]  # the reasons stand below the table
    value = _linked(f"{_first(figure)} {interval(figure.ci)}".strip(), figure, sheet)
    low, high = figure.rank or (0, 0)
    place = NONE if not figure.rank else f"{low}" if low == high else f"{low}–{high}"
    return [value, _gap(figure), place]


def _gap(figure: Figure) -> str:
    if figure.difference is None:
        return NONE
    return f"{number(figure.difference, True)} {interval(figure.difference_ci, True)}".strip()


def _linked(text: str, figure: Figure, sheet: Sheet) -> str:
    """Link a cell to the record behind it; several stand in the row's last column."""
    if len(figure.sources) != 1 or figure.sources[0] not in sheet.sources:
        return text
    return f"[{text.replace('[', chr(92) + '[').replace(']', chr(92) + ']')}]({sheet.sources[figure.sources[0]].href})"


def _records(figures: Sequence[Figure], sheet: Sheet) -> str:
    """Link every record behind a row: by its seed, a reported table by its name."""
    ids = dict.fromkeys(i for f in figures for i in f.sources if i in sheet.sources)
    sources = [sheet.sources[i] for i in ids]
    names = [s.id if s.seed is None else f"seed {s.seed}" for s in sources]
    return ", ".join(f"[{markdown_text(n)}]({s.href})" for n, s in zip(names, sources, strict=True)) or NONE


def _leakage(sheet: Sheet, task: str) -> list[str]:
    """One table a game and attack."""
    heads = columns(sheet, task, leakage=True)
    parts = []
    for game, attack in dict.fromkeys((g, a) for _, g, a in heads):
        own = [c for c in heads if c[1:] == (game, attack)]
        rows = []
        for method, figures in methods_shown(sheet, task).items():
            by_column = {(f.metric, f.game, f.attack): f for f in figures}
            found = [by_column.get(c) for c in own]
            if any(f and f.value is not None for f in found):
                auc = found[0]
                cells = [
                    f"{number(f.value)} {interval(f.ci)}" if f and f.value is not None else NONE
                    for f in found
                ]
                rows.append([code(method), cells[0], _gap(auc) if auc else NONE, *cells[1:]])
        heading = f"### Leakage: game {code(str(game))}, attack {code(str(attack))}"
        titles = [title(own[0], sheet), "AUC − base", *(title(c, sheet) for c in own[1:])]
        parts += [heading, table(rows, ["method", *titles]) if rows else "No method has a figure."]
    return parts


def _reasons(sheet: Sheet, task: str) -> str:
    """Say of every dash why it is one: methods that share a reason stand on one line."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for f in sheet.figures:
        if f.task == task and f.value is None:
            what = "utility" if f.game is None else markdown_text(f"game {f.game}")
            found.setdefault((what, f.reason or "no figure"), {})[f.method] = None
    return _bullets(
        f"{NONE} {what}: {markdown_text(reason)}: {', '.join(map(code, methods))}"
        for (what, reason), methods in found.items()
    )


def _judged(sheet: Sheet, task: str) -> list[str]:
    """Show the control panel, with every seed's verdict."""
    rows: dict[tuple[str, ...], list[str]] = {}
    lacking: dict[str, None] = {}
    for leak, source, gap in sheet.leaks:
        if leak.task == task:
            seed = sheet.sources[source].seed if source in sheet.sources else None
            cells = (
                "" if seed is None else str(seed),
                *panel.cells(leak, gap, note_of(leak.game, sheet.plugins)),
            )
            rows.setdefault(cells, []).append(leak.method)
            lacking.update(dict.fromkeys(panel.without_base(leak, gap)))
    if not rows:
        return []
    lines = [[", ".join(map(code, methods)), *map(markdown_text, cells)] for cells, methods in rows.items()]
    shown = table(lines, [panel.HEADERS[0], "seed", *panel.HEADERS[1:]])
    return ["### Control panel", shown, _bullets(map(markdown_text, lacking))]


def table(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """Set rows of Markdown as a table, figures to the right."""
    from tabulate import tabulate

    align = ["left", *["right"] * (len(headers) - 1)]
    return tabulate(
        list(map(list, rows)), list(headers), tablefmt="pipe", disable_numparse=True, colalign=align
    )


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)
