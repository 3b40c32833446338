"""The engine's cache: results by the content of the question.

A key hashes everything that decides a result: the base's weights, the adapters' numbers, mixtures, texts, sampling,
the batch's budget, the engine's code and libraries, device and number format. Methods that ask the same question
share the answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from prime_audit.cache.numeric import code_sha256
from prime_audit.engine.mixture import Observation, Written

if TYPE_CHECKING:
    from prime_audit.engine.base import Base

T = TypeVar("T")
Arrays = dict[str, np.ndarray]


class Keeper(Protocol):
    """A cache between runs."""

    def texts(self, key: str, make: Callable[[], list[Written]]) -> list[Written]:
        """Return the answers under ``key``, or make and store them."""

    def arrays(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """Return the arrays under ``key``, or make and store them."""


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
