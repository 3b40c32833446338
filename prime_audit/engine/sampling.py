"""Decoding: greedy by default; sampling whose random numbers belong to the request, not to the batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How to draw tokens (PROTOCOL §3: temperature 0.1, top-p 0.9)."""

    temperature: float = 0.1
    top_p: float = 0.9
    top_k: int = 0
    """Keep only this many likeliest tokens; 0 keeps all."""
    seed: int = 0


def uniforms(
    sampling: Sampling | None, keys: Sequence[tuple[str, ...]], steps: int, device: torch.device
) -> Tensor | None:
    """One number in [0, 1) per request and step, [n, steps], a function of the seed and the request's key alone."""
    if sampling is None:
        return None
    rows = []
    for key in keys:
        digest = hashlib.sha256("\x1f".join([str(sampling.seed), *key]).encode()).digest()
        rows.append(np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big"))).random(steps))
    return torch.tensor(np.stack(rows), device=device)


def choose(logits: Tensor, sampling: Sampling | None, u: Tensor | None) -> Tensor:
    """Pick a token per row, int64 [n]: the likeliest, or by inverting the kept distribution at u [n]."""
    if sampling is None or u is None:
        return logits.argmax(-1)
    p, order = torch.softmax(logits.double() / sampling.temperature, -1).sort(dim=-1, descending=True, stable=True)
    before = p.cumsum(-1) - p
    p = p.masked_fill(before >= sampling.top_p, 0.0)  # the likeliest token always stays: nothing stands before it
    if sampling.top_k:
        p[:, sampling.top_k :] = 0.0
    total = p.cumsum(-1)
    place = torch.searchsorted(total, (u * total[:, -1])[:, None], right=True).clamp(max=p.shape[-1] - 1)
    return order.gather(-1, place)[:, 0]
