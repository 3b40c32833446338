"""Exposure: how high a canary ranks among those that were not trained on (Carlini et al. 2019, section 4.2).

A trained canary is ranked among R candidates: itself and the untrained canaries of its kind. Its exposure is
log₂ R − log₂ rank, in bits: 0 where it is the least likely, log₂ R where it is the most likely. With few candidates the
rank is coarse, and log₂ R is the most that can be shown.
"""

from __future__ import annotations

import numpy as np

from prime_audit.audit.auc import FloatArray


def exposures(trained: FloatArray, untrained: FloatArray) -> FloatArray:
    """Return the exposure of each trained canary in bits, [trained], by scores that are higher for the likelier text.

    The rank counts the untrained canaries above, and half of those with an equal score.
    """
    above = (untrained[None, :] > trained[:, None]).sum(axis=1)
    equal = (untrained[None, :] == trained[:, None]).sum(axis=1)
    found: FloatArray = np.log2(untrained.size + 1) - np.log2(1 + above + equal / 2)
    return found


def most(untrained: int) -> float:
    """Return the highest exposure that this number of untrained canaries can show, in bits."""
    return float(np.log2(untrained + 1))


def by_chance(untrained: int) -> float:
    """Return the mean exposure of a canary that was not trained on: every rank is equally likely; in bits."""
    return float(np.mean(most(untrained) - np.log2(np.arange(1, untrained + 2))))
