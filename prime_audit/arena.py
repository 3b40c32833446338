"""What every game needs to be asked: of modules as they were made, of modules made again, of whole systems."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from prime_audit.audit.games import GAMES, Game, by_coin
from prime_audit.audit.stored import UNMERGED, Exam, Kind, Pass
from prime_audit.community.build import Community
from prime_audit.community.held import Held
from prime_audit.inclusion_game import Draw, InclusionLeakage
from prime_audit.leakage import Leakage
from prime_audit.plan import MethodSpec
from prime_audit.plugins import Attack, Personal
from prime_audit.target_game import TargetLeakage

Models = Mapping[str, Personal]
"""Target → her model."""


@dataclass(frozen=True, eq=False)
class Arena:
    """The exam of one task's models."""

    community: Community
    methods: Sequence[MethodSpec]
    games: Sequence[str]
    """Names, in the order asked for."""
    attacks: Sequence[Attack]
    held: Mapping[str, Held]
    """What is held out of each target; empty without the target game."""
    again: Callable[[Community, str], Models]
    """(community, core's label) → its models made again, for the inclusion game."""

    def observe(self, personal: Mapping[str, Models]) -> Exam:
        """Ask every core's models, once each, all that the games and attacks need (``play.rounds`` plays on it)."""
        community = self.community
        modules = Leakage(community, self._games(), self.attacks)
        passes = [self._modules(modules, core, models) for core, models in personal.items()]
        if "inclusion" in self.games:
            passes += [self._inclusion(modules, core, models) for core, models in personal.items()]
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

    def _modules(self, modules: Leakage, core: str, models: Models) -> Pass:
        seen = modules.examine(core, models)
        return Pass("modules", core, self._labels(core), seen.merged, seen=seen.seen, fields=modules.fields)

    def _inclusion(self, modules: Leakage, core: str, models: Models) -> Pass:
        community = self.community
        blank = Pass("inclusion", core, self._labels(core))
        if not any(p.sharers for p in models.values()):
            return replace(blank, why="merges nobody: there is nobody to include")
        draw = Draw.of(community)
        some = any(draw.included.values())
        made = self.again(community.including(draw.included), core) if some else {}
        if draw.strays(made):
            return replace(blank, why="merges sharers that its coins did not include")
        game = replace(GAMES["inclusion"], deal=partial(by_coin, draw.coins))
        leakage = InclusionLeakage(community, game, self.attacks, modules)
        seen = leakage.examine(core, draw.complete(made))
        return replace(blank, merged=seen.merged, coins=draw.coins, seen=seen.seen, fields=leakage.fields)

    def _system(self, systems: TargetLeakage, method: MethodSpec, models: Models) -> Pass:
        front = method.augment(self.community.settings, self.community.task.name)
        seen = systems.ask(method.label, models, front)
        return Pass(
            "target", method.label, [method.label], seen.merged, seen=seen.seen, fields=systems.fields
        )


def _base(kind: Kind, leakage: Leakage) -> Pass:
    seen = {UNMERGED: leakage.base} if leakage.base else {}
    return Pass(kind, None, seen=seen, fields=leakage.fields)
