"""Permutation tests at the unit whose membership was drawn: all scores of a task and game together.

Under the null, membership has no effect. Then it can be exchanged between the units that could have received it,
without changing the distribution of the scores. The p-value is the share of such relabellings, the data's own
included, with a statistic at least as high. There are three units:

* ``item-within-sharer``: items of one sharer exchange membership with each other (the heldout and target games). What
  a sharer's items have in common is then on both sides.
* ``sharer``: sharers exchange membership with all their items. Where each target threw coins of its own (the inclusion
  game), those of one target do; otherwise (the paper's game) one exchange applies to all targets. In the paper's game
  nothing was drawn; there the test asks whether *any* difference, selection included, is beyond chance.
* ``item``: items that the same targets list exchange membership (scores that name no sharers).

A relabelling applies to everything at once: the union of all units that any target of any method lists is relabelled,
and every game sees its part. Sharers serve several targets, and a sharer with high scores has them for several. A
common relabelling preserves that dependence; one per target would not, and would reject too often. Where a unit is a
member for some targets and not for others, only units that the same games list can be exchanged. Where none can, there
is no p.

For each score column there are three statistics: the mean AUC over targets, the same of the unmerged base's scores, and
the *tail*: the share of members among the 2 to 5 % of the items with the highest gains (score minus the base's score,
averaged over the targets that list the item). An AUC hardly moves where few members are memorised; the tail does.
A gain in AUC is the first minus the second. *Already* is the lesser of the first two, standardised: it is high only
where both are.

Adjusted p are Westfall and Young's (1993), step-down max-T: relabellings share the maximum over the family, so that
columns that say the same cost nothing, and exact duplicates change no other's p.

Memory is bounded whatever the number of items: relabellings are drawn in steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtr, ndtri

from prime_audit.audit.auc import CELLS, BoolArray, FloatArray, IntArray, Undefined, midranks, steps
from prime_audit.audit.design import Dealt, Unit
from prime_audit.audit.exchange import Cell, Units, draws
from prime_audit.audit.mean_auc import TargetScores, playable, same_game

PERMUTATIONS = 99_999
"""Relabellings, where ``BUDGET`` allows."""
FEWEST = 999
"""Relabellings of however large data."""
BUDGET = 8e9
"""Nominal nanoseconds: relabellings are cut to it by the sizes alone, so that the same data get the same number."""
_ROWS = 60_000_000
"""Statistics kept: columns times relabellings."""
TAIL, FEW, WIDE = 0.02, 10, 0.05
"""The tail is the highest ``TAIL`` of the items, and ``FEW`` where that is more, but no more than ``WIDE``. Memorised
members stand out the more, the shorter the tail. But 8 sharers of 24 items have 4 items in 2 %, and even four members
of four have a p of about 0.06."""
POWER = 0.8
_TIE = 1e-5
"""Two statistics within so many of their standard deviations are equal: the same figures summed in another order."""
_STILL = 1e-10
"""A statistic with a smaller deviation over relabellings does not vary: what is left is rounding."""
_AUC, _GAIN, _TAIL, _EACH = 0, 1, 2, 3
"""Rows of a column's statistics, and their number."""
_ALREADY, _REVERSED, _BASE = 3, 4, 5
"""Further looks at them."""
_MANY = 256
"""Relabellings of a step where each of many games is counted by itself."""
_Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True)
class Column:
    """One score of one method, with the base's same score."""

    dealt: Sequence[Dealt]
    """The games, by target. Those without both sides do not count."""
    scores: Mapping[str, FloatArray]
    """By target [items]; a target that is left out does not count."""
    base: Mapping[str, FloatArray] | None = None
    """The same from the unmerged base, which never saw the labels."""
    paired: Mapping[str, FloatArray] | None = None
    """Scores from which the tail's gains are taken, where these are others (``judge.Scored.paired``)."""


