"""A test over people: whether gains are beyond chance, if what each person adds might as well be subtracted.

In the inclusion game coins are thrown anew for every target, but all targets share the adapters. Exchanging coins asks
whether merging changes scores. It does, even where an adapter holds nothing of its sharer: its effect on the sharer's
own items is then a matter of luck, but of the same luck for every target. So people have to be the sample as well.

A person's *share* is the jackknife's pseudo-value, n·θ − (n − 1)·θ without them (Efron and Tibshirani 1993, ch. 11):
their mean is close to the gain θ. If luck alone made them, each could have the other sign. All figures of a family
share the flips, and each flip's highest statistic counts (max-T): figures that say the same cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from prime_audit.audit.auc import FloatArray, numbered
from prime_audit.audit.mean_auc import TargetScores, leave_one_out, playable

ALL, SOME = 13, 9_999
"""Up to so many people every flip is counted (2^13); of more, so many random ones."""
_TIE = 1e-9
Shares = Mapping[str, float]
"""Person → share."""


def shares(panels: Sequence[TargetScores], base: Sequence[TargetScores] | None) -> Shares | None:
    """Split the mean AUC minus the base's (minus ½ where there is none) over people.

    Returns None where the AUC without one of them is undefined. Undefined where no target has both sides.
    """
    known = [playable(one) for one in (panels, base) if one is not None]
    found, (people, _) = leave_one_out(known), numbered(s for p in known[0] for s in p.sharers)
    if np.isnan(found.without).any():
        return None
    n, value = len(people), found.per_target.mean()
    own = n * value - (n - 1) * found.without - (0.5 if base is None else 0.0)
    return dict(zip(people, own.tolist(), strict=True))


def flipped(figures: Sequence[Shares | None], seed: int) -> list[float]:
    """Return the one-sided p of each figure's gain over all flips, corrected for all figures; 1 where it has no shares.

    ``seed``: of the random flips.
    """
    people, _ = numbered(name for own in figures if own for name in own)
    if not people:
        return [1.0] * len(figures)
    rows = np.array([[own.get(name, 0.0) if own else 0.0 for name in people] for own in figures])
    if len(people) <= ALL:
        signs = np.array([*product((1.0, -1.0), repeat=len(people))])
    else:
        drawn = np.random.default_rng(seed).choice((1.0, -1.0), size=(SOME, len(people)))
        signs = np.concatenate([np.ones((1, len(people))), drawn])  # the data's own first
    spread = np.sqrt(np.square(rows).sum(axis=1))
    # Monotone in Student's t, and finite where all shares are equal.
    found: FloatArray = np.divide(
        signs @ rows.T, spread, out=np.zeros((len(signs), len(rows))), where=spread > 0
    )
    highest = found.max(axis=1)
    return [float(np.mean(highest >= one - _TIE)) for one in found[0]]
