"""What a merged sharer's adapter was trained on against that sharer's own held-out items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from prime_audit.audit.design import Dealt
from prime_audit.audit.pool import Pool
from prime_audit.audit.signs import marked
from prime_audit.games.exam.stored import Pass
from prime_audit.plugins import Audited, game


def _trained_by_lot(one: Pass, pool: Pool, rng: np.random.Generator) -> tuple[Pass, Pool]:
    """Draw by lot which items of each sharer were trained on: as many as were."""
    trained, owners = pool.trained.copy(), np.array(pool.owners)
    for sharer in sorted(set(pool.owners)):
        own = np.flatnonzero(pool.drawn & (owners == sharer))
        trained[own] = rng.permutation(trained[own])
    return one, replace(pool, trained=trained, given=False)  # what we draw is random


@game(
    source="ours",
    says="Members were drawn from a merged sharer's own items: this game can say leaks, of what the sharer trained on; "
    "it does not ask whether they were merged.",
    unit="item-within-sharer",
    randomised=True,
    redraw=_trained_by_lot,
)
def heldout(audited: Audited, pool: Pool) -> Dealt:
    """Members: trained items of the merged sharers, drawn at random; non-members: as many held-out items of theirs."""
    if not audited.merged:
        return Dealt.nothing(audited.target, "merges nobody: no members")  # in published records
    rows = np.flatnonzero(pool.drawn & pool.of(audited.merged))
    if pool.trained[rows].all():
        # In published records.
        return Dealt.nothing(audited.target, "no merged sharer has held-out items: no non-members")
    return marked(pool.deal(audited.target, rows, pool.trained[rows]), pool)
