"""The frontier: utility against leakage, one subplot a task, as SVG and PNG."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from prime_audit.io.markup import plain
from prime_audit.report.series import alpha_of, looks_of, series_of
from prime_audit.report.sheet import AUC, Sheet
from prime_audit.report.sheet import Figure as Number
from prime_audit.report.views import views

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
    leak: Number | None
    """Its AUC in the game and attack shown; None where the method has no members."""
    over: bool = True
    """Whether the leak is shown as AUC minus the unmerged base's; else as the AUC."""
    dominated: bool = False
    """Whether another is as useful and as near to chance, and better in one."""

    @property
    def x(self) -> float:
        """The leak shown; only where there is one."""
        assert self.leak is not None
        return _known(self.leak.difference if self.over else self.leak.value)

    @property
    def across(self) -> tuple[float, float] | None:
        """Its interval."""
        assert self.leak is not None
        return self.leak.difference_ci if self.over else self.leak.ci

    @property
    def y(self) -> float:
        """Utility."""
        return _known(self.utility.value)


def draw(sheet: Sheet, level: float, forms: Sequence[str] = ("svg", "png")) -> dict[str, bytes]:
    """Draw a sheet whose intervals cover ``level``, in each of ``forms``.

    Equal sheets give equal bytes (for one matplotlib).
    """
    return saved(lambda: _figure(subplots(sheet), sheet.methods, level), forms)


def subplots(sheet: Sheet) -> dict[str, list[Point]]:
    """Return each task's points: of its first metric, and of the game and attack that its tables show first."""
    found: dict[str, list[Point]] = {task: [] for task in sheet.tasks}
    for view in views(sheet):
        metric = view.utility[0].metric if view.utility else None
        group = view.groups[0] if view.groups else None
        found[view.task] = points(
            sheet, view.task, metric, group.game if group else None, group.attack if group else None
        )
    return found


def points(sheet: Sheet, task: str, metric: str | None, game: str | None, attack: str | None) -> list[Point]:
    """Pair each method's utility in one metric with its leakage in one game by one attack."""
    figures = [f for f in sheet.figures if f.task == task and f.value is not None]
    played = {f.method: f for f in figures if f.metric == AUC and (f.game, f.attack) == (game, attack)}
    over = any(f.difference is not None for f in played.values())
    shown = {m: f for m, f in played.items() if not over or f.difference is not None}
    found = [
        Point(
            method=f.method,
            series=series_of(f.method),
            alpha=alpha_of(f.method, sheet.parameters(f.method, task)),
            utility=f,
            leak=shown.get(f.method),
            over=over,
        )
        for f in figures
        if f.metric == metric
    ]
    merged = [p for p in found if p.leak]
    return [replace(p, dominated=any(_beats(q, p) for q in merged)) if p.leak else p for p in found]


def _beats(q: Point, p: Point) -> bool:
    """Whether q is at least as useful and as near to chance as p, and better in one."""
    chance = 0.0 if p.over else 0.5
    gain = (p.y - q.y) if p.utility.higher_is_better is False else (q.y - p.y)
    spared = abs(p.x - chance) - abs(q.x - chance)
    return gain >= 0 and spared >= 0 and gain + spared > 1e-9


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


