"""The contracts of methods, attacks and games: what a plugin gets, and what it returns.

A plugin is one short file whose stem is its name, with one function marked by ``@method``, ``@attack`` or ``@game``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

if TYPE_CHECKING:
    import numpy as np

    from prime_audit.audit.design import Dealt, Design, Unit
    from prime_audit.audit.pool import Pool
    from prime_audit.audit.signals import Signals
    from prime_audit.community.build import Community
    from prime_audit.engine.batches import Tick
    from prime_audit.engine.engine import Engine
    from prime_audit.engine.mixture import Mixture
    from prime_audit.lamp.tasks import Task
    from prime_audit.settings import Settings


Exposed = Literal["sharers", "the target", "shared adapters"]
"""What a game asks about: sharers' data in the target's model, the target's own, or the adapters before any merge."""


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
    refused: Mapping[str, str] = field(default_factory=dict)
    """Other words that users may try → why they are not allowed, for the error."""


@dataclass(frozen=True)
class Augment:
    """What goes in front of the prompt."""

    k: int = 0
    """Retrieved history items."""
    profile: bool = False
    """Whether the profile text is in front."""
    wording: str = "given"
    """``given``: the text that the run found or made; ``reworded``: the summary by counting, in other words."""


@dataclass(frozen=True)
class Personal:
    """One target's personalised model."""

    mixture: Mixture
    """Over the engine's bank; the empty mixture is the adapted base."""
    sharers: tuple[str, ...] = ()
    """The sharers whose adapters were merged: the members of a membership game. Empty: none."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What the record keeps: weights, search trace; plain JSON.

    ``caution``, one line, becomes a warning of the run that counts the targets with the same line.
    """


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything a method may use to personalise the targets of one task."""

    task: Task
    engine: Engine
    community: Community
    settings: Settings
    seed: int
    stage: Callable[[str, int], AbstractContextManager[Tick]]
    """``with scene.stage("search", steps) as tick`` shows progress."""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """What methods, attacks and games have in common."""

    name: str = ""
    """The file's stem; set where it is loaded, as are ``summary`` and ``about``."""
    summary: str = ""
    """First line of the file's docstring."""
    about: str = ""
    """Its first paragraph after that line; empty where it has none."""
    source: str
    version: int = 1
    """Raised when its numbers change: leaderboards refuse records of an older version."""
    reads: tuple[str, ...] = ()
    """Settings of other plugins that it reads, beside the defaults of its parameters; ``gate`` is all of ``gate.…``."""


@dataclass(frozen=True, kw_only=True)
class Method(Plugin):
    """A method: a way to personalise the model, or something in front of the prompt."""

    params: tuple[Param, ...]
    personalise: Callable[..., dict[str, Personal]] | None = None
    """(scene, **params) → one Personal per target id; None for a method of the prompt alone."""
    augment: Callable[..., Augment] | None = None
    """(alone, **params) → what goes in front; None for a method of the model alone."""
    control: str = ""
    """Of a control, whose models hold nothing of any sharer: what its figures say of the other methods, in one clause.
    Where an audit says that it leaks, the audit is wrong, and the summary says so."""


@dataclass(frozen=True, kw_only=True)
class Attack(Plugin):
    """A membership-inference attack: signals in, one score an item out, higher = member."""

    needs: tuple[str, ...]
    """Fields of ``Signals`` it reads; only those are computed."""
    score: Callable[[Signals], np.ndarray]
    people: bool = False
    """Whether it scores people, each of whose items has the same score: undefined where items are members."""


@dataclass(frozen=True, kw_only=True)
class Audited:
    """One target's model, as far as a game may know it: nothing that it says of any item."""

    target: str
    merged: Sequence[str] = ()
    """The sharers merged in it."""
    coins: Mapping[str, bool] = field(default_factory=dict)
    """Candidate → whether a fair coin put them into the merge; empty where no coins were thrown."""


