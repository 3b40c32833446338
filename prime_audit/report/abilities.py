"""How it is said that a model is not shown to do a task: in a line above its table, and behind its verdicts."""

from __future__ import annotations

from prime_audit.record import Ability

DAGGER = " †"
UNABLE = "† the model is not shown to do the task, so the verdict may not hold for one that can"
"""Behind the verdicts of a task that the model is not shown to do, and what it means."""


def line_of(ability: Ability) -> str:
    """Say in one line that a run does not show an ability."""
    return unable_line(
        ability.task,
        f"{ability.questions} questions of {ability.targets} targets",
        ability.metric,
        (ability.method, ability.value),
        (ability.how, ability.without),
        ability.floor,
    )


def able_line(metric: str, best: tuple[str, float], without: tuple[str, float]) -> str:
    """Say by which figures an ability is shown; ``best`` and ``without``: a name and its ``metric``."""
    return f"{metric} {best[1]:.3f} by {best[0]}, {without[1]:.3f} without a model"


def unable_line(
    task: str,
    sizes: str,
    metric: str,
    best: tuple[str, float],
    without: tuple[str, float],
    floor: float | None,
) -> str:
    """Say it with ``sizes`` (what was asked); ``best`` and ``without``: a name and its ``metric``."""
    least = "" if floor is None else f", minimum {floor}"
    return (
        f"{task}: no method answers measurably better than is possible without a model, with {sizes} "
        f"({metric}: best method {best[0]} {best[1]:.3f}; {without[0]} {without[1]:.3f}{least}). The model is not "
        "shown to do the task, so its utility and leakage may not hold for one that can"
    )
