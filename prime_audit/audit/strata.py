"""Sampling non-members by stratum: few items of every sharer instead of all items of every sharer.

In the paper's game each target's model is asked for the items of every sharer, and all sharers but the merged few are
non-members. Items of one sharer resemble each other, so the interval narrows with the number of sharers, and hardly
with their number of items: a few of each say nearly as much (``tests/benchmarks/test_sampling_bench.py``).

The stratum is the sharer. A target's sample of a sharer is drawn without replacement, each set of so many as likely as
any other, by a generator of the run's seed, the task, the target and the sharer: before any score is seen, the same for
every method, and whoever else is merged. Larger samples hold the smaller ones. Members are never sampled.

What the sampled AUC estimates: the AUC in which each other sharer counts with min(N, her items), averaged over her
items; unbiased over the draw for any score that does not depend on which other items are in play. Where all sharers
have as many items in the game, that is the AUC of all items. Where they have not, it is another one: the unsampled AUC
weighs a sharer by her items, the sampled one nearly alike, and no weights are used to undo this. Some scores do depend
on what else is in play: ``user_level`` averages a non-member over her sampled items alone (so its p leans, in the game
that is never called a leak), LiRA pools a deviation over the items in play, the bag of words learns from them, an
undefined item takes their median. Their sampled figures are of the sampled game.

What shadow models lose: another target's model is an OUT model for the items of the sharers that were drawn for its own
game, so in the paper's game an item has fewer of them, whichever side it is on. In the heldout game nothing of a sharer
who is not merged is asked for: the unmerged base is the only OUT model there, for trained and held-out items alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from prime_audit.audit.auc import BoolArray, IntArray
from prime_audit.seeds import rng_of


def sampled(
    strata: Mapping[str, IntArray], targets: Iterable[str], each: int, *, seed: int, task: str
) -> dict[str, IntArray]:
    """Draw every target's sample of every sharer.

    Parameters
    ----------
    strata
        Sharer → rows of the pool that are hers in the paper's game.
    targets
        Ids.
    each
        Rows drawn of each sharer, at least 0; all, where she has no more. 0: nothing is sampled.
    seed, task
        The run's seed and the task's name.

    Returns
    -------
    dict
        Target → her rows of the pool, ascending; empty where that leaves no row out: nothing is sampled then.
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
