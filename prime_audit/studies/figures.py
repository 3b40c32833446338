"""Figures of studies, as SVG and PNG: dots with intervals, lines over a number, and the frontier of runs.

Equal figures give equal bytes (for one matplotlib version): positions are fixed, not solved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from prime_audit.record import Intervals, Record
from prime_audit.report import frontier as utility_against_leakage
from prime_audit.report.from_record import sheet_of
from prime_audit.report.frontier import GREY, Look, saved
from prime_audit.report.series import COLOURS, MARKERS, SHAPES

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INTERVAL = f"{Intervals().level:.0%} interval"
"""Meaning of the bars of a figure."""
ACROSS = 3
"""Most subplots side by side."""
_LETTER, _LINE = 0.062, 0.185
"""Inches per letter and per line of text."""
_WIDE, _HIGH = 2.35, 1.9
"""Inches of a subplot's axes; a single subplot in a row may be wider."""
_ABOVE, _BELOW = 0.32, 0.5
"""Inches above and below a subplot's axes."""
_DOTTED: Mapping[str, Any] = {"color": GREY, "linewidth": 0.9, "linestyle": (0, (1, 1.5))}
"""Style of lines through a whole subplot."""
_TICK: Mapping[str, Any] = {"color": "#404040", "marker": "|", "markersize": 10.0, "markeredgewidth": 1.3}
"""Style of a mark's second value."""
Place = tuple[float, float, float, float]
"""Left, bottom, width and height, as parts of a figure's."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One figure to draw."""

    label: str
    """Its row label, in a figure of dots."""
    group: str
    """Decides its colour. Text after a comma is drawn hollow and dashed: ``PriME, layer``."""
    x: float | None
    """Its position, in a figure of lines."""
    value: float
    bar: tuple[float, float] | None = None
    """Ends of the bar through it."""
    base: float | None = None
    """A second value in the same row, drawn as an upright stroke."""


@dataclass(frozen=True)
class Subplot:
    """One axes."""

    title: str
    measured: str
    """Title of the axis of the values."""
    marks: tuple[Mark, ...]
    """In the order shown."""
    lines: Mapping[str, float] = field(default_factory=dict)
    """Lines through the whole subplot: name → value."""
    axis: str = ""
    """Title of the other axis, in a figure of lines."""


def frontier(records: Sequence[tuple[Record, Mapping[str, str]]]) -> dict[str, bytes]:
    """Draw utility against leakage, one subplot per task of each record, each with its tasks' headings."""
    sheets = [(sheet_of(record, "run"), headings) for record, headings in records]
    first = sheets[0][0]
    figures = [replace(f, task=headings[f.task]) for sheet, headings in sheets for f in sheet.figures]
    methods = {
        m: {"parameters": {h: sheet.parameters(m, task) for sheet, own in sheets for task, h in own.items()}}
        for m in first.methods
    }
    tasks = tuple(dict.fromkeys(f.task for f in figures))
    drawn = replace(first, figures=tuple(figures), methods=methods, tasks=tasks, leaks=())
    return utility_against_leakage.draw(drawn, Intervals().level)


def dots(
    subplots: Sequence[Subplot], across: int, bars: str = INTERVAL, second: str = ""
) -> dict[str, bytes]:
    """Draw one row per mark, values to the right; ``bars`` and ``second`` name the bars and strokes."""
    return saved(lambda: _dots(subplots, min(across, ACROSS), bars, second))


def lines(subplots: Sequence[Subplot], across: int, bars: str = INTERVAL) -> dict[str, bytes]:
    """Draw values over a number, one line per group."""
    return saved(lambda: _lines(subplots, min(across, ACROSS), bars))


# -- dots --------------------------------------------------------------------------------------------------


def _dots(subplots: Sequence[Subplot], across: int, bars: str, second: str) -> Figure:
    groups = {m.label: m.group for p in subplots for m in p.marks}
    rows = _rows(groups)
    left = 0.25 + _LETTER * max(map(len, rows))
    high = _LINE * (1 - min(rows.values())) + 0.1
    figure, places = _sheet(len(subplots), across, (left, 0.36, high), _handles(subplots, bars, second))
    looks = _looks(subplots)
    for place, (subplot, spot) in enumerate(zip(subplots, places, strict=True)):
        axes = figure.add_axes(spot)
        for mark in subplot.marks:
            _dot(axes, mark, rows[mark.label], looks[mark.group])
        for value in subplot.lines.values():
            axes.axvline(value, zorder=0, **_DOTTED)
        axes.set_yticks(list(rows.values()), list(rows) if place % across == 0 else [""] * len(rows))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_ylim(min(rows.values()) - 0.7, 0.7)
        axes.locator_params(axis="x", nbins=4)
        axes.grid(axis="y", color="#EEEEEE", linewidth=0.6)
        axes.set_axisbelow(True)
        _dress(axes, subplot.title, subplot.measured, "")
    return figure


def _rows(groups: Mapping[str, str]) -> dict[str, float]:
    """Place each label (of a group) at its height, the first at 0, with space between groups."""
    rows, height, before = dict[str, float](), 0.0, next(iter(groups.values()))
    for label, group in groups.items():
        height -= (1.0 if rows else 0.0) + (0.5 if group != before else 0.0)
        rows[label], before = height, group
    return rows


