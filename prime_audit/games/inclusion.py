"""The inclusion game: fair coins decide which sharers enter a target's merge, and the method is run again with those.

The candidates are fixed before any coin: her 2k most similar sharers (k of the preset's ``prime.k``; all, where the
community has fewer). Her pool in the new run is exactly the included ones, whatever the method asks for; where none is
included she merges nobody. A candidate is a member by her coin, whether or not the method then gives her any weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prime_audit.community.build import Community
from prime_audit.engine.mixture import BASE
from prime_audit.games.deal import Game
from prime_audit.games.observe import Leakage
from prime_audit.plugins import Attack, Personal
from prime_audit.seeds import rng_of


@dataclass(frozen=True)
class Draw:
    """All targets' coins."""

    coins: Mapping[str, Mapping[str, bool]]
    """Target → each of her candidates, most similar first, and whether the coin included her."""

    @classmethod
    def of(cls, community: Community) -> Draw:
        """Throw the coins: each target's are her own, the same for every method."""
        count = min(2 * community.number("prime.k"), len(community.sharers))
        coins = {}
        for user in community.targets:
            near = community.nearest(user.id, count)
            thrown = rng_of(community.seed, "inclusion", community.task.name, user.id).integers(2, size=count)
            coins[user.id] = {s: bool(c) for s, c in zip(near, thrown.tolist(), strict=True)}
        return cls(coins)

    @property
    def included(self) -> dict[str, tuple[str, ...]]:
        """Target → the included sharers, most similar first; empty where the coins left all out."""
        return {target: tuple(s for s, coin in own.items() if coin) for target, own in self.coins.items()}

    def strays(self, made: Mapping[str, Personal]) -> bool:
        """Tell whether a model merged somebody whom its coins did not include."""
        included = self.included
        return any(set(p.sharers) - set(included[target]) for target, p in made.items())

    def complete(self, made: Mapping[str, Personal]) -> dict[str, Personal]:
        """Give the base to targets whose coins included nobody: their coins count like all others."""
        return {target: made.get(target, Personal(BASE)) for target in self.coins}


class InclusionLeakage(Leakage):
    """The inclusion game on one core's models, on the sharers' pool and the base's pass of the other games.

    Shadow models would tell other targets' coins, so there are none, and each is asked for her candidates' items alone.
    """

    stage = "signals (inclusion)"
    shadows = False

    def __init__(self, community: Community, game: Game, attacks: Sequence[Attack], modules: Leakage) -> None:
        super().__init__(community, [game], attacks, modules.pool)
        self.base = modules.see_base() if len(modules.pool) else None
