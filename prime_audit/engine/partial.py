"""What a long computation has so far, kept while it goes on: an interruption costs what came after the last time.

Results do not depend on it: each row is computed in the batch that it would have been in anyway.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from prime_audit.engine.memo import Arrays

T = TypeVar("T")


class Partial(Protocol):
    """The place of one computation's state."""

    def read(self, load: Callable[[Arrays], T]) -> T | None:
        """Return what an interrupted run left, understood by ``load``; None where there is nothing sound."""

    def write(self, state: Callable[[], Arrays]) -> None:
        """Keep this state instead of the last one, if that one is old enough."""


class Nowhere:
    """Keeps nothing."""

    def read(self, load: Callable[[Arrays], T]) -> T | None:
        """Return None."""
        return None

    def write(self, state: Callable[[], Arrays]) -> None:
        """Do nothing."""


NOWHERE = Nowhere()


class Rows(Generic[T]):
    """The rows of a call that are done, by number."""

    def __init__(
        self,
        partial: Partial,
        pack: Callable[[Sequence[T]], Arrays],
        unpack: Callable[[Arrays], Sequence[T]],
    ) -> None:
        """``pack`` and ``unpack``: results in the form of arrays, and back."""
        self._partial, self._pack, self._unpack = partial, pack, unpack
        self.done: dict[int, T] = partial.read(self._load) or {}

    def left(self, batch: Sequence[int]) -> list[int]:
        """Return those of a batch that are not done."""
        return [i for i in batch if i not in self.done]

    def add(self, part: Sequence[int], found: Sequence[T]) -> None:
        """Take the results of some rows."""
        self.done.update(zip(part, found, strict=True))
        self._partial.write(
            lambda: {"row": np.array(list(self.done)), **self._pack(list(self.done.values()))}
        )

    def all(self) -> list[T]:
        """Return every row's result, in order."""
        return [self.done[i] for i in range(len(self.done))]

    def _load(self, state: Arrays) -> dict[int, T]:
        return dict(zip(state["row"].tolist(), self._unpack(state), strict=True))


def stacked(found: Sequence[np.ndarray]) -> Arrays:
    """Pack arrays of one shape."""
    return {"found": np.stack(found)}


def unstacked(state: Arrays) -> Sequence[np.ndarray]:
    """Read :func:`stacked`'s arrays back."""
    return list(state["found"])


def words(content: Any) -> np.ndarray:
    """Write JSON data as an array, uint8 [bytes]."""
    return np.frombuffer(json.dumps(content).encode(), dtype=np.uint8)


def of_words(state: Mapping[str, np.ndarray], name: str) -> Any:
    """Read :func:`words`' data back."""
    return json.loads(state[name].tobytes())
