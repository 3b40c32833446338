"""Dropout whose random numbers depend on owner, step and example, never on the batch.

A step's rows may be split into passes in any way, together with any other owner's rows; each owner trains as if alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_LEVELS = 1 << 16
"""Four draws come from one 64-bit number: a rate is met to within 1/131072."""


@dataclass(frozen=True)
class Visit:
    """One example in one step of one owner: it decides the dropout."""

    key: int
    """The owner's, 64 bits."""
    step: int
    example: int
    """Its place among the owner's examples."""
    length: int
    """Its tokens."""
    gold: int
    """Its gold tokens: from the last layer's queries on, only these are computed."""


class Draws:
    """The dropout of one pass over these rows; sites draw one after the other, in the model's order."""

    def __init__(self, visits: Sequence[Visit], rate: float, device: torch.device) -> None:
        self._lengths, self._golds = [v.length for v in visits], [v.gold for v in visits]
        self._width = max(self._lengths)
        self._limit = round(rate * _LEVELS)
        self._device = device
        self.kept = 1 - self._limit / _LEVELS
        """Share of the inputs that remain; divide them by it."""
        # Philox has a key and a counter, not a seed: no two owners' streams can overlap.
        self._bits = [np.random.Philox(key=v.key, counter=[0, 0, v.step, v.example]) for v in visits]
        self._noise = (
            [torch.Generator(device).manual_seed(int(b.random_raw())) for b in self._bits]
            if device.type != "cpu"
            else []
        )

    def dropped(self, x: Tensor) -> Tensor:
        """Draw which inputs of x [rows, tokens, d] are dropped: bool, same shape; padding uses no draws.

        x has all tokens of every row, or only the positions that predict gold tokens.
        """
        counts = self._lengths if x.shape[1] == self._width else self._golds
        if self._noise:
            return self._on_device(x, counts)
        out = np.zeros(x.shape, dtype=np.bool_)
        width = x.shape[-1]
        for row, (bits, length) in enumerate(zip(self._bits, counts, strict=True)):
            count = length * width
            drawn = bits.random_raw(-(-count // 4)).view(np.uint16)[:count]
            np.less(drawn, self._limit, out=out[row, :length].reshape(-1))
        return torch.from_numpy(out)

    def _on_device(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        out = torch.zeros(x.shape, dtype=torch.bool, device=self._device)
        for row, (noise, length) in enumerate(zip(self._noise, counts, strict=True)):
            out[row, :length].bernoulli_(1 - self.kept, generator=noise)
        return out
