"""Independent random numbers for every use, derived from one seed by name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def seed_of(seed: int, *words: str) -> int:
    """Derive an independent 63-bit seed from the run's seed and a name."""
    return int.from_bytes(hashlib.sha256("\x1f".join([str(seed), *words]).encode()).digest()[:8], "big") >> 1


def rng_of(seed: int, *words: str) -> np.random.Generator:
    """Return numpy's generator for a named use."""
    import numpy as np

    return np.random.default_rng(seed_of(seed, *words))
