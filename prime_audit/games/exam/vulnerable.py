"""How vulnerable single records are, where a run has shadow adapters: the rows of ``vulnerability.jsonl``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prime_audit.audit.design import Dealt
from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import ABSENT, logit
from prime_audit.audit.vulnerability import vulnerability
from prime_audit.games.exam.stored import Pass
from prime_audit.plugins import Game


def vulnerable(game: Game, one: Pass, dealt: Sequence[Dealt], pool: Pool) -> list[dict[str, object]]:
    """Return each record in play that a model has shadows of; φ is averaged over the targets' models that have them."""
    phi: dict[int, list[np.ndarray]] = {}
    for d in dealt if not game.design.of_people else ():
        nll = one.seen[d.target].shadow_nll
        for row in d.rows.tolist() if nll is not ABSENT and len(pool.inside) else ():
            if len(nll[row]):
                phi.setdefault(row, []).append(logit(nll[row]))
    rows = sorted(phi)
    if not rows:
        return []
    means, inside = (
        np.array([np.mean(phi[r], axis=0) for r in rows]),
        np.array([pool.inside[r] for r in rows]),
    )
    found = vulnerability(means, inside, [pool.owners[r] for r in rows])
    limit = None if np.isnan(found.limit) else found.limit
    return [
        {
            "sharer": pool.owners[row],
            "item": pool.ids[row],
            "trained": bool(pool.trained[row]),
            "models": len(phi[row]),
            "shadows": int(np.isfinite(own).sum()),
            "d": None if np.isnan(d) else d,
            "limit": limit,
        }
        for row, own, d in zip(rows, means, found.d.tolist(), strict=True)
    ]