@dataclass(frozen=True, kw_only=True)
class Game(Plugin):
    """A membership game: who is a member, of what, decided before any score is seen."""

    says: str
    """What its verdict can say, and what it cannot."""
    design: Design
    """The unit that was randomised, and whether it was: all that the judge knows of the game."""
    deal: Callable[[Audited, Pool], Dealt]
    """(a target's model, the items) → the rows on both sides, or the reason why there are none."""
    queries: type[Any] | None = None
    """What is asked of which models: a class like ``prime_audit.games.exam.queries.Queries``. None: that class,
    which queries models as deployed with the sharers' items."""
    redraw: Callable[[Any, Pool, np.random.Generator], tuple[Any, Pool]] | None = None
    """For ``calibrate``: (pass, items, generator) → the same with new members, so that membership carries nothing.
    ``calibrate`` leaves a game without it out."""
    samples: bool = False
    """Whether ``deal`` reads ``Pool.sampled``, the rows that the setting nonmember_items drew; for reports only."""
    exposes: Exposed = "sharers"
    """Whose data its *leaks* would expose; for reports only."""


F = TypeVar("F", bound=Callable[..., Any])


def method(
    *,
    source: str,
    params: Sequence[Param] = (),
    augments: bool = False,
    control: str = "",
    reads: Sequence[str] = (),
    version: int = 1,
) -> Callable[[F], F]:
    """Mark the file's function as a method: ``personalise(scene, **params)``, or ``augment(alone, **params)``.

    ``control`` and ``reads``: those of :class:`Method`.
    """

    def made(function: F) -> Method:
        role: dict[str, Any] = {"augment" if augments else "personalise": function}
        more: dict[str, Any] = {"control": control, "reads": tuple(reads), "version": version}
        return Method(source=source, params=tuple(params), **more, **role)

    return _marking(made)


def attack(*, source: str, needs: Sequence[str], people: bool = False, version: int = 1) -> Callable[[F], F]:
    """Mark the file's function as an attack: ``score(signals) -> float array [items]``, higher = member."""

    def made(function: F) -> Attack:
        return Attack(
            source=source,
            needs=tuple(needs),
            score=function,
            people=people,
            reads=("population",) if any(need.startswith("population_") for need in needs) else (),
            version=version,
        )

    return _marking(made)


def game(
    *,
    source: str,
    says: str,
    unit: Unit,
    randomised: bool,
    whole: bool = False,
    selector: str | None = None,
    queries: type[Any] | None = None,
    redraw: Callable[..., Any] | None = None,
    samples: bool = False,
    exposes: Exposed = "sharers",
    reads: Sequence[str] = (),
    version: int = 1,
) -> Callable[[F], F]:
    """Mark the file's function as a game: ``deal(audited, pool) -> Dealt`` says who is a member.

    ``unit`` to ``selector`` are those of ``prime_audit.audit.design.Design``, the rest those of :class:`Game`.
    """

    if exposes not in get_args(Exposed):
        raise ValueError(f"exposes={exposes!r}: pass one of {', '.join(get_args(Exposed))}")

    def made(function: F) -> Game:
        from prime_audit.audit.design import Design

        return Game(
            source=source,
            says=says,
            design=Design(unit=unit, randomised=randomised, whole=whole, selector=selector),
            deal=function,
            queries=queries,
            redraw=redraw,
            samples=samples,
            exposes=exposes,
            reads=(*reads, *(["nonmember_items"] if samples else [])),
            version=version,
        )

    return _marking(made)


def _marking(made: Callable[[F], Plugin]) -> Callable[[F], F]:
    """Return the decorator that attaches to a function the plugin made of it."""

    def mark(function: F) -> F:
        function.plugin = made(function)  # type: ignore[attr-defined]
        return function

    return mark


def second_paragraph(doc: str | None) -> str:
    """Return the paragraph after the first one of a docstring, in one line; empty where there is none."""
    paragraphs = re.split(r"\n\s*\n", (doc or "").strip())
    return " ".join(paragraphs[1].split()) if len(paragraphs) > 1 else ""


def first_line(doc: str | None) -> str:
    """Return the first line of a docstring; empty where there is none."""
    return (doc or "").strip().partition("\n")[0]
