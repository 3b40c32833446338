"""Units that exchange membership: who they are in all games of a task, and relabellings of them.

A unit is an item, or a sharer with all items. All games of all methods list some units each; a relabelling is of the
union. See ``permutation`` for why.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from scipy.special import gammaln

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray, Undefined
from prime_audit.audit.design import Dealt, Unit


@dataclass(frozen=True, eq=False)
class Cell:
    """One game by unit: what one target lists."""

    units: IntArray
    """Numbers of the units it lists, [u]."""
    labels: BoolArray
    """Whether each is a member, [u]."""
    of: IntArray
    """Place among ``units`` of each item, [items]."""
    items: IntArray
    """Number of each item, the same in all games, [items]."""
    sizes: FloatArray
    """Items of each unit, [u]."""


@dataclass(frozen=True, eq=False)
class Units:
    """All units, and which exchange membership."""

    cells: Sequence[Cell]
    group: IntArray
    """Units of one number may exchange, [units]."""
    labels: BoolArray
    """Membership of a unit that has one throughout, [units]."""
    mixed: BoolArray
    """Whether a unit of the same group is a member for some targets and not for others, [units]."""
    sizes: IntArray
    """Units of each group."""
    free: BoolArray
    """Whether a unit's membership can come out another, [units]."""

    @classmethod
    def of(cls, dealt: Sequence[Dealt], unit: Unit, apart: bool) -> Units:
        """Count out the units of some games; ``apart``: sharers of different targets are different units."""
        numbers, others, owned, cells = dict[Hashable, int](), dict[Hashable, int](), list[Hashable](), []
        unnamed = False
        for game in dealt:
            owners: Sequence[Hashable] = game.owners if unit == "sharer" else game.drawn_within
            if unit == "item":
                owners = [""] * len(owners)
            if len(dealt) == 1 and unit != "sharer":  # no other game to recognise an item in
                places = np.arange(len(owners))
                return cls._grouped([_cell(places, places, game.members)], _ids(owners), patterns=False)
            keys, named = item_keys(owners, game.items)
            unnamed |= not named
            if apart or (unit == "item" and not named):
                owners = [(game.target, owner) for owner in owners]
            items = list(zip(owners, keys, strict=True))
            if unit == "sharer":
                of = _numbered(owners, [game.target if apart else ""] * len(items), numbers, owned)
                cell = _cell(of, _numbered(items, owners, others, []), game.members)
                both = np.flatnonzero(cell.labels[cell.of] != game.members)
                if both.size:
                    raise ValueError(
                        f"sharer {game.owners[both[0]]!r} is on both sides of {game.target!r}: relabel items, not "
                        "sharers"
                    )
            else:
                of = _numbered(items, owners, numbers, owned)
                cell = _cell(of, of, game.members)
            cells.append(cell)
        owner = _ids(owned)
        found = cls._grouped(cells, owner, patterns=unit == "item" and len(cells) > 1)
        if unit == "item-within-sharer" and unnamed and found._unequal(owner):
            raise Undefined(
                "targets list unequal items of one sharer, and the items have no ids: without ids they cannot exchange "
                "membership for all targets alike"
            )
        return found

    @classmethod
    def _grouped(cls, cells: Sequence[Cell], group: IntArray, patterns: bool) -> Units:
        """Find who may exchange: all units of a group, or where ``patterns`` or membership is mixed, those that the
        same games list.
        """
        listed, inside = np.zeros(group.size, dtype=np.int64), np.zeros(group.size, dtype=np.int64)
        for cell in cells:
            listed[cell.units] += 1
            inside[cell.units] += cell.labels
        mixed = np.zeros(int(group.max()) + 1, dtype=np.bool_)
        mixed[group[(inside > 0) & (inside < listed)]] = True
        mixed = mixed[group]
        if patterns or mixed.any():
            joint: list[list[int]] = [[g] for g in group.tolist()]
            for number, cell in enumerate(cells):
                for unit in (cell.units if patterns else cell.units[mixed[cell.units]]).tolist():
                    joint[unit].append(number)
            group = _ids([tuple(own) for own in joint])
        sizes = np.bincount(group)
        members = np.bincount(group, weights=inside > 0)
        varied = np.where(mixed, sizes[group] > 1, (members > 0)[group] & (members < sizes)[group])
        return cls(cells, group, inside > 0, mixed, sizes, varied)

    def _unequal(self, owner: IntArray) -> bool:
        """Whether two games list other units of one owner, or other members."""
        if self.mixed.any():
            return True
        every = np.bincount(owner)
        for cell in self.cells:
            own, often = np.unique(owner[cell.units], return_counts=True)
            if (often != every[own]).any():
                return True
        return False

    def log_relabellings(self, cells: Sequence[Cell]) -> float:
        """Log of the number of distinct relabellings of some games: arrangements of the units' memberships."""
        inside = np.zeros(self.sizes.size, dtype=np.bool_)
        for cell in cells:
            inside[self.group[cell.units]] = True
        own = inside[self.group]
        plain = self.group[own & ~self.mixed]
        size = np.bincount(plain)
        members = np.bincount(plain, weights=self.labels[own & ~self.mixed])
        total = float((gammaln(size + 1) - gammaln(members + 1) - gammaln(size - members + 1)).sum())
        columns = {unit: bytearray() for unit in np.flatnonzero(own & self.mixed).tolist()}
        for cell in cells if columns else ():
            for unit, label in zip(cell.units.tolist(), cell.labels.tolist(), strict=True):
                if unit in columns:
                    columns[unit].append(label)
        kinds = Counter((int(self.group[unit]), bytes(seen)) for unit, seen in columns.items())
        groups = Counter(group for group, _ in kinds.elements())
        total += sum(math.lgamma(c + 1) for c in groups.values()) - sum(
            math.lgamma(c + 1) for c in kinds.values()
        )
        return total if total > 1e-9 else 0.0

    def fixed(self, cell: Cell) -> bool:
        """Whether no relabelling changes a game's number of member items."""
        free = self.free[cell.units]
        groups, sizes = self.group[cell.units[free]], cell.sizes[free]
        order = np.argsort(groups, kind="stable")
        groups, sizes = groups[order], sizes[order]
        _, first, often = np.unique(groups, return_index=True, return_counts=True)
        return bool(
            (often == self.sizes[groups[first]]).all() and (sizes == np.repeat(sizes[first], often)).all()
        )