@dataclass(frozen=True, kw_only=True)
class Relabelled:
    """What relabelling tells of one column; p are one-sided, (1 + hits)/(1 + n)."""

    n: int
    """Relabellings drawn."""
    floor: float
    """The smallest p these data can give: 1 over the number of distinct relabellings, at least 1/(1 + n)."""
    p_auc: float
    """Of a mean AUC at least as high."""
    p_reversed: float
    """Of one at least as low."""
    p_gain: float
    """Of a mean AUC at least as far above the base's; ``p_auc`` where the column has no base."""
    p_tail: float
    """Of at least as many members in the tail."""
    p_base: float | None = None
    """Of a mean AUC of the base at least as high."""
    adjusted: float = 1.0
    """The smaller of ``p_gain`` and ``p_tail``, after max-T over gain, tail and *already* of all columns together."""
    adjusted_already: float | None = None
    """Of *already*, in the same family."""
    adjusted_auc: float = 1.0
    """``p_auc`` after max-T over all columns' AUCs."""
    adjusted_reversed: float = 1.0
    """``p_reversed`` after max-T over all columns."""
    adjusted_base: float | None = None
    """Two-sided, of a mean AUC of the base as far from its mean, after max-T over all columns; None where it was not
    asked for."""
    p_people: float | None = None
    """Of the gain over people, corrected over all columns (``people``); None where people are not drawn anew for each
    target. ``adjusted`` and ``adjusted_auc`` are at least this."""
    still: bool = False
    """Whether neither gain nor tail varies over relabellings."""
    gain: float = 0.0
    """The statistic of ``p_gain``: the mean AUC, minus the base's where there is one."""
    tail: float = math.nan
    """Share of members among the items of the tail."""
    top: int = 0
    """Items of the tail."""
    items: int = 0
    """Items that the tail is the top of; 0 where it can give no bound (``not_excluded``)."""
    members: int = 0
    """Members among them."""
    excluded: float | None = None
    """The largest share of fully memorised members that the tail does not exclude; None where it excludes none."""
    detectable: float | None = None
    """The gain that would have been called in ``POWER`` of such audits of this task alone, as an AUC: ½ + so much; None
    where no gain would have been: the AUC cannot rise so far."""


