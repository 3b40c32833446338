"""Permutation tests at the unit whose membership was drawn, and the correction over attacks.

Under the null, membership has no effect. Then it can be exchanged between the units that could have received it,
without changing the distribution of the scores. The p-value is the share of such relabellings, the data's own
included, with a statistic at least as high. There are three units:

* ``item-within-sharer``: items of one sharer exchange membership with each other (the heldout and target games). What
  a sharer's items have in common is then on both sides.
* ``sharer``: sharers exchange membership with all their items (the inclusion game). In the paper's game nothing was
  drawn; there the test asks whether *any* difference, selection included, is beyond chance.
* ``item``: all items of a target exchange membership with each other (scores that name no sharers).

One relabelling applies to all targets at once. Sharers serve several targets, and a sharer with high scores has them
for several. A common relabelling preserves that dependence; one per target would not, and would reject too often. It
is common to the targets that list the same units, and to all targets where every sharer has one membership
throughout.

Memory is bounded whatever the number of items: a permutation is used for all tables at once, and relabellings are drawn
in steps. The steps change no figure: sums of midranks and counts are exact, so their order does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import ndtr

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray, Undefined, midranks, steps
from prime_audit.audit.mean_auc import TargetScores, contrast, playable, same_game

Unit = Literal["item-within-sharer", "sharer", "item"]
_TIE = 1e-12
"""Two statistics this close are equal: the same figures summed in another order."""
_LARGE = 100_000
"""Above this size of a pool, members are drawn as a subset: five times faster than by a permutation of the pool, and
other draws of the same distribution."""
_SINGLY = 1000
"""From this size of a pool, permutations are drawn singly: the same ones, faster."""


@dataclass(frozen=True, kw_only=True)
class Permutation:
    """Result of a permutation test."""

    p: float
    """One-sided, (1 + hits)/(1 + n): how often a relabelling's mean AUC is at least as high as the data's."""
    p_reversed: float
    """The same for at least as low: evidence that the score points the wrong way."""
    value: float
    """The mean over targets of the per-target AUC; with ``minus``, its difference to the other score's."""
    n: int
    """Relabellings drawn."""
    floor: float
    """The smallest p these data can give: 1 over the number of distinct relabellings, at least 1/(1 + n)."""
    unit: Unit
    """What was relabelled."""


def permutation_test(
    panels: Sequence[TargetScores],
    *,
    unit: Unit,
    n: int = 999,
    seed: int,
    items: Sequence[Sequence[Hashable]] | None = None,
    minus: Sequence[TargetScores] | None = None,
) -> Permutation:
    """Test the mean AUC over targets against relabellings of the unit that was randomised.

    Parameters
    ----------
    panels
        One game per target. Those without both sides do not count, as in ``auc_interval``.
    unit
        See the module's text.
    n
        Relabellings drawn, with replacement.
    seed
        Of numpy's default generator; the same arguments give the same p.
    items
        Ids of each panel's items, which identify an item across panels; by default its position among its sharer's.
    minus
        Another score of the same items that never saw the labels (the unmerged base's). The test is then of the mean
        AUC minus this score's, under the same relabellings. The null is the same. It removes the luck of a draw in
        which members happen to be items that any model finds likely.

    Raises
    ------
    Undefined
        Where no target has both sides, or no relabelling differs from the data.
    ValueError
        Where the unit is the sharer and one is on both sides, or ``minus`` is of other games.
    """
    if minus is not None and not all(same_game(*pair) for pair in zip(panels, minus, strict=True)):
        raise ValueError("the two sets of panels are of different games")
    if unit == "item":
        panels, minus = _unowned(panels), None if minus is None else _unowned(minus)
    names = items if items is not None else [_places(panel) for panel in panels]
    pairs = [(p, ids) for p, ids in zip(panels, names, strict=True) if p.playable]
    if not pairs:
        raise Undefined("no target has both members and non-members")
    make = _by_sharer if unit == "sharer" else _by_item
    tables = make([panel for panel, _ in pairs], [ids for _, ids in pairs])
    taken = make([p for p in minus if p.playable], [ids for _, ids in pairs]) if minus is not None else []
    distinct = _log_relabellings(tables)
    if distinct == 0.0:
        raise Undefined(f"membership cannot be exchanged: no relabelling by {unit} differs from the data")
    sets = [tables, taken] if taken else [tables]
    observed = float(
        contrast(np.array([[[_own_auc(table)] for table in each] for each in sets]).mean(axis=1))[0]
    )
    drawn = _relabelled(sets, n, np.random.default_rng(seed))
    missing = int(np.isnan(drawn).sum())  # no target had both sides: no evidence, so a hit on either side
    high = missing + int((drawn >= observed - _TIE).sum())
    low = missing + int((drawn <= observed + _TIE).sum())
    floor = max(1 / (1 + n), math.exp(-distinct))
    return Permutation(
        p=(1 + high) / (1 + n), p_reversed=(1 + low) / (1 + n), value=observed, n=n, floor=floor, unit=unit
    )


