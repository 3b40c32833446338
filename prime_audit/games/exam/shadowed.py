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
    owners, played = np.array(pool.owners), np.array([inside.size > 0 for inside in pool.inside], dtype=bool)
    shadows = range(community.number("shadows"))
    for sharer, engine in community.with_shadows():
        name, own = bank_name(sharer.user.id), np.flatnonzero(played & (owners == sharer.user.id))
        same: dict[tuple[object, ...], list[str]] = {}
        for target, mixture in models.items():
            asked = np.intersect1d(own, rows[target])
            if name in mixture.names and asked.size:
                same.setdefault((_content(mixture), asked.tobytes()), []).append(target)
        names = [shadow_name(sharer.user.id, n) for n in shadows]
        there = [n for n in shadows if names[n] in engine.bank.names]
        places = [
            (targets, row)
            for targets in same.values()
            for row in np.intersect1d(own, rows[targets[0]]).tolist()
        ]
        probes = [
            Probe(
                pool.prompts[row],
                _with(models[targets[0]], name, names[n]),
                (Continuation(pool.golds[row]),),
            )
            for targets, row in places
            for n in there
        ]
        if not probes:
            continue
        with community.stage(f"{label} · shadows", len(probes)) as tick:
            seen = iter(engine.observe(probes, tick=tick))
        for targets, row in places:
            nll = np.full(len(names), np.nan)
            nll[there] = [-next(seen).logprobs[0].mean() for _ in there]
            for target in targets:
                found[target][row] = nll
    return found


def _with(mixture: Mixture, name: str, shadow: str) -> Mixture:
    return replace(mixture, names=tuple(shadow if n == name else n for n in mixture.names))


def _content(mixture: Mixture) -> tuple[object, ...]:
    return mixture.rule, mixture.names, mixture.weights.shape, mixture.weights.tobytes()
