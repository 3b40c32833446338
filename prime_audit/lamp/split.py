"""Roles for data without a split: 25 % of users adapt the base model, 100 are targets, the rest may share."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Set
from dataclasses import dataclass
from typing import TypeAlias

from prime_audit.errors import UserError
from prime_audit.lamp.data import User

Roles: TypeAlias = tuple[tuple[User, ...], tuple[User, ...], tuple[User, ...]]
"""Users who adapt the base model, targets, and candidates for sharing."""


@dataclass(frozen=True)
class SplitOptions:
    """How to draw roles and take questions from histories where a layout has none."""

    seed: int = 0
    """The same seed and the same users give the same roles, whatever the order of the file."""
    targets: int = 100
    """Most targets; fewer where less than a third of the users would stay candidates."""
    adapt_share: float = 0.25
    """Share of the users who adapt the base model."""
    queries: float = 0.2
    """Share of a history that becomes questions, from its end: at least 1 item, at most 10."""

    def __post_init__(self) -> None:
        if self.targets < 1:
            raise UserError(f"targets: {self.targets} is not a number of users: pass at least 1")
        for name, share in (("adapt_share", self.adapt_share), ("queries", self.queries)):
            if not 0 <= share < 1:
                raise UserError(f"{name}: {share} is not a share: pass at least 0 and less than 1")


def draw_roles(
    users: Collection[str], can_adapt: Set[str], can_target: Set[str], options: SplitOptions
) -> tuple[set[str], set[str]]:
    """Draw who adapts the base model and who is a target. Everyone else is a candidate.

    Of the possible targets, the adapting share and a third are left for the other roles. Otherwise no long histories
    would be left to share where few users have one. Both shares are of the users who can fill the role, which in most
    data is everyone. ``can_adapt`` and ``can_target`` are the users with enough data for the role; the others can only
    be candidates. Targets come from the front of the drawn order and adapting users from its end: with fewer targets
    the same people adapt, so what is tuned on them is tuned on no target.
    Returns disjoint sets of ids: who adapts, and the targets (empty where too few qualify).
    """
    order = sorted(users)
    random.Random(options.seed).shuffle(order)
    fit = [user for user in order if user in can_target]
    spare = len(fit) - round(options.adapt_share * len(fit)) - math.ceil(len(fit) / 3)
    targets = set(fit[: max(min(options.targets, spare), 0)])
    free = [user for user in reversed(order) if user in can_adapt and user not in targets]
    return set(free[: round(options.adapt_share * len(can_adapt))]), targets


def by_role(users: Collection[User], adapt: Set[str], targets: Set[str]) -> Roles:
    """Sort users by role, keeping their order."""
    return (
        tuple(user for user in users if user.id in adapt),
        tuple(user for user in users if user.id in targets),
        tuple(user for user in users if user.id not in adapt and user.id not in targets),
    )
