"""Canaries that the merged sharers' adapters were trained on against canaries of theirs that nobody has seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from prime_audit.audit.design import Dealt
from prime_audit.audit.pool import Pool
from prime_audit.community.canaries import design_of
from prime_audit.games.exam.queries import Queries, population, texts_of
from prime_audit.games.exam.stored import Pass
from prime_audit.plugins import Audited, game

if TYPE_CHECKING:
    from prime_audit.community.build import Community
    from prime_audit.lamp.data import Dataset


class Canaries(Queries):
    """Targets' models as deployed, each queried with the sharers' canaries."""

    name = "canary"
    stage = "signals (canaries)"

    @classmethod
    def items(cls, community: Community, data: Dataset) -> Pool:
        """Gather every sharer's canaries, trained on or not."""
        rows = [(s.user.id, c) for s in community.sharers for c in community.canaries.get(s.user.id, ())]
        none = np.zeros(len(rows), dtype=np.bool_)
        return Pool(
            owners=[owner for owner, _ in rows],
            ids=[c.example.id for _, c in rows],
            prompts=[c.example.prompt for _, c in rows],
            golds=[c.example.gold for _, c in rows],
            trained=np.array([c.trained for _, c in rows], dtype=np.bool_),
            last=none,
            drawn=~none,
            twins=[[owner] if c.trained else [] for owner, c in rows],
            population=texts_of(population(community)),
        )


def strata_of(pool: Pool, rows: Iterable[int]) -> list[str]:
    """Name what membership was drawn within: each canary's sharer and design, [rows]."""
    return [f"{pool.owners[r]} · {design_of(pool.ids[r])}" for r in rows]


def _trained_by_lot(one: Pass, pool: Pool, rng: np.random.Generator) -> tuple[Pass, Pool]:
    """Draw by lot which canaries of each sharer and design were trained on: as many as were."""
    trained, strata = pool.trained.copy(), np.array(strata_of(pool, range(len(pool))))
    for stratum in sorted(set(strata.tolist())):
        own = np.flatnonzero(strata == stratum)
        trained[own] = rng.permutation(trained[own])
    return one, replace(pool, trained=trained)


@game(
    source="Carlini et al. 2019; two of the designs: Panda et al. 2025",
    says="A draw decided which canaries a sharer's adapter was trained on: this game can say leaks, in the worst case, "
    "of items made to be remembered; it does not ask about real items.",
    unit="item-within-sharer",
    randomised=True,
    queries=Canaries,
    redraw=_trained_by_lot,
)
def canary(audited: Audited, pool: Pool) -> Dealt:
    """Members: canaries of the merged sharers that were trained on; non-members: as many that nobody has seen."""
    if not audited.merged:
        return Dealt.nothing(audited.target, "no sharer is merged: no members")
    rows = np.flatnonzero(pool.of(audited.merged))
    dealt = pool.deal(audited.target, rows, pool.trained[rows])
    return replace(dealt, strata=strata_of(pool, dealt.rows.tolist()))
