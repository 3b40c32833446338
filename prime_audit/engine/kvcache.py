"""A key-value cache that grows in place: transformers' own is copied as a whole at every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values [rows, heads, room, d], of which the first ``filled`` columns are in use."""

    room = 32
    """Columns made at a time, beyond what is needed."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._filled = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append columns and return all in use, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = self._larger(key_states), self._larger(value_states)
            self._filled = key_states.shape[-2]
            return key_states, value_states
        more = key_states.shape[-2]
        if self._filled + more > self.keys.shape[-2]:
            self.keys, self.values = (
                self._larger(t[..., : self._filled, :]) for t in (self.keys, self.values)
            )
        self.keys[..., self._filled : self._filled + more, :] = key_states
        self.values[..., self._filled : self._filled + more, :] = value_states
        self._filled += more
        return self.keys[..., : self._filled, :], self.values[..., : self._filled, :]

    def fill(self, columns: int) -> None:
        """Say how many columns are in use, where the tensors were replaced."""
        self._filled = columns

    def get_seq_length(self) -> int:
        """Count the columns in use."""
        return self._filled

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only these rows."""
        self.keys, self.values = self.keys[indices], self.values[indices]

    def _larger(self, states: Tensor) -> Tensor:
        *front, columns, width = states.shape
        made = torch.empty((*front, columns + self.room, width), dtype=states.dtype, device=states.device)
        made[..., :columns, :] = states
        return made


def growing_cache(config: Any, max_new: int) -> Cache:
    """Return a cache for answers of up to ``max_new`` tokens; layers of a kind of their own keep transformers' own."""
    cache = DynamicCache(config=config)
    if any(type(layer) is not DynamicLayer for layer in cache.layers) or not cache.layers:
        return cache
    layers = [GrowingLayer() for _ in cache.layers]
    for layer in layers:
        layer.room = min(max_new, GrowingLayer.room)
    return Cache(layers=layers)


def joined(caches: Sequence[Cache]) -> Cache:
    """Put caches under each other, shorter rows padded on the right; they are used up, layer after layer."""
    first = caches[0]
    for number, layer in enumerate(first.layers if len(caches) > 1 else ()):
        parts = [cache.layers[number] for cache in caches]
        growing = isinstance(
            layer, GrowingLayer
        )  # any other kind comes with its longest rows first, and no holes
        used = [part.get_seq_length() if growing else part.keys.shape[-2] for part in parts]
        columns = max(used)
        layer.keys, layer.values = (
            torch.cat(
                [_wide(getattr(part, name)[..., :n, :], columns) for part, n in zip(parts, used, strict=True)]
            )
            for name in ("keys", "values")
        )
        if growing:
            layer.fill(columns)
        for part in parts[1:]:
            part.keys = part.values = None
    return first


def _wide(states: Tensor, columns: int) -> Tensor:
    """Pad [rows, heads, used, d] with zeros to so many columns: a mask hides them, and hides no NaN."""
    return torch.nn.functional.pad(states, (0, 0, 0, columns - states.shape[-2]))