def _figure(tasks: Mapping[str, Sequence[Point]], methods: Iterable[str], level: float) -> Figure:
    from matplotlib.figure import Figure

    drawn = {point.series for own in tasks.values() for point in own}
    series = {name: look for name, look in looks_of(methods).items() if name in drawn}
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
    for place, (task, own) in enumerate(tasks.items()):
        left, top = (place % across) * width / across, height - (place // across) * _HEIGHT
        limits = _limits(tasks, all(p.over for p in own if p.leak))
        axes = _draw_task(task, own, _frames(figure, left, top, width / across), looks, limits)
        _label(axes, own, looks)
    middle = (0.5, legend_height / 2 / height)
    figure.legend(
        handles, labels, loc="center", bbox_to_anchor=middle, ncols=columns, frameon=False, fontsize=7.5
    )
    return figure


def _frames(figure: Figure, left: float, top: float, width: float) -> tuple[Axes, Axes]:
    """Make a subplot's axes (no members; frontier) from its corner and width, in inches.

    Places are fixed: matplotlib's layout solver differs in the last digit from one run to the next.
    """
    whole_width, whole_height = figure.get_size_inches()

    def frame(x: float, down: float, wide: float, high: float, **shared: Any) -> Axes:
        corner = ((left + x) / whole_width, (top - down - high) / whole_height)
        return figure.add_axes((*corner, wide / whole_width, high / whole_height), **shared)

    strip = frame(0.62, 0.3, 0.56, 2.45)
    return strip, frame(1.26, 0.3, width - 1.46, 2.45, sharey=strip)


def _limits(tasks: Mapping[str, Sequence[Point]], over: bool) -> tuple[float, float]:
    """One axis for all subplots of differences, or of AUCs: they compare, show chance, and nothing that cannot be."""
    merged = [p for own in tasks.values() for p in own if p.leak]
    least, most, values = (-1.0, 1.0, [-0.05, 0.05]) if over else (0.0, 1.0, [0.45, 0.55])
    for point in (p for p in merged if p.over == over):
        values += [point.x, *(point.across or () if not point.dominated else ())]
    margin = 0.06 * (max(values) - min(values))
    return max(least, min(values) - margin), min(most, max(values) + margin)


def _draw_task(
    task: str,
    points: Sequence[Point],
    frames: tuple[Axes, Axes],
    looks: Mapping[str, Look],
    limits: tuple[float, float],
) -> Axes:
    """Draw one task: the methods without a figure of leakage at the left, the frontier beside them."""
    strip, axes = frames
    merged = [p for p in points if p.leak]
    alone = [p for p in points if not p.leak]
    for place, point in enumerate(alone):
        _mark(strip, float(place), point.y, looks[point.series], None, point.utility.ci)
    for point in merged:
        bars = (None, None) if point.dominated else (point.across, point.utility.ci)
        _mark(axes, point.x, point.y, looks[point.series], *bars, small=point.dominated)
    for sweep in _sweeps(merged):
        xs, ys = [p.x for p in sweep], [p.y for p in sweep]
        axes.plot(xs, ys, color=looks[sweep[0].series]["color"], linewidth=1.0, zorder=2)
    front = sorted((p for p in merged if not p.dominated), key=lambda p: (p.x, p.y))
    axes.plot([p.x for p in front], [p.y for p in front], color=GREY, linewidth=0.8, zorder=1)
    _dress(task, points, strip, axes, len(alone))
    axes.set_xlim(*limits)
    _within(axes, points)
    if not merged:
        axes.text(
            0.5,
            0.5,
            "no method has a figure",
            transform=axes.transAxes,
            ha="center",
            color=GREY,
            backgroundcolor="white",
        )
    return axes


def _within(axes: Axes, points: Sequence[Point]) -> None:
    """Keep the utility's axis from reaching beyond what its metric can be: shares end at 0 and 1, errors at 0.

    Other metrics have no known end.
    """
    low, high = sorted(axes.get_ylim())
    falling = bool(points) and points[0].utility.higher_is_better is False
    if all(p.y >= 0 for p in points):
        low = max(low, 0.0)
    if not falling and all(p.y <= 1 for p in points):
        high = min(high, 1.0)
    axes.set_ylim(*((high, low) if falling else (low, high)))


def _known(value: float | None) -> float:
    assert value is not None
    return value


def _dress(task: str, points: Sequence[Point], strip: Axes, axes: Axes, alone: int) -> None:
    """Set titles, labels, chance and colours."""
    shown = next((p for p in points if p.leak), None)
    axes.axvline(
        0.0 if shown and shown.over else 0.5, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0
    )
    axes.tick_params(axis="y", left=False, labelleft=False)
    axes.spines["left"].set_visible(False)
    axes.set_title(plain(task), loc="left", fontweight="bold", fontsize=9)
    axes.locator_params(axis="x", nbins=5)
    if shown and shown.leak:
        of = f"game {shown.leak.game}, attack {shown.leak.attack}" if shown.leak.game else "membership"
        figure = f"AUC − {shown.leak.baseline}" if shown.over else "AUC"
        axes.set_xlabel(plain(f"{figure} ({of})"))
    strip.set_facecolor("#F4F4F4")
    strip.set_title("no figure", fontsize=7, color=GREY)
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
    small: bool = False,
) -> None:
    """Draw a point with its intervals ``across`` (leakage) and ``upright`` (utility)."""
    bars: Look = {"color": look["color"], "linewidth": 0.8, "alpha": 0.4, "zorder": 1}
    if across:
        axes.plot(across, [y, y], **bars)
    if upright:
        axes.plot([x, x], upright, **bars)
    size, strength = (4.0, 0.55) if small else (6.5, 1.0)
    axes.plot(
        [x],
        [y],
        **look,
        linestyle="none",
        markersize=size,
        markeredgecolor="white",
        markeredgewidth=0.5,
        alpha=strength,
        zorder=3 if small else 4,
    )


def _label(axes: Axes, points: Sequence[Point], looks: Mapping[str, Look]) -> None:
    """Write beside its mark each alpha of a sweep and each method that no other dominates, where it covers least."""
    merged = [p for p in points if p.leak]
    if not merged:
        return
    axes.get_ylim()  # settles the scale
    pixel = axes.figure.dpi / 72.0
    places = axes.transData.transform([(p.x, p.y) for p in merged])
    taken = [(x - 4 * pixel, y - 4 * pixel, x + 4 * pixel, y + 4 * pixel) for x, y in places]
    texts = {p.method: plain(p.method) for p in merged if not p.dominated}
    for sweep in _sweeps(merged):
        texts |= {p.method: f"α={p.alpha:g}" if p is sweep[0] else f"{p.alpha:g}" for p in sweep}
    for point, (x, y) in zip(merged, places, strict=True):
        if point.method not in texts:
            continue
        text = texts[point.method]
        dx, dy = _free_place(x, y, 0.31 * _LABEL_POINTS * len(text), taken, pixel)
        axes.annotate(
            text,
            (point.x, point.y),
            (dx, dy),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=_LABEL_POINTS,
            color=looks[point.series]["color"],
            bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
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
    front, bar = (
        Line2D([], [], color=GREY, linewidth=0.8),
        Line2D([], [], color=GREY, linewidth=0.8, alpha=0.4),
    )
    names = [f"\u200b{name}" if name.startswith("_") else name for name in names]  # matplotlib hides "_…"
    return [*handles, front, bar], [*names, "dominated by none", f"{level:.0%} interval"]
