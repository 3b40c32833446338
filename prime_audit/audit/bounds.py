"""The empirical ε of a game: a lower bound on the ε of the audited mechanism, by a rule fixed beforehand.

Where membership was selected, or shows signs of it, there is no bound: success proves nothing about ε. Where it was
drawn, both rules are one-run auditing (Steinke et al. 2023): fair coins, each independent given all the others; guesses
made from the scores alone; the number of right ones is then stochastically at most Binomial(guesses, e^ε/(1 + e^ε)),
even where the scores of different units depend on each other. What is guessed from is the *gain*: a score minus the
same from the unmerged base (where there is no base, the score), since what an item is like without the adapter is no
evidence.

* **Matched pairs**, where the members are some of a person's items. Each person's members and non-members are matched
  at random, by seed; where membership was drawn within strata of a person's items, in each stratum. Given the pairs,
  which of the two is the member is a fair coin, and the coins of all pairs are independent: exchanging the two of a
  pair changes neither the probability of the draw (a fixed number of items, or one coin an item, fair or not) nor
  that of the matching. Items that found no partner stay as they are. An item that several targets' models were asked
  is one trial, with its mean gain. The larger gain of a pair is guessed to be the member's, in the half of the pairs
  with the largest gaps; no guess is made from equal gains. A pair is an *exchange*, one item removed and one added,
  which (ε, 0)-privacy under adding an item allows 2ε: the bound is half of what was counted. Where membership is
  exchanged between whole people or among a target's items, these are matched instead; items with those that the same
  targets are asked. Where people are members for one target and not for another, and no game throws coins for each
  target, there is no bound.
* **Coins**, where one decided for each target and person. Within each target of c coins the ⌊c/4⌋ people with the
  lowest mean gain are guessed to be out, and the ⌊c/4⌋ with the highest to be in; of equal ones the earlier. Guesses
  within a target cannot tell how many are in, only who. Targets whose coins all fell alike count too: without them
  the coins are not independent.

ε is that of adding or removing the unit (an item of a training set; a sharer's part in one target's merge), at δ = 0.
The error probability is shared among the attacks of a method and game (Bonferroni): all their bounds hold together
with probability 1 - ``ALPHA``, and so does the highest. Nothing is shared among methods, games and tasks: of 20 methods
one may have a bound above the truth.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray, Undefined, numbered
from prime_audit.audit.design import Dealt, Design
from prime_audit.audit.epsilon import one_run_epsilon
from prime_audit.audit.exchange import item_keys

ALPHA = 0.05
"""Error probability of the bounds of one method and game together."""
EXCHANGE = 2
"""An exchange is one item removed and one added."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A lower bound on ε."""

    value: float
    """Lower bound on ε, with confidence 1 - alpha; 0 where nothing is shown."""
    ceiling: float
    """The largest bound possible with as many guesses: every one right."""


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

    ``base`` is the same attack's scores from the unmerged base, of the same targets; ``attacks`` share the error
    probability. Undefined where the game allows no bound, or the data are too few.
    """
    if not design.randomised:
        raise Undefined("membership was selected, not drawn: success proves nothing about ε")
    known, alpha = [d for d in dealt if d.target in scores], ALPHA / attacks
    if not known:
        raise Undefined("no scores")
    gains = [_gains(scores[d.target], base[d.target] if base else None) for d in known]
    if not design.whole:
        return pair_bound(matched_gaps(design, known, gains, np.random.default_rng(seed)), alpha=alpha)
    people = [by_sharer(d, own) for d, own in zip(known, gains, strict=True)]
    return coin_bound([(own, d.members) for d, own in people], alpha=alpha)


def pair_bound(gaps: FloatArray, *, alpha: float = 0.05) -> Bound:
    """Bound ε by the member's gain minus its partner's in every pair, ``gaps`` [m]; Undefined without pairs."""
    if not gaps.size:
        raise Undefined("no pairs: no person has both a member and a non-member item")
    most = (gaps.size + 1) // 2
    widest = gaps[np.argsort(-np.abs(gaps), kind="stable")[:most]]
    made, right = int((widest != 0).sum()), int((widest > 0).sum())
    value, ceiling = (one_run_epsilon(gaps.size, r, v, alpha=alpha) for r, v in ((made, right), (most, most)))
    return Bound(value=value / EXCHANGE, ceiling=ceiling / EXCHANGE)


def matched_gaps(
    design: Design, dealt: Sequence[Dealt], gains: Sequence[FloatArray], rng: np.random.Generator
) -> FloatArray:
    """Match units at random in the blocks that membership was drawn in -> member's gain minus its partner's, [pairs].

    An item of several targets' games is one unit. One that is a member for one target and not for another was not
    drawn once: it is left out. The order of the pairs does not depend on who is the member. Undefined where a whole
    person is a member for one target and not for another.
    """
    units: dict[tuple[Hashable, Hashable], tuple[set[bool], list[float], list[str]]] = {}
    for one, own in zip(dealt, gains, strict=True):
        names = _names(design, one, several=len(dealt) > 1)
        for name, member, gain in zip(names, one.members.tolist(), own.tolist(), strict=True):
            sides, values, targets = units.setdefault(name, (set(), [], []))
            sides.add(member)
            values.append(gain)
            targets.append(one.target)
    if design.of_people and (mixed := sum(len(sides) > 1 for sides, _, _ in units.values())):
        raise Undefined(
            f"{mixed} people are members for one target and not for another: whether membership was drawn once or for "
            "each target is not known"
        )
    blocks: dict[tuple[str, ...], tuple[list[float], list[float]]] = {}
    with np.errstate(invalid="ignore"):  # equal infinities: no evidence
        for (block, _), (sides, values, targets) in units.items():
            # Items alone are matched with those that the same targets are asked.
            where = tuple(targets) if design.unit == "item" else (str(block),)
            if len(sides) == 1:
                blocks.setdefault(where, ([], []))[sides.pop()].append(sum(values) / len(values))
        gaps = [np.zeros(0)]
        for _, (outside, inside) in sorted(blocks.items()):
            pairs = min(len(inside), len(outside))
            gaps.append(rng.permutation(inside)[:pairs] - rng.permutation(outside)[:pairs])
        return np.nan_to_num(np.concatenate(gaps), nan=0.0, posinf=np.inf, neginf=-np.inf)


def _names(design: Design, one: Dealt, *, several: bool) -> list[tuple[Hashable, Hashable]]:
    """Return the block and the unit of each of a game's rows, the same in every game (``exchange``)."""
    if design.of_people:
        return [("", owner) for owner in one.owners]
    blocks: Sequence[Hashable] = (
        one.drawn_within if design.unit == "item-within-sharer" else [""] * len(one.owners)
    )
    keys, named = item_keys(
        blocks, one.items if several else None
    )  # one game has none to recognise an item in
    if design.unit == "item" and not named:
        blocks = [one.target] * len(blocks)
    return list(zip(blocks, keys, strict=True))


def coin_bound(
    targets: Sequence[tuple[FloatArray, BoolArray]], *, alpha: float = 0.05, delta: float = 0.0
) -> Bound:
    """Bound ε by one-run auditing of fair coins, guessed within each target from its (gains, coins), [c] each.

    Undefined where no target has four coins.
    """
    made = right = 0
    for gains, coins in targets:
        low, high = guesses(gains)
        made += low.size + high.size
        right += int((~coins[low]).sum() + coins[high].sum())
    count = sum(coins.size for _, coins in targets)
    if not made:
        raise Undefined(f"{count} coins are too few to guess any: a target needs four")
    return Bound(
        value=one_run_epsilon(count, made, right, delta, alpha),
        ceiling=one_run_epsilon(count, made, made, delta, alpha),
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


def _gains(scores: FloatArray, base: FloatArray | None) -> FloatArray:
    if base is None:
        return scores
    with np.errstate(invalid="ignore"):
        gains: FloatArray = scores - base
    return np.nan_to_num(gains, nan=0.0, posinf=np.inf, neginf=-np.inf)  # infinite under both: no evidence
