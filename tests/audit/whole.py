"""Games in which a sharer is a member with all items, or with none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from prime_audit.audit.mean_auc import TargetScores


def whole_sharers(
    target: str, scores: ArrayLike, sharers: Sequence[str], member_sharers: Mapping[str, bool]
) -> TargetScores:
    flags = np.array([member_sharers[sharer] for sharer in sharers], dtype=np.bool_)
    return TargetScores(target, np.asarray(scores, dtype=np.float64), tuple(sharers), flags)
