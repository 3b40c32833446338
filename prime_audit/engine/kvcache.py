"""A key-value cache that grows in place: transformers' own is copied at every token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

ROOM = 16
"""Columns that are added at a time for answers; adding them copies all keys and values."""
_STORED = ("keys", "values", "conv_states", "recurrent_states")
"""What layers of transformers' cache hold of each row: tensors, or tables of tensors."""


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values [rows, heads, room, d], of which the first ``filled`` columns are in use.

    Prompts are read into their rows part by part (``reading``), so nothing is copied at the end.
    """

    def __init__(self, rows: int, columns: int, room: int) -> None:
        """``columns`` of the longest prompt; ``room``: columns that are added at a time."""
        super().__init__()
        self.room = room
        self.reading: slice | None = None
        """The rows whose prompts come next; None: one token for every row comes next."""
        self._rows, self._columns, self._filled = rows, columns, 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add columns and return all that these rows may attend to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = self._blank(key_states), self._blank(value_states)
        if self.reading is not None:
            self._put(self.reading, 0, key_states, value_states)
            self._clear(self.reading, key_states.shape[-2])
            return key_states, value_states
        if self._filled + key_states.shape[-2] > self.keys.shape[-2]:
            self.keys, self.values = (
                nn.functional.pad(t[..., : self._filled, :], (0, 0, 0, self.room))
                for t in (self.keys, self.values)
            )
        self._put(slice(None), self._filled, key_states, value_states)
        self._filled += key_states.shape[-2]
        return self.keys[..., : self._filled, :], self.values[..., : self._filled, :]

    def close(self) -> None:
        """End the reading of prompts."""
        self.reading, self._filled = None, self._columns

    def get_seq_length(self) -> int:
        """Count the columns in use."""
        return self._filled

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only these rows."""
        if self.is_initialized:  # layers that read another layer's keys have none
            self.keys, self.values = self.keys[indices], self.values[indices]

    def _blank(self, states: Tensor) -> Tensor:
        """Allocate for all rows; no part is used before it is written or cleared."""
        heads, width = states.shape[1], states.shape[3]
        return states.new_empty((self._rows, heads, self._columns + self.room, width))

    def _clear(self, rows: slice, start: int) -> None:
        """Put zeros after prompts shorter than the longest: a mask does not hide NaN."""
        for held in (self.keys, self.values):
            held[rows, :, start : self._columns] = 0

    def _put(self, rows: slice, start: int, keys: Tensor, values: Tensor) -> None:
        columns = slice(start, start + keys.shape[-2])
        self.keys[rows, :, columns], self.values[rows, :, columns] = keys, values


@dataclass(frozen=True)
class Caches:
    """How a model stores what it has read."""

    config: Any
    own: type | None = None
    """The class of the model's cache, where it accepts no other; None: transformers' common one."""
    apart: bool = True
    """Whether rows may be read in parts, and may leave one by one."""

    def new(self) -> Cache:
        """Return an empty cache of the model's own kind."""
        return self.own() if self.own else DynamicCache(config=self.config)


class Reader:
    """The cache of a batch while its prompts are read: part after part, in the order of its rows."""

    def __init__(self, caches: Caches, rows: int, columns: int, max_new: int) -> None:
        """Layers with a special cache use transformers' own, one per part, joined at the end."""
        self._caches, self._parts = caches, list[Cache]()
        kinds = [] if caches.own else DynamicCache(config=caches.config).layers
        self._whole = None
        if kinds and all(_whole(layer, columns + max_new) for layer in kinds):
            self._whole = Cache(layers=[GrowingLayer(rows, columns, min(max_new, ROOM)) for _ in kinds])

    def part(self, rows: slice) -> Cache:
        """Return the cache to read these rows' prompts with."""
        if self._whole is None:
            self._parts.append(self._caches.new())
            return self._parts[-1]
        for layer in self._whole.layers:
            layer.reading = rows
        return self._whole

    def whole(self) -> Cache:
        """Return the cache of all rows, once the last part has been read."""
        if self._whole is None:
            return joined(self._parts)
        for layer in self._whole.layers:
            layer.close()
        return self._whole


def _whole(layer: Any, columns: int) -> bool:
    """Whether a layer keeps every column: it has no window, or one that so many columns do not fill."""
    return type(layer) is DynamicLayer or (
        type(layer) is DynamicSlidingWindowLayer and columns <= layer.sliding_window
    )


def joined(caches: Sequence[Cache]) -> Cache:
    """Stack caches of equally long rows; the parts are emptied layer by layer."""
    first = caches[0]
    for number, layer in enumerate(first.layers if len(caches) > 1 else ()):
        parts = [cache.layers[number] for cache in caches]
        for name in _STORED:
            if getattr(layer, name, None) is not None:
                setattr(layer, name, _stacked([getattr(part, name) for part in parts]))
            for part in parts[1:]:
                if hasattr(part, name):
                    setattr(part, name, None)
    return first


def _stacked(held: Sequence[Any]) -> Any:
    first = held[0]
    if isinstance(first, dict):
        return {key: _stacked([own[key] for own in held]) for key in first}
    return None if first is None else torch.cat(list(held))


def select(cache: Cache, rows: Tensor) -> None:
    """Keep only these rows of a batch's cache."""
    for layer in cache.layers:
        if isinstance(layer, GrowingLayer):
            layer.batch_select_indices(rows)
        else:  # unlike batch_select_indices, it covers states of linear attention
            layer.reorder_cache(rows)
