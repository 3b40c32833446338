"""What fits into memory: estimates, and halving a batch where an estimate was wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from prime_audit.engine.attention import BLOCK, LONGEST, NAME
from prime_audit.engine.shape import Shape
from prime_audit.errors import UserError


def free_bytes(device: torch.device) -> int:
    """Free memory of the device, or of the machine for a CPU; bytes."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # torch reuses what it has reserved without allocating from the device.
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return int(psutil.virtual_memory().available)


def out_of_memory(fault: BaseException) -> bool:
    """Whether a fault means out of memory, on a device or in the machine."""
    if isinstance(fault, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(fault, RuntimeError) and "DefaultCPUAllocator" in str(fault)


@dataclass
class Fit:
    """Runs batches of one kind of work; halves what does not fit, and limits later batches to what did."""

    what: str
    """The work on one row, for messages."""
    most: int | None = None
    """Padded tokens of the largest batch to try; None: nothing has failed yet."""
    halved: int = 0
    """How often memory ran out."""

    def run(
        self, work: Callable[[Sequence[int]], None], batch: Sequence[int], length: Callable[[int], int]
    ) -> None:
        """Do ``work`` on a batch's rows, in parts if needed; ``work`` must leave no trace where it fails.

        ``length``: padded tokens of a row. Raises UserError where even one row does not fit.
        """
        waiting = [list(batch)]
        while waiting:
            part = waiting.pop()
            size = len(part) * max(map(length, part))
            if len(part) > 1 and self.most is not None and size > self.most:
                waiting += _halves(part)
            elif not self._done(work, part):
                self.halved += 1
                self.most = min(size // 2, self.most or size)
                waiting += _halves(part)

    def _done(self, work: Callable[[Sequence[int]], None], part: Sequence[int]) -> bool:
        try:
            work(part)
            return True
        except (RuntimeError, MemoryError) as fault:
            if not out_of_memory(fault):
                raise
            if len(part) == 1:
                raise UserError(
                    f"out of memory: {self.what} does not fit; lower --set context=N, or use a smaller model or "
                    "--dtype bfloat16"
                ) from fault
        # Outside the handler: the fault's traceback would hold the failed batch's tensors.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return False


def _halves(part: list[int]) -> list[list[int]]:
    """Split a batch in two, its first rows last: they are popped first."""
    half = (len(part) + 1) // 2
    return [part[half:], part[:half]]


SHARE = 0.8
"""Share of the free memory that a batch may use by estimate: estimates are incomplete."""


def tokens_that_fit(config: Any, item: int, device: torch.device, kind: str) -> int:
    """Compute how many padded tokens of a batch fit into the free memory, by the model's shape.

    ``item``: bytes of a number. ``kind``: ``generate`` stores keys and values of all layers, ``read`` one layer's
    states and logits of a quarter of the tokens in float32, ``train`` what gradients need. Where this bound is the
    tighter one, batches, and so the last bits of results, depend on the free memory.
    """
    each: int = {
        "generate": kv_bytes(config, item),
        "read": Shape.of(config).vocabulary * 12 // 4,
        "train": training_bytes(config, item),
    }[kind]
    return max(1, int(SHARE * free_bytes(device)) // (each + state_bytes(config, item)))


def kv_bytes(config: Any, item: int) -> int:
    """Bytes of one token's keys and values in all layers."""
    shape = Shape.of(config)
    return 2 * shape.layers * shape.shared * shape.width * item


def state_bytes(config: Any, item: int) -> int:
    """Bytes of one token's states at a layer's peak: the residual, its norm, q k v, and the MLP's inside."""
    shape = Shape.of(config)
    return (6 * shape.hidden + 3 * shape.inner) * item


def training_bytes(config: Any, item: int) -> int:
    """Bytes of one token's states that autograd saves in a training pass, in all layers.

    Of each layer: the residual and its norms, q k v and their rotated forms, the attention's output, on a CPU its
    weights (``attention``), the MLP's gate, up and product, and the inputs of the adapters after dropout.
    """
    shape = Shape.of(config)
    seen = (LONGEST + BLOCK) // 2 * shape.heads if config._attn_implementation == NAME else 0
    return shape.layers * (16 * shape.hidden + 5 * shape.inner + seen) * item
