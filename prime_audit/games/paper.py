"""Merged sharers against all others, as published: selected, not drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from prime_audit.audit.design import Dealt
from prime_audit.audit.pool import Pool
from prime_audit.games.exam.stored import Pass
from prime_audit.plugins import Audited, game


def _by_lot(one: Pass, pool: Pool, rng: np.random.Generator) -> tuple[Pass, Pool]:
    """Let each target merge as many sharers, drawn at random."""
    everybody = sorted(set(pool.owners))
    merged = {t: tuple(rng.choice(everybody, len(m), replace=False).tolist()) for t, m in one.merged.items()}
    return replace(one, merged=merged), pool


@game(
    source="PriME, the membership game of its privacy analysis",
    says="Members were selected for being like the target, so this game can never say leaks, at most confounded.",
    unit="sharer",
    randomised=False,
    selector="similarity_only",
    redraw=_by_lot,
    samples=True,
)
def paper(audited: Audited, pool: Pool) -> Dealt:
    """Members: last trained examples of the merged sharers; non-members: those of all other sharers, or a sample."""
    target, merged = audited.target, audited.merged
    if not merged:
        return Dealt.nothing(target, "merges nobody: no members")  # in published records, like the next
    if set(merged) >= set(pool.owners):
        return Dealt.nothing(target, "merges every sharer: no non-members")
    rows = np.flatnonzero(pool.last)
    members = pool.of(merged)[rows]
    if not pool.sampled:
        return pool.deal(target, rows, members)
    drawn = np.isin(rows, pool.sampled[target])
    kept = members | drawn
    found = pool.deal(target, rows[kept], members[kept])
    return replace(found, even=drawn[kept]) if found.reason is None else found
