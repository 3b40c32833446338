"""Parts of invented records: plain values, and what a test changes of them."""

from __future__ import annotations

from typing import Any

from prime_audit.record import Comparison, Data, Leak, Result


def result(**changes: Any) -> Result:
    """Make a result, by default one of utility."""
    plain = {"task": "LaMP-2", "method": "np", "metric": "accuracy", "value": 0.5, "ci": (0.4, 0.6), "n": 12}
    return Result(**plain | changes)


def comparison(**changes: Any) -> Comparison:
    """Make a comparison, by default one of utility with np."""
    plain = {"task": "LaMP-2", "method": "prime", "baseline": "np", "metric": "accuracy"}
    return Comparison(**{**plain, "difference": 0.1, "ci": (0.0, 0.2), "n": 12} | changes)


def leak(**changes: Any) -> Leak:
    """Make a row of a control panel: of prime in the paper's game by loss."""
    plain = {"task": "LaMP-2", "method": "prime", "game": "paper", "attack": "loss"}
    found = {"auc": 0.53, "ci": (0.4, 0.6), "verdict": "no leak found", "why": "because", "p": 0.03}
    control = {"best_control": "bag_of_words", "over_control": -0.2, "over_control_ci": (-0.3, -0.1)}
    counts = {"members": 40, "others": 360, "undefined": 0, "undefined_base": 0, "both_sides": 0}
    more = {"p_adjusted": 0.03, "q": 0.03, "tpr": {"0.1": 0.2, "0.01": None}}
    return Leak(**{**plain, **found, **more, **control, **counts} | changes)


def data(**changes: Any) -> Data:
    """Describe the users of a small built-in world."""
    plain = {
        "task": "LaMP-2",
        "source": "world",
        "layout": "world",
        "sha256": "a" * 64,
        "split_sha256": "b" * 64,
    }
    return Data(**{**plain, "users": {"targets": 4}, "items": 99, "queries": 36} | changes)
