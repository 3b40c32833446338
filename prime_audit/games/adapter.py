"""A sharer's own adapter, as a recipient downloads it: what it was trained on against the sharer's held-out items.

One panel a sharer: the items of ``heldout``, scored under the base with that sharer's adapter at full weight. No merge
takes part, so all methods that merge sharers use one pass and one figure: what sharing leaks before any merge. The
difference to ``heldout`` is what a merge takes away. A recipient also has the factors, so attacks may read white-box
signals here (``Signals.grad_norm``, ``Signals.alignment``).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import numpy as np

from prime_audit.audit.design import Dealt
from prime_audit.audit.pool import Pool
from prime_audit.audit.signs import marked
from prime_audit.games.exam.single import Adapters
from prime_audit.games.exam.stored import Pass, trained_by_lot
from prime_audit.plugins import Audited, game


def _by_lot(one: Pass, pool: Pool, rng: np.random.Generator) -> tuple[Pass, Pool]:
    """Draw by lot what each sharer trained on; of a pass of merged models, take one after the other for a sharer."""
    again, relabelled = trained_by_lot(one, pool, rng)
    people, models = sorted(set(pool.owners)), cycle(one.seen.values())
    seen, merged = {own: next(models) for own in people}, {own: (own,) for own in people}
    return replace(again, seen=seen, merged=merged), relabelled


@game(
    source="ours; white-box signals of Nasr et al. 2019",
    says="Members were drawn from a sharer's own items: this game can say leaks, of what the shared adapter itself "
    "gives away; no merge takes part.",
    unit="item-within-sharer",
    randomised=True,
    queries=Adapters,
    redraw=_by_lot,
    exposes="shared adapters",
)
def adapter(audited: Audited, pool: Pool) -> Dealt:
    """Members: trained items of the adapter's owner, drawn at random; non-members: as many held-out items of theirs."""
    rows = np.flatnonzero(pool.drawn & pool.of(audited.merged))
    return marked(pool.deal(audited.target, rows, pool.trained[rows]), pool)
