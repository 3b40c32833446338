"""The plugin contracts. ``loading`` finds plugins, ``calling`` calls them and checks what they return."""

from prime_audit.plugins.contracts import (
    Attack,
    Augment,
    Method,
    Param,
    Personal,
    Scene,
    attack,
    method,
)

__all__ = ["Attack", "Augment", "Method", "Param", "Personal", "Scene", "attack", "method"]
