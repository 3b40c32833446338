"""The contracts of methods and attacks: what a plugin gets, and what it returns.

A plugin is one short file whose stem is its name, with one function marked by ``@method`` or ``@attack``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np

    from prime_audit.audit.signals import Signals
    from prime_audit.community.build import Community
    from prime_audit.engine.batches import Tick
    from prime_audit.engine.engine import Engine
    from prime_audit.engine.mixture import Mixture
    from prime_audit.lamp.tasks import Task
    from prime_audit.settings import Settings


@dataclass(frozen=True)
class Param:
    """One parameter of a method, set as ``name:key=value``."""

    name: str
    """What the user types."""
    default: Any
    """Its value when not given; a string ``preset:KEY`` reads the preset's number for the task."""
    help: str
    """One line: what it does, its unit."""
    choices: tuple[str, ...] = ()
    """The allowed words, where it is one of few."""
    bounds: tuple[float, float] | None = None
    """Least and most; by default a preset number's own, and 1 for whole numbers."""


@dataclass(frozen=True)
class Augment:
    """What goes in front of the prompt."""

    k: int = 0
    """Retrieved history items."""
    profile: bool = False
    """Whether the profile text stands in front."""
    wording: str = "given"
    """``given``: the text that the run found or made; ``reworded``: the summary by counting, in other words."""


@dataclass(frozen=True)
class Personal:
    """One target's personalised model."""

    mixture: Mixture
    """Over the engine's bank; the empty mixture is the adapted base."""
    sharers: tuple[str, ...] = ()
    """The sharers whose adapters were merged: the members of a membership game. Empty: nobody."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What the record keeps: weights, search trace; plain JSON."""


@dataclass(frozen=True)
class Scene:
    """Everything a method may use to personalise the targets of one task."""

    task: Task
    engine: Engine
    community: Community
    settings: Settings
    seed: int
    stage: Callable[[str, int], AbstractContextManager[Tick]]
    """``with scene.stage("search", steps) as tick`` shows progress."""


@dataclass(frozen=True)
class Method:
    """A method: a way to personalise the model, or something in front of the prompt."""

    name: str
    summary: str
    source: str
    params: tuple[Param, ...]
    personalise: Callable[..., dict[str, Personal]] | None
    """(scene, **params) → one Personal per target id; None for a method of the prompt alone."""
    augment: Callable[..., Augment] | None
    """(alone, **params) → what goes in front; None for a method of the model alone."""
    version: int = 1
    """Raised when its numbers change: leaderboards refuse records of an older version."""


@dataclass(frozen=True)
class Attack:
    """A membership-inference attack: signals in, one score an item out, higher = member."""

    name: str
    summary: str
    source: str
    needs: tuple[str, ...]
    """Fields of ``Signals`` it reads; only those are computed."""
    score: Callable[[Signals], np.ndarray]
    people: bool = False
    """Whether it scores people, each of whose items has her score: it says nothing where items are members."""
    version: int = 1
    """Raised when its numbers change: leaderboards refuse records of an older version."""


F = TypeVar("F", bound=Callable[..., Any])


def method(
    *, source: str, params: Sequence[Param] = (), augments: bool = False, version: int = 1
) -> Callable[[F], F]:
    """Mark the file's function as a method: ``personalise(scene, **params)``, or ``augment(alone, **params)``."""

    def mark(function: F) -> F:
        roles = (
            {"augment": function, "personalise": None}
            if augments
            else {"augment": None, "personalise": function}
        )
        summary = first_line(function.__doc__)
        function.plugin = Method("", summary, source, tuple(params), **roles, version=version)  # type: ignore[attr-defined]
        return function

    return mark


def attack(*, source: str, needs: Sequence[str], people: bool = False, version: int = 1) -> Callable[[F], F]:
    """Mark the file's function as an attack: ``score(signals) -> float array [items]``, higher = member."""

    def mark(function: F) -> F:
        summary = first_line(function.__doc__)
        function.plugin = Attack("", summary, source, tuple(needs), function, people, version)  # type: ignore[attr-defined]
        return function

    return mark


def first_line(doc: str | None) -> str:
    """Return the first line of a docstring; empty where there is none."""
    return (doc or "").strip().partition("\n")[0]
