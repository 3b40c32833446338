"""Sampling non-members by stratum: a few items of every sharer instead of all items of every sharer.

In the paper's game each target's model is queried for the items of every sharer. All sharers except the merged few
are non-members. Items of one sharer resemble each other, so the interval narrows with the number of sharers, and
hardly with their number of items. A few items of each are nearly as informative
(``tests/benchmarks/test_sampling_bench.py``).

The stratum is the sharer. A target's sample of a sharer is drawn without replacement, uniformly. Its generator
depends on the run's seed, the task, the target and the sharer. So it is fixed before any score is seen, is the same
for every method, and does not depend on who else is merged. Larger samples contain the smaller ones. Members are
never sampled.

The sampled AUC estimates an AUC in which each other sharer counts with min(N, their items), averaged over their
items. It is unbiased over the draw for any score that does not depend on the other items in the game. Where all
sharers have the same number of items in the game, that is the AUC of all items. Otherwise it differs: the unsampled
AUC weighs a sharer by their items, the sampled one nearly equally, and no weights correct this. Some scores depend on
the other items in the game. ``user_level`` averages a non-member over their sampled items only, so its p is biased in
the game that is never called a leak. LiRA pools a deviation over the items in the game, the bag of words learns from
them, and an undefined item gets their median. Their sampled results describe the sampled game.

Shadow models become fewer. Another target's model is an OUT model for the items of the sharers that were drawn for
its own game. So in the paper's game an item has fewer OUT models, whichever side it is on. In the heldout game
nothing is queried of a sharer who is not merged. There the unmerged base is the only OUT model, for trained and
held-out items.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from prime_audit.audit.auc import BoolArray, IntArray
from prime_audit.seeds import rng_of


def sampled(
    strata: Mapping[str, IntArray], targets: Iterable[str], each: int, *, seed: int, task: str
) -> dict[str, IntArray]:
    """Draw every target's sample of ``each`` rows of every sharer -> target: its rows of the pool, ascending.

    ``strata``: sharer → their rows of the pool in the paper's game. A sharer with no more than ``each`` rows gives all.
    Empty where that is so for everyone, or ``each`` is 0: nothing is sampled.
    """
    if not each or all(rows.size <= each for rows in strata.values()):
        return {}
    return {
        target: np.sort(
            np.concatenate(
                [_drawn(rows, each, seed, task, target, sharer) for sharer, rows in strata.items()]
            )
        )
        for target in targets
    }


def _drawn(rows: IntArray, each: int, seed: int, task: str, target: str, sharer: str) -> IntArray:
    order = rng_of(seed, "nonmembers", task, target, sharer).permutation(rows.size)
    return rows[order[:each]]


def strata_of(owners: Iterable[str], last: BoolArray) -> dict[str, IntArray]:
    """Sort the paper game's rows of a pool by owner."""
    found: dict[str, list[int]] = {}
    for row, (owner, inside) in enumerate(zip(owners, last.tolist(), strict=True)):
        if inside:
            found.setdefault(owner, []).append(row)
    return {owner: np.array(rows, dtype=np.int64) for owner, rows in found.items()}