def item_keys(owners: Sequence[Hashable], ids: Sequence[str | None] | None) -> tuple[list[Hashable], bool]:
    """Find what identifies each item among its owner's in every game, and whether that is an id.

    Without ids it is the place among the owner's. An id that an owner has again gets a number with it.
    """
    named = ids is not None and not any(one is None for one in ids)
    listed: Sequence[Hashable] = ids if named and ids is not None else [None] * len(owners)
    pairs = list(zip(owners, listed, strict=True))
    if len(set(pairs)) == len(pairs):
        return list(listed), named
    seen: dict[Hashable, Iterator[int]] = {}
    again = [next(seen.setdefault(pair, count())) for pair in pairs]
    return [(one, n) if n else one for one, n in zip(listed, again, strict=True)], named


def _numbered(
    keys: Sequence[Hashable], owners: Sequence[Hashable], numbers: dict[Hashable, int], groups: list[Hashable]
) -> IntArray:
    """Give numbers to keys, new ones after the others, and note the group of each new one."""
    found = []
    for key, owner in zip(keys, owners, strict=True):
        number = numbers.setdefault(key, len(numbers))
        if number == len(groups):
            groups.append(owner)
        found.append(number)
    return np.array(found, dtype=np.int64)


def _cell(places: IntArray, items: IntArray, members: BoolArray) -> Cell:
    units, first, of, sizes = np.unique(places, return_index=True, return_inverse=True, return_counts=True)
    return Cell(units, np.asarray(members)[first], of.ravel(), items, sizes.astype(np.float64))


def _ids(keys: Sequence[Hashable]) -> IntArray:
    """Give equal keys one number, by first appearance."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.int64)


def draws(
    units: Units, n: int, step: int, rng: np.random.Generator
) -> Iterator[tuple[BoolArray, IntArray | None]]:
    """Draw ``n`` relabellings, ``step`` at a time -> membership [draws, units], whose it is where that is needed."""
    alike: dict[tuple[int, int], list[IntArray]] = {}
    order = np.argsort(units.group, kind="stable")
    order = order[units.free[order]]
    for own in np.split(order, np.flatnonzero(np.diff(units.group[order])) + 1) if order.size else ():
        alike.setdefault((own.size, int(units.labels[own].sum())), []).append(own)
    blocks = {sizes: np.stack(own) for sizes, own in alike.items()}
    streams = rng.spawn(len(blocks))  # so that the steps change no draw
    mixed, everybody = bool(units.mixed.any()), np.arange(units.group.size)
    for first in range(0, n, step):
        count = min(step, n - first)
        labels, moved = np.tile(units.labels, (count, 1)), np.tile(everybody, (count if mixed else 0, 1))
        for ((_, members), block), stream in zip(blocks.items(), streams, strict=True):
            if mixed:
                moved[:, block] = stream.permuted(np.broadcast_to(block, (count, *block.shape)), axis=2)
            else:  # the units with the lowest of as many random numbers: faster than to permute
                drawn = stream.random((count, *block.shape))
                lowest = drawn <= np.partition(drawn, members - 1, axis=2)[:, :, members - 1, None]
                labels[:, _span(block.ravel())] = lowest.reshape(count, -1)
        yield (units.labels[moved], moved) if mixed else (labels, None)


def _span(places: IntArray) -> IntArray | slice:
    """Return places in a row as a slice: faster to write to."""
    first, last = int(places[0]), int(places[-1]) + 1
    inline = last - first == places.size and (np.diff(places) == 1).all()
    return slice(first, last) if inline else places
