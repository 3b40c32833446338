"""What a frontier joins and how it looks: a label's series, PriME's alpha in it, colours and markers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

COLOURS = ("#000000", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#56B4E9", "#8A8A8A")
"""Okabe and Ito's palette (distinguishable with any colour vision); a grey for its yellow, too faint on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<")
"""By matplotlib's letters. One more than colours, so that a pair repeats only after 72 series."""


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

    A series is named by its method where it has only one, else by the label without alpha.
    """
    labels: dict[str, list[str]] = {}
    for method in dict.fromkeys(methods):
        labels.setdefault(series_of(method), []).append(method)
    return {
        series: {
            "name": own[0] if len(own) == 1 else series,
            "colour": COLOURS[place % len(COLOURS)],
            "marker": MARKERS[place % len(MARKERS)],
        }
        for place, (series, own) in enumerate(labels.items())
    }
