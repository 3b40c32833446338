"""Exposure: how high a canary ranks among those that were not trained on (Carlini et al. 2019, section 4.2).

A trained canary is ranked among R candidates: itself and the untrained canaries of its kind. Its exposure is
log₂ R − log₂ rank, in bits: 0 where it is the least likely, log₂ R where it is the most likely. With few candidates the
rank is coarse, and log₂ R is the most that can be shown.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray

RELABELLINGS = 1999
"""Draws behind a p: the smallest is 0.0005."""


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


def relabelled_p(
    scores: Sequence[FloatArray],
    rows: Sequence[IntArray],
    trained: BoolArray,
    groups: IntArray,
    rng: np.random.Generator,
) -> float:
    """One-sided permutation p of the mean exposure, over targets, of trained canaries of one design.

    ``scores`` and ``rows``: per target, the canaries' scores and their rows in ``trained`` [canaries] and ``groups``
    [canaries]. Each relabelling draws anew which canaries of a group (a sharer) were trained on, as many as were, the
    same for all targets. p = (1 + relabellings with a mean at least as high) / (1 + relabellings).
    """
    labels = np.tile(trained, (RELABELLINGS + 1, 1))  # the first is as it was
    asked = np.unique(np.concatenate(list(rows)))
    for group in np.unique(groups[asked]):
        own = asked[groups[asked] == group]
        labels[1:, own] = rng.permuted(labels[1:, own], axis=1)
    means = np.zeros(RELABELLINGS + 1)
    for score, own in zip(scores, rows, strict=True):
        means += _means(score, labels[:, own])
    return float((means >= means[0] - 1e-9).mean())


def _means(scores: FloatArray, labels: BoolArray) -> FloatArray:
    """Mean of ``exposures`` under each labelling, [labellings, canaries] -> [labellings]."""
    order = np.argsort(-scores, kind="stable")
    trained, descending = labels[:, order], -scores[order]
    out = np.zeros((len(labels), scores.size + 1))
    np.cumsum(~trained, axis=1, out=out[:, 1:])
    above = out[:, np.searchsorted(descending, descending, side="left")]
    up_to = out[:, np.searchsorted(descending, descending, side="right")]
    ranks = np.log2(1 + (above + up_to) / 2)
    found: FloatArray = np.log2(out[:, -1] + 1) - np.where(trained, ranks, 0).sum(axis=1) / trained.sum(
        axis=1
    )
    return found
