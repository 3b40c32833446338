"""What a frontier joins and how it looks: a label's series, PriME's alpha in it, colours and markers."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

COLOURS: Mapping[str, str] = {
    "np": "#000000",
    "oppu": "#E69F00",
    "perpcs": "#009E73",
    "prime": "#0072B2",
    "soup": "#CC79A7",
    "nearest": "#D55E00",
    "ties": "#56B4E9",
    "random": "#8A8A8A",
    "dare": "#332288",
    "core": "#882255",
    "mta": "#999933",
}
"""Family → colour, the same on every page and figure: Okabe and Ito's palette (distinguishable with any colour vision),
a grey for its yellow, too faint on white, and three of Tol's muted scheme."""
OTHERS = ("#44AA99", "#AA4499", "#661100", "#6699CC", "#117733", "#AA3377")
"""Colours of the families of plugins, by a hash of their names."""
SHAPES: Mapping[str, str] = {"": "o", "rag": "^", "pag": "s"}
"""What a method puts before the question → marker, by matplotlib's letters."""
MARKERS = ("D", "v", "P", "X", "p", "<")
"""Of further front ends, and of series that would look like another."""


def alpha_of(label: str, params: Mapping[str, Any]) -> float | None:
    """Find the penalty a method ran with: in its parameters (``prime.alpha``), else in its label."""
    name = re.split(r"[:+]", label)[0]
    value = params.get(f"{name}.alpha", next(iter(re.findall(r"[:,]alpha=([^,+]+)", label)), None))
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def series_of(label: str) -> str:
    """``prime:alpha=0.6,k=3+rag`` -> ``prime:k=3+rag``: points of a series are one method, and joined."""
    name, colon, rest = label.partition(":")
    params, plus, suffix = rest.partition("+")
    kept = [p for p in params.split(",") if p and not p.startswith("alpha=")]
    return name + (colon + ",".join(kept) if kept else "") + plus + suffix


def looks_of(methods: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the name, colour and marker of each series, in the order of the methods.

    The colour is its family's, the marker that of its front end; rag and pag are np's. A series is named by its method
    where it has only one, else by the label without alpha.
    """
    labels: dict[str, list[str]] = {}
    for method in dict.fromkeys(methods):
        labels.setdefault(series_of(method), []).append(method)
    # A method without parameters takes its marker first, whatever the order.
    plain_first = sorted(labels.items(), key=lambda own: ":" in own[0])
    taken = set[tuple[str, str]]()
    found = {}
    for series, own in plain_first:
        family, front = _parts(series)
        colour = COLOURS.get(family) or OTHERS[zlib.crc32(family.encode()) % len(OTHERS)]
        free = (m for m in (SHAPES.get(front, MARKERS[0]), *MARKERS) if (colour, m) not in taken)
        marker = next(free, MARKERS[-1])
        taken.add((colour, marker))
        found[series] = {"name": own[0] if len(own) == 1 else series, "colour": colour, "marker": marker}
    return {series: found[series] for series in labels}


def _parts(series: str) -> tuple[str, str]:
    """Return a series' family and front end: ``prime:k=3+rag`` → prime, rag; ``rag:k=4`` → np, rag."""
    alone, _, front = series.partition("+")
    name, end = alone.partition(":")[0], front.partition(":")[0]
    return ("np", name) if name in SHAPES else (name, end)
