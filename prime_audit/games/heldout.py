"""What a merged sharer's adapter was trained on against that sharer's own held-out items."""

from __future__ import annotations

import numpy as np

from prime_audit.audit.design import Dealt
from prime_audit.audit.pool import Pool
from prime_audit.audit.signs import marked
from prime_audit.games.exam.stored import trained_by_lot
from prime_audit.plugins import Audited, game


@game(
    source="ours",
    says="Members were drawn from a merged sharer's own items: this game can say leaks, of what the sharer trained on; "
    "it does not ask whether they were merged.",
    unit="item-within-sharer",
    randomised=True,
    redraw=trained_by_lot,
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