def unit_of(panels: Sequence[TargetScores]) -> Unit:
    """Return the unit of a game from its shape: ``sharer`` where every sharer is on one side for every target."""
    whole = all(len(set(p.members[own].tolist())) == 1 for p in panels for own in _own(p).values())
    return "sharer" if whole else "item-within-sharer"


def naive_item_p(panels: Sequence[TargetScores]) -> float:
    """One-sided Mann-Whitney p-value as if all items, and all targets, were independent. For comparison only.

    Normal approximation with the tie correction. It rejects far too often where items of one sharer are similar.
    """
    excess = variance = 0.0
    for panel in playable(panels):
        inside, total = int(panel.members.sum()), panel.members.size
        ranks = midranks(panel.scores)
        pairs = inside * (total - inside)
        excess += (ranks[panel.members].sum() - inside * (inside + 1) / 2) / pairs - 0.5
        _, ties = np.unique(panel.scores, return_counts=True)
        tied = float((ties.astype(np.float64) ** 3 - ties).sum()) / (total * (total - 1))
        variance += (total + 1 - tied) / (12 * pairs)
    return float(ndtr(-excess / math.sqrt(variance))) if variance > 0 else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the input order: below α is significant with a family-wise error of at most α."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order.tolist()):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


@dataclass(frozen=True)
class _Block:
    """Units of one table among which membership is exchanged."""

    key: Hashable
    """Blocks of one key, in several tables, are relabelled by the same permutation."""
    pool: BoolArray
    """The memberships that are exchanged, [pool]."""
    units: IntArray
    """The table's units it covers, [u]."""
    places: IntArray
    """Their positions in the pool, [u]."""


@dataclass(frozen=True, eq=False)
class _Table:
    """One target's game by unit."""

    weights: FloatArray
    """Items of the unit, and the sum of their midranks, [units, 2]."""
    blocks: Sequence[_Block]
    """They cover all units."""


def _own_auc(table: _Table) -> float:
    """AUC of one target under the data's own memberships."""
    sums = sum(table.weights[block.units[block.pool[block.places]]].sum(axis=0) for block in table.blocks)
    return float(_aucs(table, np.asarray(sums)[None, :])[0])


def _relabelled(sets: Sequence[Sequence[_Table]], n: int, rng: np.random.Generator) -> FloatArray:
    """Mean AUC of the first set, minus that of the second where there is one, in each of ``n`` relabellings, [n].

    NaN where no target has both sides. The sets hold the same games.
    """
    # In order of first use, which the generator follows.
    uses: dict[Hashable, list[tuple[int, _Table, _Block]]] = {}
    for which, tables in enumerate(sets):
        for table in tables:
            for block in table.blocks:
                uses.setdefault(block.key, []).append((which, table, block))
    open_tables: dict[_Table, tuple[FloatArray, int]] = {}
    total, counts = np.zeros((len(sets), n)), np.zeros((len(sets), n))
    for used in uses.values():
        sums = [np.zeros((n, 2)) for _ in used]
        weights = [table.weights[block.units] for _, table, block in used]
        for draws, labels in _relabellings([block for _, _, block in used], n, rng):
            for own, drawn, weight in zip(sums, labels, weights, strict=True):
                own[draws] = drawn.astype(np.float64) @ weight
        for (which, table, _), own in zip(used, sums, strict=True):
            before, done = open_tables.pop(table, (np.zeros((n, 2)), 0))
            if done + 1 < len(table.blocks):
                open_tables[table] = before + own, done + 1
                continue
            aucs = _aucs(table, before + own)
            known = np.isfinite(aucs)
            total[which] += np.where(known, aucs, 0.0)
            counts[which] += known
    return contrast(np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0))


def _relabellings(
    blocks: Sequence[_Block], n: int, rng: np.random.Generator
) -> Iterator[tuple[slice, Iterator[BoolArray]]]:
    """Draw ``n`` relabellings of blocks of one key, in steps -> which draws, and each block's labels [draws, u].

    The labels are made one block at a time: there may be as many as targets.
    """
    pool = blocks[0].pool
    subsets = pool.size > _LARGE and all(np.array_equal(block.pool, pool) for block in blocks)
    for draws in steps(n, pool.size):
        count = draws.stop - draws.start
        if subsets:
            drawn = np.stack([_subset(pool.size, int(pool.sum()), rng) for _ in range(count)])
            labels = (drawn for _ in blocks)
        else:
            order = _permutations(pool.size, count, rng)
            labels = (block.pool[order] for block in blocks)
        yield (
            draws,
            (
                label if block.places.size == pool.size else label[:, block.places]
                for block, label in zip(blocks, labels, strict=True)
            ),
        )


