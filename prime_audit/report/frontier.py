"""The frontier: utility against leakage, one subplot a task, as SVG and PNG."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prime_audit.io.markup import plain
from prime_audit.report.series import alpha_of, looks_of, series_of
from prime_audit.report.sheet import AUC, BASE, Sheet
from prime_audit.report.sheet import Figure as Number

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#767676"
_STYLE: Mapping[Any, Any] = {
    "font.size": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "prime-audit",
    "text.parse_math": False,
}
_WIDTH, _HEIGHT, _LEGEND_LINE, _LEGEND_CHARACTER = 3.7, 3.3, 0.17, 0.06
"""Inches."""
_LABEL_POINTS = 6.5
"""Size of the numbers along a sweep, in points."""


Look = Mapping[str, Any]
"""Keywords of matplotlib: the colour and marker of a series."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One method on one task."""

    method: str
    series: str
    """Its label without alpha: points of a series are one method, and joined."""
    alpha: float | None
    """PriME's penalty, where the method has one."""
    utility: Number
    """The task's first metric."""
    auc: Number | None
    """Leakage; None where the method has no members."""
    base: Number | None
    """The same items scored by the unmerged base; None where there is none."""


def draw(sheet: Sheet, level: float, forms: Sequence[str] = ("svg", "png")) -> dict[str, bytes]:
    """Draw a sheet whose intervals cover ``level``, in each of ``forms``.

    Equal sheets give equal bytes (for one matplotlib).
    """
    return saved(lambda: _figure(subplots(sheet), level), forms)


def subplots(sheet: Sheet) -> dict[str, list[Point]]:
    """Return each task's points: of its first metric, and of the first game and attack that have a figure."""
    found = {}
    for task in sheet.tasks:
        own = [f for f in sheet.figures if f.task == task]
        metric = next((f.metric for f in own if not f.of_a_game), None)
        played = ((f.game, f.attack) for f in own if f.metric == AUC and f.value is not None)
        found[task] = points(sheet, task, metric, *next(played, (None, None)))
    return found


def points(sheet: Sheet, task: str, metric: str | None, game: str | None, attack: str | None) -> list[Point]:
    """Pair each method's utility in one metric with its leakage in one game by one attack."""
    figures = [f for f in sheet.figures if f.task == task and f.value is not None]
    attacked = {(f.method, f.metric): f for f in figures if (f.game, f.attack) == (game, attack)}
    return [
        Point(
            method=f.method,
            series=series_of(f.method),
            alpha=alpha_of(f.method, sheet.parameters(f.method, task)),
            utility=f,
            auc=attacked.get((f.method, AUC)),
            base=attacked.get((f.method, BASE)),
        )
        for f in figures
        if f.metric == metric
    ]


def saved(make: Callable[[], Figure], forms: Sequence[str] = ("svg", "png")) -> dict[str, bytes]:
    """Draw a figure in the house style and return it in each of ``forms``."""
    import matplotlib

    metadata = {"svg": {"Date": None}, "png": {"Software": None}}
    found = {}
    with matplotlib.rc_context(dict(_STYLE)):
        figure = make()
        for form in forms:
            stream = io.BytesIO()
            figure.savefig(stream, format=form, dpi=200, metadata=metadata[form])
            found[form] = stream.getvalue()
    return found


