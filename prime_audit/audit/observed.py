"""What one model said of the pool, and the signals that a game's items get from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.games import Dealt
from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import ABSENT, Rows, Signals, mean_nll

if TYPE_CHECKING:
    from prime_audit.engine.mixture import Observation


@dataclass(frozen=True, eq=False)
class Observed:
    """One model's pass over the pool: a row each, float64 [T] arrays; absent fields were not asked for."""

    logprobs: Rows
    mu: Rows
    sigma: Rows
    lower_logprobs: Rows
    prefix_logprobs: Rows
    population: Rows
    """Log-probabilities of the known non-members."""

    @classmethod
    def gather(cls, found: Sequence[Observation], rows: int, extras: Sequence[str]) -> Observed:
        """Sort the engine's observations, the pool's rows first, by signal; ``extras`` in the probes' order."""
        own = found[:rows]
        moments = bool(own) and own[0].mu is not None
        return cls(
            [o.logprobs[0] for o in own],
            [_known(o.mu) for o in own] if moments else ABSENT,
            [_known(o.sigma) for o in own] if moments else ABSENT,
            **{
                name: [o.logprobs[1 + extras.index(name)] for o in own] if name in extras else ABSENT
                for name in ("lower_logprobs", "prefix_logprobs")
            },
            population=[o.logprobs[0] for o in found[rows:]],
        )


def _known(values: FloatArray | None) -> FloatArray:
    assert values is not None
    return values


def signals_of(
    own: Observed,
    base: Observed,
    others: Mapping[str, Observed],
    merged: Mapping[str, Sequence[str]],
    pool: Pool,
    dealt: Dealt,
    similarity: FloatArray,
) -> Signals:
    """Take a game's rows out of a model's pass, with the other targets' models as shadow models.

    A module that contains an item's owner is an IN model for it, any other an OUT model, the base among them
    (a community LiRA). Membership in the audited model decides nothing here.
    """
    rows = dealt.rows
    nll = {target: mean_nll(seen.logprobs) for target, seen in others.items()}
    floor = mean_nll(base.logprobs)
    inside = {target: set(merged[target]) for target in others}

    def take(values: Rows) -> Rows:
        return ABSENT if values is ABSENT else [values[r] for r in rows]

    shadows = [
        (
            [nll[t][r] for t in others if pool.owners[r] in inside[t]],
            [floor[r], *(nll[t][r] for t in others if pool.owners[r] not in inside[t])],
        )
        for r in rows
    ]
    crowd = [mean_nll(base.population), *(mean_nll(seen.population) for seen in others.values())]
    return Signals(
        logprobs=take(own.logprobs),
        mu=take(own.mu),
        sigma=take(own.sigma),
        lower_logprobs=take(own.lower_logprobs),
        prefix_logprobs=take(own.prefix_logprobs),
        base_logprobs=take(base.logprobs),
        texts=[pool.golds[r] for r in rows],
        prompts=[pool.prompts[r] for r in rows],
        owners=[pool.owners[r] for r in rows],
        in_nll=[np.array(i, dtype=np.float64) for i, _ in shadows],
        out_nll=[np.array(o, dtype=np.float64) for _, o in shadows],
        population_logprobs=own.population,
        population_out_nll=[np.array(column) for column in zip(*crowd, strict=True)],
        members=dealt.members,
        similarity=similarity,
    )
