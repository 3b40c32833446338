"""Calling plugins: what they return is checked, and what they raise is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.design import Dealt
from prime_audit.audit.signals import Signals, returned
from prime_audit.errors import FAULTS, PartError, UserError, in_a_line
from prime_audit.plugins.contracts import Attack, Audited, Augment, Game, Method, Personal, Scene

if TYPE_CHECKING:
    from prime_audit.audit.pool import Pool
    from prime_audit.community.build import Community


_FILE = " [--plugin FILE]"
"""A plugin of one file is found by it alone."""


@contextmanager
def naming(kind: str, name: str, *passes: type[Exception]) -> Iterator[None]:
    """Raise what a plugin raises as a PartError with its name, except a UserError of ours and what ``passes``."""
    ours: tuple[type[Exception], ...] = (UserError, *passes)
    try:
        yield
    except ours:
        raise
    except FAULTS as fault:
        said = f"{kind} {name} failed: {in_a_line(fault)}; see prime-audit doctor {name}{_FILE}"
        raise PartError(said) from fault


def models_of(method: Method, scene: Scene, values: Mapping[str, Any]) -> dict[str, Personal]:
    """Make every target's model with a method's parameters in force -> target id: model.

    PartError where the method fails, or returns anything else.
    """
    assert method.personalise is not None
    with naming("method", method.name):
        made = method.personalise(scene, **values)
    if not isinstance(made, dict) or not all(isinstance(p, Personal) for p in made.values()):
        raise PartError(
            f"method {method.name} must return {{target id: Personal}}; see prime-audit doctor {method.name}{_FILE}"
        )
    return made


def front_of(method: Method, values: Mapping[str, Any], *, alone: bool) -> Augment:
    """Decide what a method of the prompt puts in front; PartError where it fails."""
    assert method.augment is not None
    with naming("method", method.name):
        return method.augment(alone=alone, **values)


def scores_of(attack: Attack, signals: Signals) -> FloatArray:
    """Score a game's items with what the attack declares, and check what it returns -> [items], NaN = undefined.

    Scores beyond ±1e300, the infinite ones too, become ±1e300: JSON and averages can hold them. PartError where the
    attack fails, or returns anything but one number an item.
    """
    with naming("attack", attack.name):
        scores = attack.score(signals.only(attack.needs))
    return np.clip(returned(attack.name, scores, signals.items), -1e300, 1e300)


def dealt_of(game: Game, audited: Audited, pool: Pool) -> Dealt:
    """Deal a game to one target's model; PartError where it fails, or gives neither two sides of rows nor a reason."""
    with naming("game", game.name):
        dealt = game.deal(audited, pool)
    if not isinstance(dealt, Dealt) or not _sound(dealt, pool):
        raise PartError(
            f"game {game.name} must return Dealt: rows of the pool, each with its side and owner, or "
            f"Dealt.nothing(target, reason); see prime-audit doctor {game.name}{_FILE}"
        )
    return dealt


def _sound(dealt: Dealt, pool: Pool) -> bool:
    rows = np.asarray(dealt.rows)
    if dealt.reason is not None:
        return not rows.size
    fits = rows.size == np.size(dealt.members) == len(dealt.owners) == np.unique(rows).size > 0
    return fits and int(rows.min()) >= 0 and int(rows.max()) < len(pool)


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