def _figure(tasks: Mapping[str, Sequence[Point]], level: float) -> Figure:
    from matplotlib.figure import Figure

    series = looks_of(point.method for own in tasks.values() for point in own)
    looks: dict[str, Look] = {
        name: {"color": look["colour"], "marker": look["marker"]} for name, look in series.items()
    }
    across = min(3, len(tasks)) or 1
    down = -(-len(tasks) // across) or 1
    handles, labels = _legend(looks, [plain(look["name"]) for look in series.values()], level)
    width = max(across * _WIDTH, 4.8)
    longest = 0.45 + _LEGEND_CHARACTER * max(map(len, labels))
    columns = max(1, min(2 * across, int(width / longest)))
    legend_height = _LEGEND_LINE * -(-len(labels) // columns) + 0.15
    height = down * _HEIGHT + legend_height
    figure = Figure(figsize=(width, height))
    limits = _auc_limits(tasks)
    for place, (task, own) in enumerate(tasks.items()):
        left, top = (place % across) * width / across, height - (place // across) * _HEIGHT
        axes = _draw_task(task, own, _frames(figure, left, top, width / across), looks, limits)
        _label_alphas(axes, own, looks)
    middle = (0.5, legend_height / 2 / height)
    figure.legend(
        handles, labels, loc="center", bbox_to_anchor=middle, ncols=columns, frameon=False, fontsize=7.5
    )
    return figure


def _frames(figure: Figure, left: float, top: float, width: float) -> tuple[Axes, Axes, Axes]:
    """Make a subplot's axes (no members; frontier; unmerged base) from its corner and width, in inches.

    Places are fixed: matplotlib's layout solver differs in the last digit from one run to the next.
    """
    whole_width, whole_height = figure.get_size_inches()

    def frame(x: float, down: float, wide: float, high: float, **shared: Any) -> Axes:
        corner = ((left + x) / whole_width, (top - down - high) / whole_height)
        return figure.add_axes((*corner, wide / whole_width, high / whole_height), **shared)

    wide = width - 1.46
    strip = frame(0.62, 0.3, 0.56, 2.1)
    axes = frame(1.26, 0.3, wide, 2.1, sharey=strip)
    return strip, axes, frame(1.26, 2.5, wide, 0.34, sharex=axes)


def _auc_limits(tasks: Mapping[str, Sequence[Point]]) -> tuple[float, float]:
    """One AUC axis for all subplots, so that they compare; it always shows chance."""
    values = [0.45, 0.55]
    for point in (point for own in tasks.values() for point in own):
        values += [*_span(point.base), *_span(point.auc)]
    margin = 0.06 * (max(values) - min(values))
    return min(values) - margin, max(values) + margin


def _span(result: Number | None) -> tuple[float, ...]:
    if result is None or result.value is None:
        return ()
    return (result.value, *(result.ci or ()))


def _draw_task(
    task: str,
    points: Sequence[Point],
    frames: tuple[Axes, Axes, Axes],
    looks: Mapping[str, Look],
    limits: tuple[float, float],
) -> Axes:
    """Draw one task: the methods without members at the left, the frontier, the unmerged base below it."""
    strip, axes, below = frames
    merged = [p for p in points if p.auc is not None]
    alone = [p for p in points if p.auc is None]
    for place, point in enumerate(alone):
        _mark(strip, float(place), _value(point.utility), looks[point.series], None, point.utility.ci)
    for point in merged:
        x, y = _value(point.auc), _value(point.utility)
        _mark(axes, x, y, looks[point.series], point.auc.ci if point.auc else None, point.utility.ci)
    for sweep in _sweeps(merged):
        xs, ys = [_value(p.auc) for p in sweep], [_value(p.utility) for p in sweep]
        axes.plot(xs, ys, color=looks[sweep[0].series]["color"], linewidth=1.0, zorder=2)
    _draw_bases(below, merged, looks)
    _dress(task, points, strip, axes, below, len(alone))
    axes.set_xlim(*limits)
    if not merged:
        axes.text(
            0.5,
            0.5,
            "no method has members",
            transform=axes.transAxes,
            ha="center",
            color=GREY,
            backgroundcolor="white",
        )
    return axes


def _draw_bases(axes: Axes, points: Sequence[Point], looks: Mapping[str, Look]) -> None:
    """One row a series: the AUC of the same items under the unmerged base, hollow."""
    for row, name in enumerate(dict.fromkeys(p.series for p in points)):
        for base in {_value(p.base): p.base for p in points if p.series == name and p.base}.values():
            _mark(axes, _value(base), -float(row), looks[name], base.ci, None, hollow=True)
    axes.margins(y=0.3)


def _value(result: Number | None) -> float:
    assert result is not None
    assert result.value is not None
    return result.value


def _dress(task: str, points: Sequence[Point], strip: Axes, axes: Axes, below: Axes, alone: int) -> None:
    """Set titles, labels, chance and colours."""
    for part in (axes, below):
        part.axvline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        part.tick_params(axis="y", left=False, labelleft=False)
        part.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelbottom=False)
    axes.set_title(plain(task), loc="left", fontweight="bold", fontsize=9)
    below.set_facecolor("#F4F4F4")
    below.set_xlabel("membership AUC")
    below.locator_params(axis="x", nbins=5)
    below.text(-0.03, 0.5, "unmerged\nbase", transform=below.transAxes, ha="right", va="center", color=GREY)
    strip.set_facecolor("#F4F4F4")
    strip.set_title("no members", fontsize=7, color=GREY)
    strip.set_xlim(-0.7, max(alone, 1) - 0.3)
    strip.set_xticks([])
    if points:
        utility = points[0].utility
        falling = utility.higher_is_better is False
        metric = plain(utility.metric)
        strip.set_ylabel(f"{metric} (axis inverted)" if falling else metric)
        if falling:
            strip.invert_yaxis()


def _mark(
    axes: Axes,
    x: float,
    y: float,
    look: Look,
    across: tuple[float, float] | None,
    upright: tuple[float, float] | None,
    hollow: bool = False,
) -> None:
    """Draw a point with its intervals ``across`` (AUC) and ``upright`` (utility)."""
    bars: Look = {"color": look["color"], "linewidth": 0.8, "alpha": 0.4, "zorder": 1}
    if across:
        axes.plot(across, [y, y], **bars)
    if upright:
        axes.plot([x, x], upright, **bars)
    face: Look = {"markerfacecolor": "white"} if hollow else {"markeredgecolor": "white"}
    size, edge = (3.8, 0.8) if hollow else (6.0, 0.5)
    axes.plot([x], [y], **look, **face, linestyle="none", markersize=size, markeredgewidth=edge, zorder=4)


def _label_alphas(axes: Axes, points: Sequence[Point], looks: Mapping[str, Look]) -> None:
    """Write each alpha beside its point of a sweep, where it covers least."""
    merged = [p for p in points if p.auc is not None]
    axes.get_ylim()  # settles the scale
    pixel = axes.figure.dpi / 72.0
    places = axes.transData.transform([(_value(p.auc), _value(p.utility)) for p in merged] or [(0.0, 0.0)])
    taken = [(x - 4 * pixel, y - 4 * pixel, x + 4 * pixel, y + 4 * pixel) for x, y in places]
    for sweep in _sweeps(merged):
        for number, point in enumerate(sweep):
            text = f"α={point.alpha:g}" if number == 0 else f"{point.alpha:g}"
            x, y = places[merged.index(point)]
            dx, dy = _free_place(x, y, 0.31 * _LABEL_POINTS * len(text), taken, pixel)
            axes.annotate(
                text,
                (_value(point.auc), _value(point.utility)),
                (dx, dy),
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=_LABEL_POINTS,
                color=looks[point.series]["color"],
                bbox={
                    "boxstyle": "square,pad=0.05",
                    "facecolor": "white",
                    "edgecolor": "none",
                    "alpha": 0.75,
                },
                zorder=5,
            ).set_in_layout(False)


Box = tuple[float, float, float, float]


def _free_place(x: float, y: float, half: float, taken: list[Box], pixel: float) -> tuple[float, float]:
    """Choose the offset from (x, y), in points, whose label overlaps ``taken`` least, and take its box."""
    low, best, where = float("inf"), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0)
    side, above, tall = half + 5.0, 8.5, _LABEL_POINTS / 2
    offsets = [(0, above), (0, -above), (side, 0), (-side, 0), (side, 6), (-side, 6), (side, -6), (-side, -6)]
    for reach in (1.0, 1.6):
        for dx, dy in ((reach * a, reach * b) for a, b in offsets):
            centre, middle = x + dx * pixel, y + dy * pixel
            box = (centre - half * pixel, middle - tall * pixel, centre + half * pixel, middle + tall * pixel)
            covered = sum(_overlap(box, other) for other in taken)
            if covered < low:
                low, best, where = covered, box, (dx, dy)
    taken.append(best)
    return where


def _overlap(a: Box, b: Box) -> float:
    """Area two boxes share, square pixels."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _sweeps(points: Sequence[Point]) -> list[list[Point]]:
    """Points of one series at two or more alphas, in their order."""
    found = []
    for name in dict.fromkeys(p.series for p in points):
        sweep = sorted(
            (p for p in points if p.series == name and p.alpha is not None), key=lambda p: p.alpha or 0.0
        )
        if len({p.alpha for p in sweep}) > 1:
            found.append(sweep)
    return found


def _legend(looks: Mapping[str, Look], names: Sequence[str], level: float) -> tuple[list[Artist], list[str]]:
    from matplotlib.lines import Line2D

    handles: list[Artist] = [
        Line2D([], [], linestyle="none", markersize=5.5, **look) for look in looks.values()
    ]
    ring = Line2D([], [], linestyle="none", marker="o", markersize=3.8, color=GREY, markerfacecolor="white")
    bar = Line2D([], [], color=GREY, linewidth=0.8)
    names = [f"\u200b{name}" if name.startswith("_") else name for name in names]  # matplotlib hides "_…"
    return [*handles, ring, bar], [
        *names,
        "same items, unmerged base",
        f"{level:.0%} interval",
    ]
