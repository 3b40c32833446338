"""Corrections over a board: the seeds of a cell combined, then all cells of a game together.

A cell is one attack on one method in one task. Every seed draws membership by itself. Under the null scores do not
depend on membership: given all scores, the relabellings of two seeds are two independent draws, even where the seeds
share people or items, and so are their p. Stouffer's sum of normal quantiles combines them; it assumes nothing else.
A p of n relabellings counts as no surer than n can tell, 1 − 1/(1 + n) where it is 1, and a seed whose statistic does
not vary has no say: one such seed vetoes nothing.
A cell has up to three looks, as a verdict has (``verdict``): the AUC's gain over the base's, the tail, and *already*,
the larger p of the AUC and of the base's AUC. Each look is combined over the seeds, and the cell's p share one error
(Bonferroni). Over the cells a look is called where Benjamini and Hochberg's step selects its cell
(``permutation.over_families``). The step assumes that cells are not negatively dependent; they share people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from prime_audit.audit.permutation import PERMUTATIONS, over_families


class Looks(NamedTuple):
    """One seed's raw p-values of a cell; None where the record holds none."""

    gain: float | None
    tail: float | None = None
    already: float | None = None
    n: int = PERMUTATIONS
    """Relabellings."""

    @classmethod
    def of(
        cls,
        gain: float | None,
        tail: float | None,
        auc: float | None,
        base: float | None,
        n: int | None,
        detectable: float | None,
    ) -> Looks:
        """Take a figure's raw p; a gain of which nothing is detectable does not vary over the relabellings: no look."""
        still = detectable is not None and detectable <= 0.5
        already = None if auc is None or base is None else max(auc, base)
        return cls(None if still else gain, tail, already, n or PERMUTATIONS)


_LOOKS = ("gain", "tail", "already")


def stouffer(p_values: Sequence[float], relabellings: Sequence[int]) -> float:
    """Combine independent one-sided p-values, at least one, in (0, 1], each of n relabellings (Stouffer et al. 1949).

    A p counts as at least 1/(1 + n) and at most 1 − 1/(1 + n).
    """
    if len(p_values) == 1:
        return p_values[0]
    edge = 1 / (1 + np.asarray(relabellings))
    return float(ndtr(np.sum(ndtri(np.clip(p_values, edge, 1 - edge))) / np.sqrt(len(p_values))))


def board_wide(
    cells: Sequence[Sequence[Looks]], people: Sequence[float] | None = None
) -> list[tuple[float, float]]:
    """Return for each cell, of the looks of its seeds, q of a leak and q of one already in the base.

    q is the smallest level at which the board calls it; 1 where there is no p. ``people``: a p over people for each
    cell, which a leak's is at least; 0 where none is asked for. It is of all seeds together, for these share people.
    """
    families = []
    for seeds, firm in zip(cells, people or [0.0] * len(cells), strict=True):
        gain, tail, already = (_combined(look, seeds) for look in _LOOKS)
        known = max(1, sum(p is not None for p in (gain, tail, already)))
        least = min((p for p in (gain, tail) if p is not None), default=1.0)
        leak, base = (min(1.0, known * p) for p in (least, 1.0 if already is None else already))
        families.append([max(leak, firm), base])
    return [(leak, already) for leak, already in over_families(families)] if families else []


def _combined(look: str, seeds: Sequence[Looks]) -> float | None:
    known = [(p, one.n) for one in seeds if (p := getattr(one, look)) is not None]
    return stouffer(*zip(*known, strict=True)) if known else None
