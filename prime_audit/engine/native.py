"""Whether this machine multiplies matrices faster in a half format than in float32."""

from __future__ import annotations

import time
from functools import cache

import torch

SIZES = (256, 1024, 1024)
"""Tokens, inputs and outputs of the product that is timed: a small layer's."""
ROUNDS = 5
PAYS = 1.25
"""How many times faster a half format must be; emulated ones are slower than float32."""


@cache
def multiplies_natively(dtype: torch.dtype) -> bool:
    """Time a small product on the CPU in this type and in float32, in turn; True where this type is clearly faster.

    Takes well below a second, once a process. Which instructions a processor has differs by maker; the time
    also counts what torch makes of them.
    """
    tokens, inner, outer = SIZES
    x, weight = torch.ones(tokens, inner), torch.ones(outer, inner)
    best = dict.fromkeys((torch.float32, dtype), float("inf"))
    own = {kind: (x.to(kind), weight.to(kind)) for kind in best}
    with torch.inference_mode():
        for kind in (*best, *list(best) * ROUNDS):
            begin = time.perf_counter()
            torch.nn.functional.linear(*own[kind])
            best[kind] = min(best[kind], time.perf_counter() - begin)
    return best[dtype] * PAYS < best[torch.float32]
