"""What every game needs to be asked: of modules as they were made, of modules made again, of whole systems.

Each chunk of targets is asked by itself, and what its models said is joined: a method is a figure of all its targets,
so where one chunk failed it has none, and what the others said is kept for the next attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from prime_audit.community.build import Community
from prime_audit.community.held import Held
from prime_audit.faults import Failed, first
from prime_audit.games.deal import GAMES, Game, by_coin
from prime_audit.games.inclusion import Draw, InclusionLeakage
from prime_audit.games.observe import Leakage
from prime_audit.games.play import Examined
from prime_audit.games.stored import UNMERGED, Exam, Kind, Pass
from prime_audit.games.target import TargetLeakage
from prime_audit.plan.plan import MethodSpec
from prime_audit.plugins import Attack, Personal

T = TypeVar("T")
Models = Mapping[str, Personal]
"""Target → her model."""
Made = Sequence[Models | Failed]
"""A method's models, chunk by chunk."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some of a task's targets."""

    number: int | None
    """From 0; None where the task has one chunk only."""
    community: Community
    """As it is for them."""


class Attempt(Protocol):
    """Does a part's work, or notes that it failed."""

    def __call__(self, stage: str, method: str, chunk: Chunk, work: Callable[[], T]) -> T | Failed:
        """Return what ``work`` returns, or what stands for it."""
        ...


@dataclass(frozen=True, eq=False)
class Arena:
    """The exam of one task's models."""

    community: Community
    """With all targets."""
    chunks: Sequence[Chunk]
    methods: Sequence[MethodSpec]
    games: Sequence[str]
    """Names, in the order asked for."""
    attacks: Sequence[Attack]
    held: Mapping[str, Held]
    """What is held out of each target; empty without the target game."""
    again: Callable[[Community, str], Models]
    """(community, core's label) → its models made again, for the inclusion game."""
    attempt: Attempt

    def observe(self, personal: Mapping[str, Made]) -> Exam:
        """Ask every core's models, once each, all that the games and attacks need (``play.rounds`` plays on it)."""
        community = self.community
        modules = Leakage(community, self._games(), self.attacks)
        passes = [self._modules(modules, core, made) for core, made in personal.items()]
        if "inclusion" in self.games:
            passes += [self._inclusion(modules, core, made) for core, made in personal.items()]
        pools, bases = {"sharers": modules.pool}, [_base("modules", modules)]
        if "target" in self.games:
            systems = TargetLeakage(community, GAMES["target"], self.attacks, self.held)
            passes += [self._system(systems, method, personal[method.core.label]) for method in self.methods]
            pools["target"] = systems.pool
            bases.append(_base("target", systems))
        ids = [s.user.id for s in community.sharers]
        similarity = {
            u.id: dict(zip(ids, community.similarity(u.id).tolist(), strict=True))
            for u in community.data.targets
            if ids
        }
        return Exam(community.task.name, community.seed, pools, similarity, [*bases, *passes])

    def _games(self) -> list[Game]:
        return [GAMES[name] for name in self.games if name not in ("inclusion", "target")]

    def _labels(self, core: str) -> list[str]:
        return [m.label for m in self.methods if m.core.label == core]

    def _asked(
        self, stage: str, method: str, made: Made, ask: Callable[[Community, Models], T]
    ) -> list[T | Failed]:
        """Ask chunk after chunk; whose models failed is not asked."""
        return [
            own if isinstance(own, Failed) else self.attempt(stage, method, c, partial(ask, c.community, own))
            for c, own in zip(self.chunks, made, strict=True)
        ]

    def _modules(self, modules: Leakage, core: str, made: Made) -> Pass:
        blank = Pass("modules", core, self._labels(core))
        found = self._asked("signals", core, made, lambda _, models: modules.examine(core, models))
        return _joined(blank, found, modules.fields)

    def _inclusion(self, modules: Leakage, core: str, made: Made) -> Pass:
        blank, failed = Pass("inclusion", core, self._labels(core)), first(made)
        if not any(p.sharers for own in made if not isinstance(own, Failed) for p in own.values()):
            why = failed.reason if failed else "merges nobody: there is nobody to include"
            return replace(blank, why=why)
        asked = partial(self._included, modules, core)
        found = self._asked("signals (inclusion)", core, made, lambda community, _: asked(community))
        if failed := first(found):
            return replace(blank, why=failed.reason)
        played = [p for p in found if isinstance(p, _Included)]
        if len(played) < len(found):
            return replace(blank, why="merges sharers that its coins did not include")
        coins = {target: own for p in played for target, own in p.draw.coins.items()}
        return replace(_joined(blank, [p.examined for p in played], modules.fields), coins=coins)

    def _included(self, modules: Leakage, core: str, community: Community) -> _Included | None:
        """Make one chunk's models again by coin, and ask them; None where they merge whom no coin included."""
        draw = Draw.of(community)
        some = any(draw.included.values())
        made = self.again(community.including(draw.included), core) if some else {}
        if draw.strays(made):
            return None
        game = replace(GAMES["inclusion"], deal=partial(by_coin, draw.coins))
        leakage = InclusionLeakage(community, game, self.attacks, modules)
        return _Included(draw, leakage.examine(core, draw.complete(made)))

    def _system(self, systems: TargetLeakage, method: MethodSpec, made: Made) -> Pass:
        def ask(community: Community, models: Models) -> Examined:
            front = method.augment(community.settings, community.task.name)
            return systems.ask(method.label, models, front)

        blank = Pass("target", method.label, [method.label])
        return _joined(blank, self._asked("signals (target)", method.label, made, ask), systems.fields)


@dataclass(frozen=True, eq=False)
class _Included:
    """One chunk of the inclusion game."""

    draw: Draw
    examined: Examined


def _joined(blank: Pass, found: Sequence[Examined | Failed], fields: Sequence[str]) -> Pass:
    """Join what chunks' models said; where one failed, the reason instead."""
    if why := first(found):
        return replace(blank, why=why.reason)
    chunks = [e for e in found if isinstance(e, Examined)]
    merged = {target: own for e in chunks for target, own in e.merged.items()}
    seen = {target: own for e in chunks for target, own in e.seen.items()}
    return replace(blank, merged=merged, seen=seen, fields=fields)


def _base(kind: Kind, leakage: Leakage) -> Pass:
    seen = {UNMERGED: leakage.base} if leakage.base else {}
    return Pass(kind, None, seen=seen, fields=leakage.fields)
