"""Sharers that a coin put into a target's merge against those it left out, in a model remade for it.

The candidates are fixed before any coin: the target's 2k most similar sharers (k is ``prime.k``; all sharers where the
community has fewer). The remade model can merge exactly the included ones, whatever the method asks for; where none is
included it merges no sharer. A candidate's coin decides membership, even if the method then gives it no weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from prime_audit.audit.design import Dealt
from prime_audit.engine.mixture import BASE
from prime_audit.games.exam.queries import Models, Queries
from prime_audit.games.exam.stored import Pass
from prime_audit.plugins import Audited, Personal, game
from prime_audit.seeds import rng_of

if TYPE_CHECKING:
    from prime_audit.audit.pool import Pool
    from prime_audit.community.build import Community
    from prime_audit.lamp.data import Dataset
    from prime_audit.plan.plan import MethodSpec


class Remade(Queries):
    """Targets' models remade with the sharers that coins include, queried with the candidates' items."""

    name = "inclusion"
    stage = "signals (inclusion)"
    shadowed = False  # other targets' models depend on other targets' coins
    remakes = True

    @classmethod
    def nothing(cls, made: Sequence[Models]) -> str | None:
        """Give the reason where no target merges any sharer."""
        some = any(p.sharers for own in made for p in own.values())
        return None if some else "merges nobody: there is nobody to include"  # in published records

    def ask(self, community: Community, spec: MethodSpec, models: Models) -> Pass:
        """Throw the coins, remake the models, and query them; a target without included sharers has the base."""
        coins = coins_of(community)
        included = {target: tuple(s for s, coin in own.items() if coin) for target, own in coins.items()}
        made = (
            self.remake(community.including(included), spec.core.label, self.name)
            if any(included.values())
            else {}
        )
        if any(set(p.sharers) - set(included[target]) for target, p in made.items()):
            why = "merges sharers that its coins did not include"  # in published records
            return self.blank(spec, why=why)
        complete = {target: made.get(target, Personal(BASE)) for target in coins}
        return self.see(spec, complete, coins)

    @classmethod
    def cautions(cls, community: Community, data: Dataset, passes: Sequence[Pass]) -> list[str]:
        """Count the targets whose coins all fell alike."""
        coins = next((p.coins for p in passes if p.coins), {})
        alike = sum(len(set(own.values())) < 2 for own in coins.values())
        if not alike:
            return []
        return [
            f"inclusion game: all coins of {alike} of {len(coins)} targets fell on one side; these targets count in "
            "the bound on ε, and in no AUC"
        ]


def coins_of(community: Community) -> dict[str, Mapping[str, bool]]:
    """Throw each target's own coins, the same for every method: target → candidate, most similar first → coin."""
    count = min(2 * community.number("prime.k"), len(community.sharers))
    coins: dict[str, Mapping[str, bool]] = {}
    for user in community.targets:
        near = community.nearest(user.id, count)
        thrown = rng_of(community.seed, "inclusion", community.task.name, user.id).integers(2, size=count)
        coins[user.id] = {s: bool(c) for s, c in zip(near, thrown.tolist(), strict=True)}
    return coins


def _new_coins(one: Pass, pool: Pool, rng: np.random.Generator) -> tuple[Pass, Pool]:
    """Throw a fair coin for each target and sharer."""
    everybody = sorted(set(pool.owners))
    thrown = {t: rng.integers(2, size=len(everybody)).astype(bool).tolist() for t in one.seen}
    return replace(one, coins={t: dict(zip(everybody, own, strict=True)) for t, own in thrown.items()}), pool


@game(
    source="ours; ε by one-run auditing (Steinke et al. 2023)",
    says="Coins decided which sharers a target may merge: this game can say leaks, of who was merged, in a model made "
    "for it; it does not query the deployed one.",
    unit="sharer",
    randomised=True,
    whole=True,
    queries=Remade,
    redraw=_new_coins,
    reads=("prime.k",),
)
def inclusion(audited: Audited, pool: Pool) -> Dealt:
    """Members: last trained examples of the candidates whose coin included them; non-members: those of the others.

    A target whose coins all fell alike has one side only: it has no AUC but is queried all the same, for the bound on
    ε counts every coin.
    """
    own = audited.coins
    rows = np.flatnonzero(pool.last & pool.of(own))
    if not rows.size:
        return Dealt.nothing(audited.target, "no candidates for the target's merge")  # in published records
    owners = [pool.owners[r] for r in rows]
    return Dealt(
        target=audited.target,
        rows=rows,
        members=np.array([own[owner] for owner in owners], dtype=np.bool_),
        owners=owners,
    )