def _dot(axes: Axes, mark: Mark, row: float, look: Look) -> None:
    if mark.bar:
        axes.plot(mark.bar, [row, row], color=look["color"], linewidth=1.2, alpha=0.45, zorder=2)
    if mark.base is not None:
        axes.plot([mark.base], [row], linestyle="none", zorder=3, **_TICK)
    axes.plot([mark.value], [row], zorder=4, markersize=5.5, **{**look, "linestyle": "none"})


# -- lines -------------------------------------------------------------------------------------------------


def _lines(subplots: Sequence[Subplot], across: int, bars: str) -> Figure:
    from matplotlib.lines import Line2D

    looks = _looks(subplots)
    handles: dict[str, Artist] = {
        group: Line2D([], [], linewidth=1.1, markersize=5.0, **look) for group, look in looks.items()
    }
    figure, places = _sheet(
        len(subplots), across, (0.65, 0.6, _HIGH), {**handles, **_handles(subplots, bars, "")}
    )
    for subplot, spot in zip(subplots, places, strict=True):
        axes = figure.add_axes(spot)
        ticks = sorted({m.x for m in subplot.marks if m.x is not None})
        step = min((b - a for a, b in pairwise(ticks)), default=1.0)
        for number, (group, look) in enumerate(looks.items()):
            # Side by side, so that intervals do not cover each other.
            shift = 0.07 * step * (number - (len(looks) - 1) / 2)
            _line(axes, [m for m in subplot.marks if m.group == group], shift, look)
        for value in subplot.lines.values():
            axes.axhline(value, zorder=0, **_DOTTED)
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.set_xlim(ticks[0] - 0.35 * step, ticks[-1] + 0.35 * step)
        axes.locator_params(axis="y", nbins=5)
        _dress(axes, subplot.title, subplot.axis, subplot.measured)
    return figure


def _line(axes: Axes, marks: Sequence[Mark], shift: float, look: Look) -> None:
    xs = [m.x + shift for m in marks if m.x is not None]
    for x, mark in zip(xs, marks, strict=True):
        if mark.bar:
            axes.plot([x, x], mark.bar, color=look["color"], linewidth=0.8, alpha=0.4, zorder=1)
    axes.plot(xs, [m.value for m in marks], linewidth=1.1, markersize=5.0, zorder=3, **look)


# -- what both share ---------------------------------------------------------------------------------------


def _looks(subplots: Sequence[Subplot]) -> dict[str, Look]:
    """One style per group: colour and marker by the text before its comma; with text after it, hollow and dashed."""
    groups = list(dict.fromkeys(m.group for p in subplots for m in p.marks))
    stems = list(dict.fromkeys(_stem(group) for group in groups))
    colours, markers = [*COLOURS.values()], [*SHAPES.values(), *MARKERS]
    looks: dict[str, Look] = {}
    for group in groups:
        place, second = stems.index(_stem(group)), _stem(group) in {_stem(g) for g in looks}
        colour = colours[(place + 1) % len(colours)]
        looks[group] = {
            "color": colour,
            "marker": markers[place % len(markers)],
            "markerfacecolor": "white" if second else colour,
            "markeredgecolor": colour if second else "white",
            "markeredgewidth": 0.9 if second else 0.5,
            "linestyle": (0, (4, 2)) if second else "-",
        }
    return looks


def _stem(group: str) -> str:
    return group.partition(",")[0]


def _handles(subplots: Sequence[Subplot], bars: str, second: str) -> dict[str, Artist]:
    """Build the legend's entries for lines through subplots, second values and bars, where there are any."""
    from matplotlib.lines import Line2D

    handles: dict[str, Artist] = {name: Line2D([], [], **_DOTTED) for p in subplots for name in p.lines}
    if any(m.base is not None for p in subplots for m in p.marks):
        handles[second] = Line2D([], [], linestyle="none", **_TICK)
    if any(m.bar for p in subplots for m in p.marks):
        handles[bars] = Line2D([], [], color=GREY, linewidth=1.0)
    return handles


def _sheet(
    count: int, across: int, sizes: tuple[float, float, float], handles: Mapping[str, Artist]
) -> tuple[Figure, list[Place]]:
    """Build a figure with its legend, and the places of its subplots.

    ``sizes``: inches before a row's first subplot, between subplots, and of a subplot's height.
    """
    from matplotlib.figure import Figure

    left, between, high = sizes
    longest = max(map(len, handles), default=1)
    width = max(left + across * _WIDE + (across - 1) * between + 0.2, 4.0)
    wide = (width - left - (across - 1) * between - 0.2) / across
    columns = max(1, min(len(handles), int((width - 0.3) / (0.55 + _LETTER * longest))))
    legend = _LINE * -(-len(handles) // columns) + 0.1 if handles else 0.0
    row = _ABOVE + high + _BELOW
    height = -(-count // across) * row + legend
    figure = Figure(figsize=(width, height))
    look: dict[str, Any] = {"loc": "center", "frameon": False, "fontsize": 7.5, "ncols": columns}
    figure.legend(list(handles.values()), list(handles), bbox_to_anchor=(0.5, legend / 2 / height), **look)
    places = []
    for n in range(count):
        x = left + (n % across) * (wide + between)
        y = height - (n // across) * row - _ABOVE - high
        places.append((x / width, y / height, wide / width, high / height))
    return figure, places


def _dress(axes: Axes, title: str, below: str, beside: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", fontsize=9)
    axes.set_xlabel(below)
    axes.set_ylabel(beside)
