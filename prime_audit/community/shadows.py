"""Shadow adapters: many adapters of each sharer, each item in play in exactly half of them (Carlini et al. 2022).

A shadow is trained as the sharer's own adapter is: on the trained items that are in no game, and on a half of the items
in play, held-out ones included. Halves come in pairs, a random half and its complement. So every item is in exactly
half of the shadows, and a shadow has as many examples as the sharer's own adapter where as many trained as held-out
items are in play; an odd item more or less where their number is odd. The own adapter's split is one more such draw.

Only two things differ from the own adapter's training: the items, and the random numbers (start, order, dropout). The
profile text in front of augmented examples is that of the own adapter, in all shadows alike.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from math import comb
from typing import TYPE_CHECKING

from prime_audit.community.held import asked
from prime_audit.community.sharers import Sharer
from prime_audit.errors import UserError
from prime_audit.lamp.given import shown
from prime_audit.seeds import rng_of

if TYPE_CHECKING:
    from prime_audit.engine.bank import AdapterBank


def in_play(sharer: Sharer, seed: int) -> tuple[str, ...]:
    """Return the ids of a sharer's held-out items and of as many trained ones, drawn at random; oldest first.

    Only trained items without a copy are drawn; fewer where there are not enough.
    """
    play = asked(sharer, seed) | set(sharer.heldout)
    return tuple(item.id for item in sharer.user.history if item.id in play)


def shadows_of(sharer: Sharer, count: int, seed: int) -> list[Sharer]:
    """Return the sharer as each of ``count`` shadow adapters knows them: other items are trained and held out.

    UserError where the items in play have fewer different halves. ``count`` is even.
    """
    play = in_play(sharer, seed)
    size = len(play) // 2
    pairs = comb(len(play), size) // (1 if len(play) % 2 else 2) if size else 0
    if count > 2 * pairs:
        raise UserError(
            f"shadows = {count}: sharer {shown(sharer.user.id)} has {len(play)} items in play, which carry "
            f"{2 * pairs or 'no'} shadow adapters; lower --set shadows=N or raise --set heldout=SHARE"
        )
    rng, halves = rng_of(seed, "shadows", sharer.user.id), dict[frozenset[str], None]()
    while len(halves) < count:
        half = frozenset(rng.choice(play, size, replace=False).tolist())
        if half not in halves:
            halves |= dict.fromkeys((half, frozenset(play) - half))
    return [_trained_on(sharer, set(play), half) for half in halves]


def _trained_on(sharer: Sharer, play: set[str], half: frozenset[str]) -> Sharer:
    ids = [item.id for item in sharer.user.history]
    kept = half | (set(sharer.trained) - play)
    return replace(
        sharer, trained=tuple(i for i in ids if i in kept), heldout=tuple(i for i in ids if i not in kept)
    )


def shadow_name(user: str, number: int) -> str:
    """Name of a sharer's shadow adapter in a bank."""
    return f"shadow {number}:{user}"


def separate(bank: AdapterBank) -> AdapterBank:
    """Return a bank of the same adapters to which others can be added: shadows are no part of a community's bank."""
    return copy.deepcopy(bank, {id(bank.base): bank.base})
