"""The plugin contracts. ``loading`` finds plugins, ``calling`` calls them and checks what they return."""

from prime_audit.plugins.contracts import (
    Attack,
    Audited,
    Augment,
    Game,
    Method,
    Param,
    Personal,
    Scene,
    attack,
    game,
    method,
)

__all__ = [
    "Attack",
    "Audited",
    "Augment",
    "Game",
    "Method",
    "Param",
    "Personal",
    "Scene",
    "attack",
    "game",
    "method",
]
