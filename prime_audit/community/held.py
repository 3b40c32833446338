"""Items that games ask for: held out of a target (target game), or drawn of a sharer's trained ones (heldout game)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from prime_audit.community.sharers import Sharer, hold_out, singles
from prime_audit.lamp.data import Dataset, Item, User
from prime_audit.seeds import rng_of


@dataclass(frozen=True)
class Held:
    """One target, and the two sides of their game."""

    user: User
    """With the whole history, which only the auditor sees."""
    members: tuple[str, ...]
    """Ids of the queried items that methods see: as many as are held out, drawn at random."""
    others: tuple[str, ...]
    """Ids of the held-out items; empty where the history has fewer than two items."""

    @property
    def shown(self) -> User:
        """The target as methods see them: no held-out item, and no profile text made of the whole history."""
        return replace(self.user, history=without(self.user, self.others), profile=None)


def hold_back(data: Dataset, share: float, seed: int) -> tuple[Dataset, dict[str, Held]]:
    """Hold out ``share`` of every target's history, by the target's own random numbers; also return what was held out.

    As for sharers (``hold_out``): ⌊share·n⌋ items but at least one, never all, and none that has a copy.
    """
    held = {user.id: _hold(user, share, seed) for user in data.targets}
    return replace(data, targets=tuple(h.shown for h in held.values())), held


def _hold(user: User, share: float, seed: int) -> Held:
    if len(user.history) < 2 or share <= 0:
        return Held(user, (), ())
    drawn = hold_out(user, 0, share, seed)
    others = drawn.heldout
    rest = [i for i in singles(user) if i not in set(others)]
    rng = rng_of(seed, "target game", user.id)
    some = set(rng.choice(len(rest), size=min(len(others), len(rest)), replace=False).tolist())
    return Held(user, tuple(i for n, i in enumerate(rest) if n in some), others)


def without(user: User, ids: Collection[str]) -> tuple[Item, ...]:
    """Return a user's history without these items."""
    return tuple(i for i in user.history if i.id not in ids)


def asked(sharer: Sharer, seed: int) -> set[str]:
    """Draw the trained items that the heldout game asks for: as many as are held out, none that has a copy."""
    trained = set(sharer.trained)
    once = [item for item in singles(sharer.user) if item in trained]
    count = min(len(sharer.heldout), len(once))
    rng = rng_of(seed, "heldout game", sharer.user.id)
    return set(rng.choice(once, count, replace=False).tolist()) if count else set()
