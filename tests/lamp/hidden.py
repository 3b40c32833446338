"""The answer key of a built-in world: what its users' texts follow."""

from __future__ import annotations

from random import Random

from prime_audit.lamp.world import world
from prime_audit.lamp.world.text import Taste


def tastes(task: str, *, seed: int = 0, users: int = 48, clusters: int = 6) -> list[Taste]:
    """Return each user's hidden taste, in the order of the world's users; user ``i`` is in cluster ``i % clusters``."""
    prototypes = [world._prototype(task, Random(f"{seed}/{task}/cluster/{c}")) for c in range(clusters)]
    return [
        world._deviate(task, prototypes[i % clusters], Random(f"{seed}/{task}/taste/{i}"))
        for i in range(users)
    ]
