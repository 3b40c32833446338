"""Asking for canaries: of targets' deployed models, and of every sharer's adapter alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from prime_audit.audit.design import Dealt
from prime_audit.audit.pool import Pool
from prime_audit.community.canaries import design_of
from prime_audit.games.exam.queries import Queries, population, texts_of
from prime_audit.games.exam.single import Adapters
from prime_audit.games.exam.stored import Pass
from prime_audit.plugins import Audited

if TYPE_CHECKING:
    from prime_audit.community.build import Community
    from prime_audit.lamp.data import Dataset


class Canaries(Queries):
    """Targets' models as deployed, each queried with the sharers' canaries."""

    name = "canary"
    stage = "signals (canary)"
    plants = True

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


class OwnCanaries(Adapters, Canaries):
    """Every sharer's adapter alone, queried with that sharer's canaries; a pass's targets are the sharers."""

    name = "canary_adapter"
    stage = "signals (canary_adapter)"


def dealt_canaries(audited: Audited, pool: Pool) -> Dealt:
    """Deal the canaries of the merged sharers: those trained on, and those that no model was trained on."""
    if not audited.merged:
        return Dealt.nothing(audited.target, "no sharer is merged: no members")
    rows = np.flatnonzero(pool.of(audited.merged))
    dealt = pool.deal(audited.target, rows, pool.trained[rows])
    return replace(dealt, strata=_strata(pool, dealt.rows.tolist()))


def canaries_by_lot(one: Pass, pool: Pool, rng: np.random.Generator) -> tuple[Pass, Pool]:
    """Draw at random which canaries of each sharer and design were trained on: as many as were (``Game.redraw``)."""
    trained, strata = pool.trained.copy(), np.array(_strata(pool, range(len(pool))))
    for stratum in sorted(set(strata.tolist())):
        own = np.flatnonzero(strata == stratum)
        trained[own] = rng.permutation(trained[own])
    return one, replace(pool, trained=trained)


def _strata(pool: Pool, rows: Iterable[int]) -> list[str]:
    """Name what membership was drawn within: each canary's sharer and design, [rows]."""
    return [f"{pool.owners[r]} · {design_of(pool.ids[r])}" for r in rows]
