"""Canaries that the merged sharers' adapters were trained on against others that no model was trained on."""

from __future__ import annotations

from prime_audit.audit.design import Dealt
from prime_audit.audit.pool import Pool
from prime_audit.games.exam.planted import Canaries, canaries_by_lot, dealt_canaries
from prime_audit.plugins import Audited, game


@game(
    source="Carlini et al. 2019; two of the designs: Panda et al. 2025",
    says="A draw decided which canaries a sharer's adapter was trained on: this game can say leaks, in the worst case, "
    "of items made to be remembered; it does not ask about real items.",
    unit="item-within-sharer",
    randomised=True,
    queries=Canaries,
    redraw=canaries_by_lot,
)
def canary(audited: Audited, pool: Pool) -> Dealt:
    """Members: trained canaries of the merged sharers; non-members: as many that no model was trained on."""
    return dealt_canaries(audited, pool)
