"""Batches of rows with similar lengths and the same adapters, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

Tick = Callable[[int], None]
"""Called with the number of units just finished, for progress."""
T = TypeVar("T")


def nothing(_: int) -> None:
    """Ignore progress."""


class Progress:
    """Counts progress; at the end it adds what was cached and so was not counted."""

    def __init__(self, tick: Tick) -> None:
        self._tick, self._done = tick, 0

    def __call__(self, done: int) -> None:
        """Count units just finished."""
        self._done += done
        self._tick(done)

    def finish(self, total: int) -> None:
        """Count the rest of ``total``."""
        if self._done < total:
            self._tick(total - self._done)


def batches(
    items: Sequence[T],
    *,
    group: Callable[[T], Hashable],
    length: Callable[[T], int],
    tokens: int,
    worth: float,
) -> Iterator[list[int]]:
    """Yield batches of indices of ``items``: one group each, near-equal lengths, ≤ ``tokens`` padded tokens.

    Padding is wasted work, and so is what a pass costs besides its tokens: a batch has at most ``worth`` tokens of
    padding, as many as could be computed instead of another pass (``Base.worth``; infinity: rows of any length).
    Long rows come first, so a batch too large for the memory fails at the start of a run. A row longer than
    ``tokens`` is a batch of its own.
    """
    groups = [group(item) for item in items]
    lengths = [length(item) for item in items]
    keys: dict[Hashable, int] = {}
    for key in groups:
        keys.setdefault(key, len(keys))
    order = sorted(range(len(items)), key=lambda i: (keys[groups[i]], -lengths[i], i))
    batch: list[int] = []
    longest = padding = 0
    for i in order:
        more = longest - lengths[i]
        if batch and (
            groups[i] != groups[batch[0]] or (len(batch) + 1) * longest > tokens or padding + more > worth
        ):
            yield batch
            batch = []
        if not batch:
            longest, padding, more = lengths[i], 0, 0
        padding += more
        batch.append(i)
    if batch:
        yield batch


def unite(
    sets: Sequence[frozenset[str]], length: Callable[[int], int], tokens: int, most: int
) -> dict[frozenset[str], frozenset[str]]:
    """Join sets of adapters whose rows do not fill a batch into pools; returns set → pool.

    A pool has at most ``most`` adapters (a single set any number); the empty set, the bare base, stays alone. A
    sequential optimizer asks for one candidate per target: without pools, its few rows would be a batch.
    """
    load: dict[frozenset[str], int] = {}
    for i, names in enumerate(sets):
        load[names] = load.get(names, 0) + length(i)
    pools: list[tuple[frozenset[str], int, list[frozenset[str]]]] = []
    for names in sorted(load, key=lambda s: (-load[s], sorted(s))):
        fitting = [
            p for p in pools if names and p[0] and p[1] + load[names] <= tokens and len(p[0] | names) <= most
        ]
        best = min(fitting, key=lambda p: len(p[0] | names), default=None)
        if best is not None:
            pools.remove(best)
        union, held, inside = best or (names, 0, [])
        pools.append((union | names, held + load[names], [*inside, names]))
    return {names: union for union, _, inside in pools for names in inside}
