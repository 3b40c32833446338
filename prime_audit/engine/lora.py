"""One LoRA in memory, and the hash of tensors that names what is cached of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

NUMBER = re.compile("[0-9]{1,9}")
"""A layer's number in a module's path."""


@dataclass(frozen=True)
class Adapter:
    """One LoRA: site i adds ``scaling · B[i] A[i] x``."""

    sites: tuple[str, ...]
    """Module paths, in the model's forward order."""
    A: tuple[Tensor, ...]
    """Per site [r, d_in]."""
    B: tuple[Tensor, ...]
    """Per site [d_out, r]."""
    scaling: float
    """lora_alpha / r."""

    @property
    def rank(self) -> int:
        """Rank r of the first site."""
        return int(self.A[0].shape[0])

    @property
    def content(self) -> str:
        """Its content as a text: a hash of the factors, and the scaling."""
        return f"{hash_of([*self.A, *self.B])} {self.scaling!r}"


def layer_of(site: str) -> int:
    """Return the number of the decoder layer in a module path; -1 where there is none."""
    return int(next((part for part in site.split(".") if NUMBER.fullmatch(part)), -1))


def hash_of(tensors: Iterable[Tensor]) -> str:
    """Hash tensors' numbers, shapes and types, in their order."""
    import torch

    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
