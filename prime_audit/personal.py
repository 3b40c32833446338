"""What a method's models must be before anything is asked of them: checked here, so that the method is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from prime_audit.errors import PartError

if TYPE_CHECKING:
    from prime_audit.community.build import Community
    from prime_audit.plugins import Personal


def require_sound(method: str, made: Mapping[str, Personal], community: Community) -> None:
    """Raise PartError unless every target has a model of finite weights over the bank, and merges sharers only."""
    missing = [u.id for u in community.targets if u.id not in made]
    if missing:
        raise PartError(
            f"{community.task.name}: {method} made no model for user {missing[0]} (of {len(missing)}): no history"
        )
    sharers, bank = {s.user.id for s in community.sharers}, set(community.engine.bank.names)
    for target, personal in made.items():
        if wrong := [n for n in personal.sharers if n not in sharers]:
            raise PartError(
                f"method {method}: target {target} merges {wrong[0]!r}, who shares nothing; "
                "Personal.sharers are ids of community.sharers"
            )
        if unknown := [n for n in personal.mixture.names if n not in bank]:
            raise PartError(
                f"method {method}: target {target} merges adapter {unknown[0]!r}, which the bank does not hold; "
                "call community.ready(), or bank.add"
            )
        if not np.isfinite(np.asarray(personal.mixture.weights, dtype=np.float64)).all():
            raise PartError(f"method {method}: target {target} has merge weights that are not finite")
