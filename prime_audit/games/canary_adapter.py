"""Canaries, queried in a sharer's own adapter, as a recipient downloads it: the worst case of sharing itself."""

from __future__ import annotations

from prime_audit.audit.design import Dealt
from prime_audit.audit.pool import Pool
from prime_audit.games.exam.planted import OwnCanaries, canaries_by_lot, dealt_canaries
from prime_audit.plugins import Audited, game


@game(
    source="Carlini et al. 2019; two of the designs: Panda et al. 2025",
    says="A draw decided which canaries the adapter was trained on: this game can say leaks, in the worst case, of "
    "what the shared adapter itself gives away; no merge takes part, and no real item.",
    unit="item-within-sharer",
    randomised=True,
    queries=OwnCanaries,
    redraw=canaries_by_lot,
    exposes="shared adapters",
)
def canary_adapter(audited: Audited, pool: Pool) -> Dealt:
    """Members: trained canaries of the adapter's owner; non-members: as many that no model was trained on."""
    return dealt_canaries(audited, pool)
