"""The engine's cache: results by the content of the question.

A key hashes everything that decides a result: the base's weights, the adapters' numbers, mixtures, texts, sampling,
the batch's budget, the engine's code and libraries, device and number format. Methods that ask the same question
share the answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from prime_audit.cache.numeric import code_sha256
from prime_audit.engine.mixture import Observation, Written

if TYPE_CHECKING:
    from prime_audit.engine.base import Base

T = TypeVar("T")
Arrays = dict[str, np.ndarray]


class Partial(Protocol):
    """The place of what a long computation has so far: an interruption costs what came after the last time."""

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


class Keeper(Protocol):
    """A cache between runs."""

    def texts(self, key: str, make: Callable[[], list[Written]]) -> list[Written]:
        """Return the answers under ``key``, or make and store them."""

    def arrays(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """Return the arrays under ``key``, or make and store them."""

    def partial(self, key: str) -> Partial:
        """Return the place of what is done so far; to be asked for while ``key`` is made."""


def key_of(base: Base, kind: str, *asked: Any) -> str:
    """Hash a question to the current base; ``asked``: strings, numbers, nested tuples, or iterables of these."""
    import torch

    digest = hashlib.sha256()
    where = (base.device.type, str(base.dtype), torch.get_num_threads(), base.codec.context)
    sites = tuple(site.name for site in base.sites)
    for part in (kind, code_sha256("engine"), base.fingerprint, where, sites, *asked):
        for piece in part if isinstance(part, Iterable) and not isinstance(part, str | tuple) else (part,):
            digest.update(repr(piece).encode() + b"\0")
        digest.update(b"\1")
    return digest.hexdigest()


def once(asked: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Return the places of questions that no earlier one equals, and for every question the number of its equal."""
    numbers = dict[Hashable, int]()
    places = [numbers.setdefault(question, len(numbers)) for question in asked]
    firsts = dict[int, int]()
    for place, number in enumerate(places):
        firsts.setdefault(number, place)
    return list(firsts.values()), places


class Rows(Generic[T]):
    """The rows of a call that are done, by number.

    A row is computed in the batch that it would have been in anyway, so an interruption changes no result.
    """

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


_OF_VOCABULARY = ("mu", "sigma", "top")


# -- ragged rows as flat arrays ------------------------------------------------------------------------------


def pack(found: Sequence[Observation]) -> Arrays:
    """Flatten observations: values, and the length of each row."""
    rows = [row for o in found for row in o.logprobs]
    packed = {"many": np.array([len(o.logprobs) for o in found], dtype=np.int64), **_flat("logprobs", rows)}
    for name in _OF_VOCABULARY:
        own = [getattr(o, name) for o in found]
        if any(v is not None for v in own):
            packed |= _flat(name, [np.zeros(0) if v is None else v for v in own])
            packed[f"{name}.known"] = np.array([v is not None for v in own])
    return packed


def unpack(packed: Arrays) -> list[Observation]:
    """Read :func:`pack`'s arrays back."""
    rows = iter(_rows(packed, "logprobs"))
    logprobs = [tuple(next(rows) for _ in range(n)) for n in packed["many"].tolist()]
    moments = [
        [v if known else None for v, known in zip(_rows(packed, n), packed[f"{n}.known"], strict=True)]
        if n in packed
        else [None] * len(logprobs)
        for n in _OF_VOCABULARY
    ]
    return [Observation(*own) for own in zip(logprobs, *moments, strict=True)]


def _flat(name: str, rows: Sequence[np.ndarray]) -> Arrays:
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    kind = np.bool_ if name == "top" else np.float64
    return {
        name: np.concatenate([np.zeros(0, dtype=kind), *(np.asarray(r, dtype=kind) for r in rows)]),
        f"{name}.lengths": lengths,
    }


def _rows(packed: Arrays, name: str) -> list[np.ndarray]:
    ends = np.cumsum(packed[f"{name}.lengths"])
    return np.split(packed[name], ends[:-1]) if len(ends) else []


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
