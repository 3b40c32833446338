"""Cutting work into batches: rows of like length and like adapters, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

Tick = Callable[[int], None]
"""Called with the number of units just finished, for progress."""
T = TypeVar("T")


def nothing(_: int) -> None:
    """Tick for nobody."""


def batches(
    items: Sequence[T], *, group: Callable[[T], Hashable], length: Callable[[T], int], tokens: int
) -> Iterator[list[int]]:
    """Yield batches of indices of ``items``: one group each, near-equal lengths, ≤ ``tokens`` padded tokens.

    Long rows come first: a batch too large for the memory fails at the start of a run, not at its end.
    """
    keys: dict[Hashable, int] = {}
    for item in items:
        keys.setdefault(group(item), len(keys))
    order = sorted(range(len(items)), key=lambda i: (keys[group(items[i])], -length(items[i]), i))
    batch: list[int] = []
    for i in order:
        if batch and (
            group(items[i]) != group(items[batch[0]]) or (len(batch) + 1) * length(items[batch[0]]) > tokens
        ):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