def _permutations(size: int, count: int, rng: np.random.Generator) -> IntArray:
    """Draw ``count`` permutations of ``size``, [count, size]."""
    if size < _SINGLY:
        return rng.permuted(np.broadcast_to(np.arange(size), (count, size)), axis=1)
    return np.stack([rng.permutation(size) for _ in range(count)])


def _subset(size: int, count: int, rng: np.random.Generator) -> BoolArray:
    """Draw ``count`` of ``size``, every subset alike: by a coin for each, then as many more or fewer as it takes."""
    inside = rng.random(size, dtype=np.float32) < count / size
    over = int(np.count_nonzero(inside)) - count
    if over:
        inside[rng.choice(np.flatnonzero(inside == (over > 0)), abs(over), replace=False)] = over < 0
    return inside


def _aucs(table: _Table, sums: FloatArray) -> FloatArray:
    """AUC from the members' items and ranks in each relabelling, [draws, 2] -> [draws]; NaN where a side is empty."""
    inside, ranks = sums.T
    won = ranks - inside * (inside + 1) / 2
    pairs = inside * (table.weights[:, 0].sum() - inside)
    aucs: FloatArray = np.divide(won, pairs, out=np.full(won.shape, np.nan), where=pairs > 0)
    return aucs


def _by_item(panels: Sequence[TargetScores], names: Sequence[Sequence[Hashable]]) -> list[_Table]:
    tables = []
    for panel, ids in zip(panels, names, strict=True):
        blocks = []
        for sharer, own in _own(panel).items():
            listed = [str(ids[place]) for place in own.tolist()]
            order = sorted(range(own.size), key=listed.__getitem__)
            units = own[order]
            key = (sharer, tuple(listed[i] for i in order))
            blocks.append(_Block(key, panel.members[units], units, np.arange(own.size)))
        weights = np.stack([np.ones(panel.scores.size), midranks(panel.scores)], axis=1)
        tables.append(_Table(weights, blocks))
    return tables


def _by_sharer(panels: Sequence[TargetScores], _names: Sequence[Sequence[Hashable]]) -> list[_Table]:
    owns = [_own(panel) for panel in panels]
    coins: dict[str, set[bool]] = {}
    for panel, own in zip(panels, owns, strict=True):
        for sharer, places in own.items():
            sides = set(panel.members[places].tolist())
            if len(sides) > 1:
                raise ValueError(
                    f"sharer {sharer!r} is on both sides of {panel.target!r}: relabel items, not sharers"
                )
            coins.setdefault(sharer, set()).update(sides)
    everywhere = all(len(sides) == 1 for sides in coins.values())
    everyone = sorted(coins)
    tables = []
    for panel, own in zip(panels, owns, strict=True):
        sharers = sorted(own)
        pool = everyone if everywhere else sharers
        place = {sharer: i for i, sharer in enumerate(pool)}
        flags = [next(iter(coins[s])) if everywhere else bool(panel.members[own[s][0]]) for s in pool]
        block = _Block(
            tuple(pool), np.array(flags), np.arange(len(sharers)), np.array([place[s] for s in sharers])
        )
        ranks = midranks(panel.scores)
        weights = np.array([(float(own[s].size), ranks[own[s]].sum()) for s in sharers])
        tables.append(_Table(weights, [block]))
    return tables


def _unowned(panels: Sequence[TargetScores]) -> list[TargetScores]:
    """Take all items of a target for one person's."""
    return [replace(p, sharers=[p.target] * p.scores.size) for p in panels]


def _log_relabellings(tables: Sequence[_Table]) -> float:
    """Log of the number of distinct relabellings: arrangements of each key's columns of memberships."""
    columns: dict[Hashable, list[BoolArray]] = {}
    for table in tables:
        for block in table.blocks:
            columns.setdefault(block.key, []).append(block.pool)
    total = 0.0
    for pools in columns.values():
        if len(pools) == 1:
            counts = np.bincount(pools[0])
        else:
            _, counts = np.unique(np.array(pools), axis=1, return_counts=True)
        total += math.lgamma(counts.sum() + 1) - sum(math.lgamma(c + 1) for c in counts.tolist())
    return max(0.0, total) if total > 1e-9 else 0.0


def _own(panel: TargetScores) -> dict[str, IntArray]:
    """Positions of each sharer's items, by sharer in order of appearance."""
    places: dict[str, list[int]] = {}
    for place, sharer in enumerate(panel.sharers):
        places.setdefault(sharer, []).append(place)
    return {sharer: np.array(own) for sharer, own in places.items()}


def _places(panel: TargetScores) -> list[int]:
    """Position of each item among its sharer's."""
    seen: dict[str, int] = {}
    out = []
    for sharer in panel.sharers:
        out.append(seen.get(sharer, 0))
        seen[sharer] = out[-1] + 1
    return out
