"""The empirical ε of a game: a lower bound on the ε of the audited mechanism, by a rule fixed beforehand.

Where membership was selected there is no bound: an attack's success proves nothing about ε.

* Items drawn from their owner's own: ``split_epsilon``. The threshold is chosen on half of the people and counted on
  the others, one item a person and side. Where a fixed number of items is drawn, a member and a non-member differ by an
  *exchange*, which (ε, 0)-privacy under adding an item allows 2ε: the bound is half of what was counted.
* Sharers drawn by coin: one-run auditing (Steinke et al. 2023). All targets' coins are fair and independent, one for
  each (target, candidate): m of them. A coin's score is the mean over the sharer's items of the attack's score, minus
  the same from the unmerged base: what the items are like without the adapter is no evidence. The ⌊m/4⌋ coins with the
  highest scores are guessed to be in, the ⌊m/4⌋ with the lowest to be out; of equal ones the earlier. The others are
  abstained from. Targets whose coins all fell alike count too: without them the coins are not independent.

ε is that of adding or removing the unit (an item of a sharer's training set; a sharer's part in one target's merge), at
δ = 0. The error probability is shared among the attacks of a method and game (Bonferroni), so that the highest of the
bounds holds as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray, Undefined, numbered
from prime_audit.audit.design import Dealt, Design
from prime_audit.audit.epsilon import one_run_epsilon
from prime_audit.audit.splitting import Bound, split_epsilon

ALPHA = 0.05
"""Error probability of the bounds of one method and game together."""
EXCHANGE = 2
"""An exchange is one item removed and one added."""


def empirical_epsilon(
    design: Design,
    dealt: Sequence[Dealt],
    scores: Mapping[str, FloatArray],
    base: Mapping[str, FloatArray] | None,
    *,
    attacks: int,
    seed: int,
) -> Bound:
    """Bound ε from one attack's ``scores`` by target, by the rule above.

    ``base`` is the same attack's scores from the unmerged base; ``attacks`` share the error probability. Undefined
    where the game allows no bound, or the data are too few.
    """
    known, alpha = [d for d in dealt if d.target in scores], ALPHA / attacks
    if not design.randomised:
        raise Undefined("membership was selected, not drawn: success proves nothing about ε")
    if design.whole:
        return _one_run(known, scores, base, alpha)
    panels = [d.panel(scores[d.target]) for d in known]
    found = split_epsilon(panels, seed=seed, alpha=alpha)
    if not design.fixed:
        return found
    return replace(found, value=found.value / EXCHANGE, ceiling=found.ceiling / EXCHANGE)


def _one_run(
    dealt: Sequence[Dealt],
    scores: Mapping[str, FloatArray],
    base: Mapping[str, FloatArray] | None,
    alpha: float,
) -> Bound:
    if base is None:
        raise Undefined(
            "coins are bounded together, with the unmerged base's scores: the run's record holds it"
        )
    if not dealt:
        raise Undefined("no coins")
    with np.errstate(invalid="ignore"):
        gains = np.concatenate([scores[d.target] - base[d.target] for d in dealt])
    gains = np.nan_to_num(gains, nan=0.0)  # infinite under both models: no evidence
    return coin_bound(gains, np.concatenate([d.members for d in dealt]), alpha=alpha)


def coin_bound(gains: FloatArray, coins: BoolArray, *, alpha: float = 0.05, delta: float = 0.0) -> Bound:
    """Bound ε by one-run auditing of fair ``coins`` [m], guessed from ``gains`` [m]; Undefined below four coins."""
    low, high = guesses(gains)
    right = int((~coins[low]).sum() + coins[high].sum())
    made = low.size + high.size
    if not made:
        raise Undefined(f"{coins.size} coins are too few to guess any")
    return Bound(
        value=one_run_epsilon(coins.size, made, right, delta, alpha),
        ceiling=one_run_epsilon(coins.size, made, made, delta, alpha),
    )


def guesses(scores: FloatArray) -> tuple[IntArray, IntArray]:
    """Places of the ⌊m/4⌋ lowest and the ⌊m/4⌋ highest of m scores; of equal ones the earlier."""
    count = scores.size // 4
    low = np.argsort(scores, kind="stable")[:count]
    rest = np.setdiff1d(np.arange(scores.size), low)
    high = rest[np.argsort(-scores[rest], kind="stable")[:count]]
    return low, high


def by_sharer(dealt: Dealt, scores: FloatArray) -> tuple[Dealt, FloatArray]:
    """Average each sharer's scores [items]; return the game with each sharer's first row, and the means [sharers]."""
    owners, place = numbered(dealt.owners)
    _, first = np.unique(place, return_index=True)
    together = np.split(scores[np.argsort(place, kind="stable")], np.cumsum(np.bincount(place))[:-1])
    with np.errstate(invalid="ignore"):
        means = np.array([own.mean() for own in together])
    means = np.where(np.isnan(means), np.median(scores), means)  # items at both infinities
    return Dealt(
        target=dealt.target, rows=dealt.rows[first], members=dealt.members[first], owners=owners
    ), means
