"""What a model would say of its items had their owner's adapter been trained on other halves of them (item-level LiRA).

The owner's adapter is replaced by each of the owner's shadow adapters; weights, rule and the other adapters stay. For
the adapter itself this is LiRA as in the paper. For a merged model it is the model as the merge would be, had its
weights been chosen for the shadow: they were chosen for the adapter as it is, and that choice is the audited model's.

Probes: models that differ × their merged sharers × items in play × shadows. Targets with the same model share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from prime_audit.audit.auc import FloatArray, IntArray
from prime_audit.audit.pool import Pool
from prime_audit.community.shadows import shadow_name
from prime_audit.community.sharers import bank_name
from prime_audit.engine.mixture import Continuation, Mixture, Probe

if TYPE_CHECKING:
    from prime_audit.community.build import Community

EMPTY = np.zeros(0)


def shadowed(
    community: Community, pool: Pool, label: str, models: Mapping[str, Mixture], rows: Mapping[str, IntArray]
) -> dict[str, list[FloatArray]]:
    """Return target → per row of the pool, mean NLL under the target's model with each shadow of the row's owner.

    [rows] of [shadows]; empty for a row that is not in play, not among the target's ``rows``, or whose owner's adapter
    is not in the model. NaN for a shadow whose training diverged.
    """
    found = {target: [EMPTY] * len(pool) for target in models}
    places = {s.user.id: _places(pool, s.user.id, models, rows) for s in community.sharers}
    count = community.number("shadows")
    total = count * sum(map(len, places.values()))
    if not total:
        return found
    community.train_shadows()
    with community.stage(f"{label} · shadows", total) as tick:
        for user, own in places.items():
            engine, names = community.with_shadows(user), [shadow_name(user, n) for n in range(count)]
            there = [n for n, name in enumerate(names) if name in engine.bank.names]
            probes = [
                Probe(
                    pool.prompts[row],
                    _with(models[targets[0]], user, names[n]),
                    (Continuation(pool.golds[row]),),
                )
                for targets, row in own
                for n in there
            ]
            seen = iter(engine.observe(probes, tick=tick) if probes else ())
            for targets, row in own:
                nll = np.full(count, np.nan)
                nll[there] = [-next(seen).logprobs[0].mean() for _ in there]
                for target in targets:
                    found[target][row] = nll
    return found


def _places(
    pool: Pool, user: str, models: Mapping[str, Mixture], rows: Mapping[str, IntArray]
) -> list[tuple[list[str], int]]:
    """List a sharer's rows in play, with the targets whose model has the sharer's adapter, by models that differ."""
    own = np.flatnonzero(pool.drawn & pool.of([user]))
    same: dict[tuple[object, ...], tuple[list[str], list[int]]] = {}
    for target, mixture in models.items():
        if bank_name(user) in mixture.names:
            asked = np.intersect1d(own, rows[target]).tolist()
            weights = mixture.weights.shape, mixture.weights.tobytes()
            same.setdefault((mixture.rule, mixture.names, *weights, *asked), ([], asked))[0].append(target)
    return [(targets, row) for targets, asked in same.values() for row in asked]


def _with(mixture: Mixture, user: str, shadow: str) -> Mixture:
    name = bank_name(user)
    return replace(mixture, names=tuple(shadow if n == name else n for n in mixture.names))
