"""What is examined: audits whose answer is known, one row a kind."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from prime_audit.games.exam.simulated import HELD, World

MANY = 14
"""Attacks of an audit with many."""
METHODS, TASKS = 8, 6
"""Of a board."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of simulated audit."""

    what: str
    game: str
    world: World = field(default_factory=World)
    leaks: bool = False
    """Whether there is a leak: *leaks* is then found, else a false alarm."""

    @property
    def everything(self) -> bool:
        """Whether targets' own items and coins are simulated."""
        return self.game in ("inclusion", "target")


_LARGE = World(sharers=50, targets=100, merged=3, items=16)
_DRIFT = 0.2
SCENARIOS: tuple[Scenario, ...] = (
    *(Scenario(what="null", game=game) for game in ("paper", "heldout", "target", "inclusion")),
    Scenario(what=f"null, {MANY} attacks", game="heldout", world=World(attacks=MANY)),
    Scenario(what="selection shift of 0.5", game="paper", world=World(shift=0.5)),
    *(
        Scenario(what=f"only how many are in, {count:g}", game="inclusion", world=World(count=count))
        for count in (0.5, 2.0)
    ),
    *(
        Scenario(
            what=f"held out: {held}, drift {_DRIFT:g}",
            game="heldout",
            world=World(held=held, drift=_DRIFT, sharers=12),
        )
        for held in HELD
    ),
    *(
        Scenario(what=f"leak of {strength:g}", game="heldout", world=World(strength=strength), leaks=True)
        for strength in (0.1, 0.3)
    ),
    *(
        Scenario(
            what=f"{100 * share:g} % of members memorised, 100 targets, 50 sharers, 8 v 8",
            game="heldout",
            world=replace(_LARGE, share=share, strength=0.9),
            leaks=True,
        )
        for share in (0.05, 0.1)
    ),
)
"""Strengths, shifts and drifts are standard deviations of an item's score."""
BOARD = World(methods=METHODS)
"""One task of a board on which nothing leaks."""
PEOPLE = (3, 5, 8, 15)
"""Sizes at which intervals are examined."""


def coverage_world(game: str, people: int) -> World:
    """Return a world with an uneven leak and so many people: sharers, or targets in the target game."""
    leak = World(strength=1.0, uneven=1.0)
    if game == "target":
        return replace(leak, targets=people, sharers=8)
    merged = min(3, people if game == "heldout" else people // 2)
    return replace(leak, sharers=people, targets=10, merged=merged)
