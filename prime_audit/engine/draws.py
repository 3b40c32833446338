"""Dropout whose random numbers belong to an example's visit: the owner, the step, the example; never to the batch.

So a step's rows may be cut into passes in any way, beside any other owner's rows, and each owner trains as if alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_LEVELS = 1 << 16
"""Four draws come of one 64-bit number: a rate is met to within 1/131072."""


@dataclass(frozen=True)
class Visit:
    """One example in one step of one owner: what its dropout is drawn from."""

    key: int
    """The owner's, 64 bits."""
    step: int
    example: int
    """Its place among the owner's examples."""
    length: int
    """Its tokens."""
    gold: int
    """Its gold tokens: at the last layer's queries and what follows, only they are computed."""


class Draws:
    """The dropout of one pass over these rows; sites ask one after the other, in the model's order."""

    def __init__(self, visits: Sequence[Visit], rate: float, device: torch.device) -> None:
        self._lengths, self._golds = [v.length for v in visits], [v.gold for v in visits]
        self._width = max(self._lengths)
        self._limit = round(rate * _LEVELS)
        self._device = device
        self.kept = 1 - self._limit / _LEVELS
        """Share of the inputs that is kept: what is left has to be divided by it."""
        # Philox is keyed and counted, not seeded: no owner's stream can run into another's.
        self._bits = [np.random.Philox(key=v.key, counter=[0, 0, v.step, v.example]) for v in visits]
        self._noise = (
            [torch.Generator(device).manual_seed(int(b.random_raw())) for b in self._bits]
            if device.type != "cpu"
            else []
        )

    def dropped(self, x: Tensor) -> Tensor:
        """Draw which inputs of x [rows, tokens, d] are left out: bool, alike; padding is never drawn for.

        x holds all tokens of every row, or only the positions that predict gold tokens.
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
