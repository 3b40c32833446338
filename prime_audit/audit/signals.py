"""Signals: what one pass of a model over items yields, and all that an attack may look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Signals:
    """Observations of the items of one game, in the items' order. Fields an attack does not declare are absent."""

    logprobs: Sequence[np.ndarray] = ()
    """Per item, log-probability of each gold token, end-of-text included: float64 [T], nats."""
    base_logprobs: Sequence[np.ndarray] = ()
    """The same from the adapted base with nothing merged and nothing in front."""
    texts: Sequence[str] = ()
    """Per item, the gold text."""


FIELDS = tuple(Signals.__dataclass_fields__)
