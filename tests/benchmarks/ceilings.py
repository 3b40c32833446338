"""What the hardware does at best, measured beside the benchmarks: a large matrix product and a large copy."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from .shapes import Room


def best(room: Room, run: Callable[[], object], rounds: int = 10) -> float:
    """Return the seconds of the fastest of several calls, after two to warm up."""
    times = []
    for _ in range(rounds + 2):
        room.sync()
        begin = time.perf_counter()
        run()
        room.sync()
        times.append(time.perf_counter() - begin)
    return min(times[2:])


def matrix_rate(room: Room) -> float:
    """FLOP/s of a square matrix product in the model's type, the best of three sizes."""
    rates = []
    for n in (4096, 8192, 16384) if room.cuda else (512, 1024, 2048):
        a, b = (torch.randn(n, n, device=room.base.device, dtype=room.base.dtype) for _ in range(2))
        rates.append(2 * n**3 / best(room, partial(torch.matmul, a, b)))
    return max(rates)


def copy_rate(room: Room) -> float:
    """Bytes/s of a copy, read and written bytes together."""
    n = 2**30 if room.cuda else 2**26
    source = torch.zeros(n // 4, device=room.base.device)
    target = torch.empty_like(source)
    return 2 * n / best(room, lambda: target.copy_(source))
