"""Greedy decoding by default, or sampling with random numbers that depend on the request, not on the batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How to draw tokens (the paper: temperature 0.1, top-p 0.9); ValueError out of range."""

    temperature: float = 0.1
    """Divides the logits; above 0."""
    top_p: float = 0.9
    """Keep the fewest likeliest tokens that reach this share, among those that ``top_k`` keeps."""
    top_k: int = 0
    """Keep only this many likeliest tokens; 0 keeps all."""
    seed: int = 0
    """Decides, with a request's key, every number drawn for it."""

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and 0 < self.top_p <= 1 and self.top_k >= 0):
            raise ValueError(f"{self}: needs temperature > 0, 0 < top_p ≤ 1, top_k ≥ 0")


def uniforms(
    sampling: Sampling | None, keys: Sequence[tuple[str, ...]], steps: int, device: torch.device
) -> Tensor | None:
    """Draw a number in [0, 1) per request and step, [n, steps]: a function of the seed and the key alone."""
    if sampling is None:
        return None
    rows = []
    for key in keys:
        if not key:  # all requests without one would draw the same numbers
            raise ValueError("sampling needs a key in every request")
        digest = hashlib.sha256("\x1f".join([str(sampling.seed), *key]).encode()).digest()
        rows.append(
            np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big"))).random(steps)
        )
    return torch.tensor(np.stack(rows), device=device)


def choose(logits: Tensor, sampling: Sampling | None, u: Tensor | None) -> Tensor:
    """Pick a token per row, int64 [n]: the likeliest, or by inverting the kept distribution at u [n]."""
    if sampling is None or u is None:
        return logits.argmax(-1)
    ranked, order = (logits.double() / sampling.temperature).sort(dim=-1, descending=True, stable=True)
    # As in transformers: top-p of what top-k keeps.
    p = torch.softmax(ranked[:, : sampling.top_k or None], -1)
    total = p.cumsum(-1)
    kept = ((total - p) < sampling.top_p).sum(-1, keepdim=True)
    kept = kept.clamp(min=1)  # 0 only where a logit is not a number; the caller checks that
    reach = total.gather(-1, kept - 1)
    place = torch.searchsorted(total, u[:, None] * reach, right=True)
    return order.gather(-1, torch.minimum(place, kept - 1))[:, 0]
