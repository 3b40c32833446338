"""A simulated null audit of the paper's game, judged by samples of its non-members."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from prime_audit.audit.intervals import auc_interval
from prime_audit.audit.mean_auc import TargetScores
from prime_audit.audit.permutation import permutation_test
from prime_audit.audit.pool import Pool
from prime_audit.audit.strata import sampled, strata_of
from prime_audit.games.exam.simulated import NOISE
from prime_audit.plugins import Audited
from prime_audit.plugins.loading import load_game


@dataclass(frozen=True)
class Sampling:
    """A simulated paper game in which some of each other sharer's items are scored."""

    others: int
    """Non-member items scored, over all targets."""
    width: float
    """Width of the 95 % interval over sharers and targets."""
    p: float
    """Permutation test by sharer."""


def sampling(
    sizes: Sequence[int],
    rng: np.random.Generator,
    *,
    correlation: float,
    sharers: int = 40,
    merged: int = 3,
    items: int = 40,
    targets: int = 20,
    relabellings: int = 0,
) -> dict[int, Sampling]:
    """Simulate one null audit of the paper's game, and judge it by samples of the same scores.

    Parameters
    ----------
    sizes
        Items drawn of each other sharer; 0: all.
    rng
        Decides everything.
    correlation
        Share of an item score's variance that belongs to its sharer.
    sharers, merged, items, targets
        Sharers, how many of them each target merges, items of each, and targets.
    relabellings
        Of the permutation test; 0: none, and p is NaN.
    """
    owner = np.repeat(np.arange(sharers), items)
    score = rng.normal(size=sharers)[owner] * math.sqrt(correlation)
    score += rng.normal(size=owner.size) * math.sqrt(1 - correlation)
    every, names = np.ones(owner.size, dtype=np.bool_), [f"s{s}" for s in owner.tolist()]
    said = {f"t{t}": score + NOISE * rng.normal(size=owner.size) for t in range(targets)}
    near = {t: [f"s{s}" for s in rng.choice(sharers, merged, replace=False).tolist()] for t in said}
    pool = Pool(
        owners=names,
        ids=names,
        prompts=names,
        golds=names,
        trained=every,
        last=every,
        drawn=~every,
        twins=[()] * owner.size,
    )
    paper = load_game("paper")
    seed, found = int(rng.integers(1 << 31)), dict[int, Sampling]()
    for each in sizes:
        drawn = sampled(strata_of(names, every), said, each, seed=seed, task="simulated")
        some = replace(pool, sampled=drawn)
        dealt = [paper.deal(Audited(target=t, merged=near[t]), some) for t in said]
        panels = [TargetScores(d.target, said[d.target][d.rows], d.owners, d.members) for d in dealt]
        low, high = auc_interval(panels).estimate.ci or (math.nan, math.nan)
        p = math.nan
        if relabellings:
            even = [d.exchangeable().panel(d.even_part(said[d.target][d.rows])) for d in dealt]
            p = permutation_test(even, unit="sharer", n=relabellings, seed=seed).p
        found[each] = Sampling(sum(int((~d.members).sum()) for d in dealt), high - low, p)
    return found