@dataclass(frozen=True, kw_only=True)
class Permutation:
    """Result of a permutation test of one figure."""

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
    items: Sequence[Sequence[str]] | None = None,
    minus: Sequence[TargetScores] | None = None,
) -> Permutation:
    """Test one mean AUC over targets against relabellings of the unit that was randomised.

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
    dealt = [
        Dealt(
            target=panel.target,
            rows=np.arange(panel.scores.size),
            members=panel.members,
            owners=panel.sharers,
            items=None if items is None else items[place],
        )
        for place, panel in enumerate(panels)
    ]
    base = None if minus is None else {panel.target: panel.scores for panel in minus}
    column = Column(dealt=dealt, scores={panel.target: panel.scores for panel in panels}, base=base)
    drawn = _Drawn.of([column], unit, apart=False, n=n, seed=seed)
    return Permutation(
        p=drawn.p(_GAIN),
        p_reversed=drawn.p(_GAIN, reverse=True),
        value=float(drawn.observed[_GAIN]),
        n=drawn.n,
        floor=drawn.floor(0),
        unit=unit,
    )


def relabel(
    columns: Sequence[Column],
    *,
    unit: Unit,
    apart: bool = False,
    n: int = PERMUTATIONS,
    seed: int,
    alpha: float = 0.05,
    drawn: bool = True,
    signs: bool = False,
) -> list[Relabelled | str]:
    """Test all columns of a task and game together; for each its results, or why membership cannot be exchanged.

    Parameters
    ----------
    columns
        All attacks of all methods.
    unit
        What was drawn: see the module's text.
    apart
        Whether each target's membership was drawn by itself.
    n
        Relabellings; fewer, but at least ``FEWEST``, where the data are large.
    seed
        Of numpy's default generator.
    alpha
        Level at which ``detectable`` would have been called.
    drawn
        Whether membership was drawn: then the family holds gains over the base and *already*; otherwise AUCs.
    signs
        Whether to test the base's AUCs by themselves (``adjusted_base``).

    Raises
    ------
    Undefined
        Where no target has both sides, or membership cannot be exchanged in any column's games.
    ValueError
        Where the unit is the sharer and one is on both sides.
    """
    found = _Drawn.of(columns, unit, apart=apart, n=n, seed=seed)
    return found.tests(alpha, drawn, signs)


def unit_of(panels: Sequence[TargetScores]) -> Unit:
    """Return the unit of a game from its shape: ``sharer`` where every sharer is on one side for every target."""
    for panel in panels:
        sides: dict[str, bool] = {}
        for sharer, member in zip(panel.sharers, panel.members.tolist(), strict=True):
            if sides.setdefault(sharer, member) != member:
                return "item-within-sharer"
    return "sharer"


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


def over_families(families: Sequence[Sequence[float]]) -> list[list[float]]:
    """Turn adjusted p of families into q, the smallest α at which a figure is called (Benjamini and Bogomolov 2014).

    Families whose smallest p passes Benjamini and Hochberg's step at α are selected, R of T; within them a figure is
    called where its p is at most α·R/T. With one family q is p. On average over the selected families, at most α of
    them hold a false call.
    """
    total = len(families)
    least = np.sort([min(own, default=1.0) for own in families])
    scale = total / np.arange(1, total + 1)
    return [[min(1.0, float((scale * np.maximum(least, p)).min())) for p in own] for own in families]


def tail_size(items: int) -> int:
    """Count the items of the tail among all ``items``."""
    return max(math.ceil(TAIL * items), min(FEW, math.ceil(WIDE * items)))


@dataclass(frozen=True, eq=False)
class Top:
    """The highest items, by what membership was drawn within, [strata]; of tied items at the edge a share counts."""

    items: FloatArray
    """Items."""
    members: FloatArray
    """Members among them."""
    top: FloatArray
    """Of the items, those in the top."""
    found: FloatArray
    """Of the members, those in the top."""


def not_excluded(seen: Top, alpha: float = 0.05) -> float | None:
    """Bound the share of fully memorised members from the members found among the top items; None: no bound.

    If j random members are memorised, so that they are above everything else, they are in the top, and the rest of it
    is ordered without regard to membership. Of a stratum of N items, M of them members and k in the top, with j' of
    the memorised, it holds Hypergeometric(N - j', M - j', k - j') members. j is excluded where as few members as were
    found have a probability of at most ``alpha`` however the j are spread over the strata. The bound is the largest j
    that is not, over all members. The probability of a sum of hypergeometrics is bounded by the binomial of the same
    mean (Hoeffding 1956, theorem 4; for counts of at most the mean less 1); the least mean decides.
    """
    top, found, members = (int(own.sum() + 1e-6) for own in (seen.top, seen.found, seen.members))
    if found >= min(top, members):
        return None
    lost = np.sort(_lost(seen))[::-1][
        :found
    ]  # means fall ever more slowly, so the greatest losses are a least mean
    j = np.arange(lost.size + 1)
    mean = _mean(seen.items, seen.members, seen.top).sum() - np.concatenate([[0.0], np.cumsum(lost)])
    draws = np.maximum(top - j, 1)
    p = bdtr(np.float64(found) - j, draws, np.clip(mean / draws, 0.0, 1.0))
    left = j[(found - j > mean - 1) | (p > alpha)]
    return float(left.max(initial=0)) / members


def _mean(items: FloatArray, members: FloatArray, top: FloatArray) -> FloatArray:
    """Members to expect in the top of each stratum."""
    expected: FloatArray = np.maximum(top, 0.0) * members / np.maximum(items, 1.0)
    return expected


def _lost(seen: Top) -> FloatArray:
    """By how much each further memorised member lowers the number of others to expect, over all strata."""
    lost = [np.zeros(0)]
    for n, m, k, found in zip(seen.items, seen.members, seen.top, seen.found, strict=True):
        j = np.arange(math.ceil(found - 1e-6) + 1)
        lost.append(-np.diff(_mean(n - j, m - j, k - j)))
    return np.concatenate(lost)


@dataclass(frozen=True, eq=False)
class _Term:
    """What one game's memberships add to the statistics, where they differ from another game's."""

    cell: Cell
    weights: dict[int, FloatArray]
    """Row of the statistics → weight of each unit, [u]."""


@dataclass(frozen=True, eq=False)
class _Counted:
    """A game whose number of members varies: its AUCs are counted in every relabelling."""

    cell: Cell
    sums: FloatArray
    """Items of each unit, and the sums of their midranks in every score, [u, 1 + scores]."""
    own: IntArray
    """Columns that count here, [scores of the method]."""
    base: IntArray
    """Those with a base, whose ranks follow in ``sums``."""


class _Statistics:
    """Weights of all statistics on the units, and their relabelled values.

    Rows: for each column its AUC, its gain (the AUC where it has no base) and its tail.
    """

    def __init__(self, columns: Sequence[Column], unit: Unit, apart: bool) -> None:
        games, cells_of, places = list[Dealt](), list[list[int]](), dict[int, int]()
        even: dict[int, Dealt] = {}
        scores: list[list[tuple[FloatArray, FloatArray | None]]] = []
        gains: list[list[FloatArray]] = []
        for column in columns:
            own, values, risen = list[int](), list[tuple[FloatArray, FloatArray | None]](), list[FloatArray]()
            for dealt in column.dealt:
                game = even.setdefault(id(dealt), dealt.exchangeable())
                if dealt.target in column.scores and dealt.playable and game.playable:
                    if id(dealt) not in places:
                        places[id(dealt)] = len(games)
                        games.append(game)
                    own.append(places[id(dealt)])
                    value = dealt.even_part(column.scores[dealt.target])
                    base = dealt.even_part(column.base[dealt.target]) if column.base is not None else None
                    values.append((value, base))
                    paired = value if column.paired is None else dealt.even_part(column.paired[dealt.target])
                    with np.errstate(invalid="ignore"):
                        risen.append(paired if base is None else paired - base)
            cells_of.append(own)
            scores.append(values)
            gains.append(risen)
        if not games:
            raise Undefined("no target has both members and non-members")
        self.based = [column.base is not None for column in columns]
        self.units = Units.of(games, unit, apart)
        self.cells_of = cells_of
        self.reasons = self._reasons(unit)
        self.shape = (self.units.group.size, _EACH * len(columns))
        self.dense = np.zeros(self.shape)
        self.offsets = np.zeros(self.shape[1])
        self._terms: dict[tuple[bytes, bytes], _Term] = {}
        self.tails: list[tuple[int, Top | None]] = []
        fixed = [self.units.fixed(cell) for cell in self.units.cells]
        counted: dict[int, list[tuple[int, FloatArray, FloatArray | None]]] = {}
        for c, (own, values) in enumerate(zip(cells_of, scores, strict=True)):
            self.tails.append(self._tail(_EACH * c + _TAIL, own, gains[c]))
            linear = all(fixed[place] for place in own)
            for place, (value, base) in zip(own, values, strict=True):
                if linear:
                    self._linear(c, self.units.cells[place], len(own), value, base)
                else:
                    counted.setdefault(place, []).append((c, value, base))
        self.counted = [_counted(self.units.cells[place], found) for place, found in counted.items()]

    def _reasons(self, unit: Unit) -> list[float | str]:
        """For each column log of its relabellings, or why there are none."""
        known: dict[tuple[int, ...], float] = {}
        found: list[float | str] = []
        for own in self.cells_of:
            key = tuple(own)
            if not own:
                found.append("no target has both members and non-members")
                continue
            if key not in known:
                known[key] = self.units.log_relabellings([self.units.cells[place] for place in own])
            why = f"membership cannot be exchanged: no relabelling by {unit} differs from the data"
            if self.units.mixed.any():
                why += "; who is a member differs between targets that list different units"
            found.append(known[key] or why)
        if all(isinstance(one, str) for one in found):
            raise Undefined(str(found[0]))
        return found

    def _add(self, row: int, cell: Cell, weights: FloatArray) -> None:
        """Add weights of a game's units [u] to a row: of its members."""
        mixed = self.units.mixed[cell.units]
        self.dense[cell.units[~mixed], row] += weights[~mixed]
        if mixed.any():
            key = cell.units.tobytes(), cell.labels.tobytes()
            term = self._terms.setdefault(key, _Term(cell, {}))
            term.weights[row] = term.weights.get(row, 0.0) + np.where(mixed, weights, 0.0)

    def _linear(self, c: int, cell: Cell, cells: int, scores: FloatArray, base: FloatArray | None) -> None:
        """Add a game of which every relabelling has as many members to its column's mean AUC and gain."""
        inside, total = float(cell.sizes[cell.labels].sum()), float(cell.sizes.sum())
        scale = 1.0 / (inside * (total - inside) * cells)
        offset = -inside * (inside + 1) / 2 * scale
        weights = _sums(cell, scores) * scale
        self._add(_EACH * c + _AUC, cell, weights)
        self.offsets[_EACH * c + _AUC] += offset
        if base is not None:
            self._add(_EACH * c + _GAIN, cell, weights - _sums(cell, base) * scale)

    def _tail(self, row: int, own: Sequence[int], risen: Sequence[FloatArray]) -> tuple[int, Top | None]:
        """Add a column's tail -> items in the tail, and its strata where single items (or people) are the units.

        An item whose membership is the same throughout counts once, with its mean gain over the games that list it.
        """
        if not own:
            return 0, None
        cells = [self.units.cells[place] for place in own]
        gains = np.concatenate(risen)
        gains = np.where(np.isnan(gains), 0.0, gains)  # infinite under both models: no evidence
        unit = np.concatenate([cell.units[cell.of] for cell in cells])
        item = np.concatenate([cell.items for cell in cells])
        label = np.concatenate([cell.labels[cell.of] for cell in cells])
        game = np.repeat(np.arange(len(cells)), [cell.of.size for cell in cells])
        mixed = self.units.mixed[unit]
        item = np.where(mixed, item.max() + 1 + np.arange(item.size), item)
        _, first, which, often = np.unique(item, return_index=True, return_inverse=True, return_counts=True)
        with np.errstate(invalid="ignore"):
            mean = np.bincount(which, weights=gains) / often
        mean = np.where(np.isnan(mean), 0.0, mean)
        top = tail_size(mean.size)
        edge = np.partition(mean, mean.size - top)[mean.size - top]
        above, level = mean > edge, mean == edge
        inside = above + level * (top - int(above.sum())) / int(level.sum())
        for place, cell in enumerate(cells) if mixed.any() else ():
            here = (game[first] == place) & mixed[first]
            at = np.searchsorted(cell.units, unit[first][here])
            self._add(row, cell, _weighed(at, inside[here] / top, cell.units.size))
        plain = ~mixed[first]
        np.add.at(self.dense[:, row], unit[first][plain], inside[plain] / top)
        if mixed.any() or any((cell.sizes > 1).any() for cell in cells):
            return top, None
        _, group = np.unique(self.units.group[unit[first]], return_inverse=True)
        inner = label[first].astype(np.float64)
        weights = (np.ones(mean.size), inner, inside, inside * inner)
        parts = (_weighed(group, own, int(group.max()) + 1) for own in weights)
        return top, Top(*parts)

    # -- relabelling ---------------------------------------------------------------------------------------

    def cost(self) -> float:
        """Nominal nanoseconds of one relabelling."""
        rows = self.shape[1]
        games = [(term.cell.units.size, len(term.weights)) for term in self._terms.values()]
        games += [(one.cell.units.size, 2 * one.sums.shape[1]) for one in self.counted]
        drawn = 25.0 * int(self.units.free.sum()) + self.shape[0] * (2 + 0.1 * rows)
        return drawn + sum(size * (4 + 0.1 * width) + 20 * width for size, width in games)

    def values(self, labels: BoolArray, order: IntArray | None) -> FloatArray:
        """All statistics in some relabellings, [draws, rows]; NaN where no target has both sides.

        ``labels`` [draws, units]; ``order`` [draws, units]: whose membership each unit has.
        """
        draws = len(labels)
        found = np.tile(self.offsets, (draws, 1))
        for at in steps(draws, self.shape[0]):
            found[at] += labels[at].astype(np.float64) @ self.dense
        for term in self._terms.values():
            rows = list(term.weights)
            weights = np.stack([term.weights[row] for row in rows], axis=1)
            found[:, rows] += self._labels(term.cell, labels, order).astype(np.float64) @ weights
        if self.counted:
            self._count(found, labels, order)
        plain = np.array([_EACH * c for c, based in enumerate(self.based) if not based], dtype=np.int64)
        found[:, plain + _GAIN] = found[:, plain + _AUC]
        return found

    def _labels(self, cell: Cell, labels: BoolArray, order: IntArray | None) -> BoolArray:
        """Membership of a game's units, [draws, u]."""
        found: BoolArray = labels[:, cell.units]
        if order is not None:
            mixed = self.units.mixed[cell.units]
            own = np.zeros(self.shape[0], dtype=np.bool_)
            own[cell.units] = cell.labels
            found[:, mixed] = own[order[:, cell.units[mixed]]]
        return found

    def _count(self, found: FloatArray, labels: BoolArray, order: IntArray | None) -> None:
        total = np.zeros((len(labels), self.shape[1] // _EACH, 2))
        number = np.zeros(total.shape[:2])
        for one in self.counted:
            sums = self._labels(one.cell, labels, order).astype(np.float64) @ one.sums
            inside, items = sums[:, :1], one.cell.sizes.sum()
            pairs = inside * (items - inside)
            aucs = np.divide(
                sums[:, 1:] - inside * (inside + 1) / 2,
                pairs,
                out=np.zeros((len(sums), sums.shape[1] - 1)),
                where=pairs > 0,
            )
            total[:, one.own, 0] += aucs[:, : one.own.size]
            total[:, one.base, 1] += aucs[:, one.own.size :]
            number[:, one.own] += pairs > 0
        columns = np.array(sorted({c for one in self.counted for c in one.own.tolist()}), dtype=np.int64)
        often = number[:, columns]
        with np.errstate(invalid="ignore", divide="ignore"):
            found[:, _EACH * columns + _AUC] = total[:, columns, 0] / often
            found[:, _EACH * columns + _GAIN] = (total[:, columns, 0] - total[:, columns, 1]) / often


def _sums(cell: Cell, scores: FloatArray) -> FloatArray:
    """Sum the midranks of each unit's items, [u]."""
    return _weighed(cell.of, midranks(scores), cell.units.size)


def _weighed(places: IntArray, weights: FloatArray, size: int) -> FloatArray:
    """Sum weights by place, [size]."""
    found = np.zeros(size)
    found[:] = np.bincount(places, weights=weights, minlength=size)
    return found


def _counted(cell: Cell, found: Sequence[tuple[int, FloatArray, FloatArray | None]]) -> _Counted:
    based = [(c, base) for c, _, base in found if base is not None]
    ranks = [_sums(cell, scores) for _, scores, _ in found] + [_sums(cell, base) for _, base in based]
    own, base = ([c for c, *_ in found], [c for c, _ in based])
    return _Counted(
        cell,
        np.stack([cell.sizes, *ranks], axis=1),
        np.array(own, dtype=np.int64),
        np.array(base, dtype=np.int64),
    )


@dataclass(frozen=True, eq=False)
class _Drawn:
    """All statistics in the data and in ``n`` relabellings."""

    statistics: _Statistics
    n: int
    observed: FloatArray
    """[rows]."""
    moved: _Floats
    """Relabelled minus observed, [rows, n]; infinite where no target has both sides: no evidence, so a hit."""
    mean: FloatArray
    sd: FloatArray
    """Over relabellings, [rows]; 0: the statistic does not vary."""
    base_sd: dict[int, float] = field(default_factory=dict)
    """The same of the base's AUC, by column."""

    @classmethod
    def of(cls, columns: Sequence[Column], unit: Unit, *, apart: bool, n: int, seed: int) -> _Drawn:
        statistics = _Statistics(columns, unit, apart)
        units, rows = statistics.units, statistics.shape[1]
        n = min(n, max(FEWEST, int(BUDGET / statistics.cost())), max(FEWEST, _ROWS // rows))
        step = max(1, CELLS // units.group.size, min(_MANY, len(statistics.counted)))
        observed = statistics.values(units.labels[None, :], np.arange(units.group.size)[None, :])[0]
        moved, done = np.empty((rows, n), dtype=np.float32), 0
        for labels, order in draws(units, n, step, np.random.default_rng(seed)):
            moved[:, done : done + len(labels)] = (statistics.values(labels, order) - observed).T
            done += len(labels)
        missing = np.isnan(moved)
        mean, sd = np.zeros(rows), np.zeros(rows)
        for row in range(rows):
            own = moved[row][~missing[row]]
            if own.size:
                mean[row] = own.mean(dtype=np.float64)
                sd[row] = own.std(dtype=np.float64)
        sd[sd < _STILL] = 0.0
        moved[missing] = np.inf
        return cls(statistics, n, observed, moved, mean, sd)

    def floor(self, c: int) -> float:
        """Return the smallest p that a column's relabellings can give."""
        distinct = self.statistics.reasons[c]
        return max(1 / (1 + self.n), math.exp(-float(distinct)))

    def p(self, row: int, *, reverse: bool = False) -> float:
        """One-sided p of one statistic."""
        return self._p(self.moved[row], float(self.sd[row]), reverse)

    def _p(self, moved: _Floats, sd: float, reverse: bool) -> float:
        edge = _TIE * sd
        hits = ((moved <= edge) | np.isinf(moved)) if reverse else moved >= -edge
        return float((1 + hits.sum()) / (1 + self.n)) if sd else 1.0

    def tests(self, alpha: float, drawn: bool, signs: bool) -> list[Relabelled | str]:
        """Each column's results, or the reason for none; see ``relabel``."""
        reasons = self.statistics.reasons
        able = [c for c, why in enumerate(reasons) if not isinstance(why, str)]
        base = {c: self._base(c) for c in able if self.statistics.based[c]}
        self.base_sd.update({c: sd for c, (_, sd) in base.items()})
        decides = _GAIN if drawn else _AUC
        looks = [(c, look) for look in (decides, _TAIL) for c in able]
        looks += [(c, _ALREADY) for c in able if drawn and c in base]
        family, critical = self._max_t(looks, alpha)
        aucs, _ = self._max_t([(c, _AUC) for c in able], alpha)
        turned, _ = self._max_t([(c, _REVERSED) for c in able], alpha)
        bases, _ = self._max_t([(c, _BASE) for c in able if signs and c in base], alpha)
        found: list[Relabelled | str] = []
        for c, why in enumerate(reasons):
            if isinstance(why, str):
                found.append(why)
                continue
            at, (top, seen) = _EACH * c, self.statistics.tails[c]
            moved, sd = base.get(c, (None, 0.0))
            room = 0.5
            if (
                moved is not None and decides == _GAIN
            ):  # an AUC is at most 1, and the base's at most falls to 0
                room = min(room, 1.0 - float(self.observed[at + _AUC] - self.observed[at + _GAIN]))
            least = (critical + float(ndtri(POWER))) * float(self.sd[at + decides])
            found.append(
                Relabelled(
                    n=self.n,
                    floor=self.floor(c),
                    p_auc=self.p(at + _AUC),
                    p_reversed=self.p(at + _AUC, reverse=True),
                    p_gain=self.p(at + decides),
                    p_tail=self.p(at + _TAIL),
                    p_base=None if moved is None else self._p(moved, sd, False),
                    adjusted=min(family.get((c, decides), 1.0), family.get((c, _TAIL), 1.0)),
                    adjusted_already=family.get((c, _ALREADY)),
                    adjusted_auc=aucs.get((c, _AUC), 1.0),
                    adjusted_reversed=turned.get((c, _REVERSED), 1.0),
                    adjusted_base=bases.get((c, _BASE)),
                    still=not (self.sd[at + decides] or self.sd[at + _TAIL]),
                    gain=float(self.observed[at + decides]),
                    tail=float(self.observed[at + _TAIL]),
                    top=top,
                    items=0 if seen is None else int(seen.items.sum()),
                    members=0 if seen is None else int(seen.members.sum()),
                    excluded=None if seen is None else not_excluded(seen),
                    detectable=0.5 + least if 0 < least <= room else None,
                )
            )
        return found

    def _base(self, c: int) -> tuple[_Floats, float]:
        """Relabelled minus observed AUC of a column's base, and its deviation."""
        auc, gain = self.moved[_EACH * c + _AUC], self.moved[_EACH * c + _GAIN]
        known = np.isfinite(auc)
        moved = np.full_like(auc, np.inf)
        moved[known] = auc[known] - gain[known]
        sd = float(moved[known].std(dtype=np.float64)) if known.any() else 0.0
        return moved, sd if sd >= _STILL else 0.0

    def _max_t(
        self, looks: Sequence[tuple[int, int]], alpha: float
    ) -> tuple[dict[tuple[int, int], float], float]:
        """Step-down max-T -> (column, look) → adjusted p, and the maximum that a share ``alpha`` of draws reaches."""
        if not looks:
            return {}, math.inf
        here = np.zeros(self.moved.shape[0], dtype=np.float32)  # the data: nothing moved
        observed = np.array([self._look(c, look, here[:, None])[0] for c, look in looks], dtype=np.float32)
        ascending = np.argsort(observed, kind="stable")
        observed, ordered = observed[ascending], [looks[int(place)] for place in ascending]
        edge = (observed - _TIE * np.where(np.isfinite(observed), np.maximum(1.0, np.abs(observed)), 0.0))[
            :, None
        ]
        hits, highest = np.zeros(len(looks)), np.empty(self.n, dtype=np.float32)
        for at in steps(self.n, len(looks)):
            moved = self.moved[:, at]
            each = np.stack([self._look(c, look, moved) for c, look in ordered])
            np.maximum.accumulate(each, axis=0, out=each)
            hits += (each >= edge).sum(axis=1)
            highest[at] = each[-1]
        adjusted = np.maximum.accumulate(((1 + hits) / (1 + self.n))[::-1])[::-1]
        with np.errstate(invalid="ignore"):  # nothing varies
            critical = float(np.quantile(highest, 1 - alpha))
        return dict(zip(ordered, adjusted.tolist(), strict=True)), critical

    def _look(self, c: int, look: int, moved: _Floats) -> _Floats:
        """One statistic in some relabellings, standardised, [draws]; minus infinity where it does not vary."""
        at = _EACH * c
        if look in (_ALREADY, _BASE):
            auc, gain = at + _AUC, at + _GAIN
            shift = float(self.mean[auc] - self.mean[gain])
            known = np.isfinite(moved[auc])
            of_base = np.subtract(moved[auc], moved[gain], out=np.full_like(moved[auc], np.inf), where=known)
            of_base = self._scaled(of_base, shift, self.base_sd[c])
            if look == _BASE:
                return np.where(np.isneginf(of_base), of_base, np.abs(of_base))
            return np.minimum(self._scaled(moved[auc], float(self.mean[auc]), float(self.sd[auc])), of_base)
        row = at + (_AUC if look == _REVERSED else look)
        found = self._scaled(moved[row], float(self.mean[row]), float(self.sd[row]))
        return np.where(np.isinf(found), found, -found) if look == _REVERSED else found

    @staticmethod
    def _scaled(moved: _Floats, mean: float, sd: float) -> _Floats:
        if not sd:
            return np.full_like(moved, -np.inf)
        return ((moved - np.float32(mean)) / np.float32(sd)).astype(np.float32)
