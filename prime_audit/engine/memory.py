"""What fits into memory: sizes computed beforehand, and what to do when they were wrong all the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import torch

from prime_audit.errors import UserError


def free_bytes(device: torch.device) -> int:
    """Memory that can still be taken: the device's own, or what the machine has available; bytes."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch holds and does not use can be had again without asking the device.
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return _available() or 4 << 30


def _available() -> int:
    """Available memory of the machine by /proc/meminfo, 0 where there is none; a container's limit bounds it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 - a file that is no file
            found = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        pages = getattr(os, "sysconf", None)
        found = pages("SC_AVPHYS_PAGES") * pages("SC_PAGE_SIZE") if pages else 0
    return found


def out_of_memory(fault: BaseException) -> bool:
    """Tell whether a fault means that memory gave out, on a device or in the machine."""
    if isinstance(fault, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(fault, RuntimeError) and "DefaultCPUAllocator" in str(fault)


def halving(run: Callable[[Sequence[int]], None], part: Sequence[int], what: str) -> int:
    """Run a batch; where the memory gives out, run its halves, and so on. Returns the rows of its largest part.

    ``run`` has to leave nothing behind where it fails. Raises UserError where even one row does not fit.
    """
    try:
        run(part)
        return len(part)
    except (RuntimeError, MemoryError) as fault:
        if not out_of_memory(fault):
            raise
        if len(part) == 1:
            raise UserError(
                f"out of memory: {what} does not fit; give --set context=N with a smaller N, a smaller model, "
                "or --dtype bfloat16"
            ) from fault
    # Outside the handler: the fault's traceback would hold the failed batch's tensors.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = (len(part) + 1) // 2
    return max(halving(run, part[:half], what), halving(run, part[half:], what))
