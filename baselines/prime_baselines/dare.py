"""DARE: the most similar sharers' entries dropped at random and the rest scaled up, then averaged or merged by TIES."""

from __future__ import annotations

import math

import numpy as np

from prime_audit.community.trim import SPACES, WAYS, Trim
from prime_audit.community.unite import united
from prime_audit.engine.mixture import Mixture
from prime_audit.plugins import Param, Personal, Scene, method

PARAMS = (
    Param("k", "preset:prime.k", "most similar sharers merged; 0 means all", bounds=(0, math.inf)),
    Param("density", WAYS["dare"].density, "share of entries that remain, 1 − p", bounds=(1e-6, 1)),
    Param("scale", 1.0, "the merged update's weight, above 0", bounds=(1e-6, math.inf)),
    Param(
        "elect",
        False,
        "false: mean of the updates (Eq. 2); true: mean of those with the elected sign, as in TIES",
    ),
    Param(
        "space",
        "factor",
        "factor: drops entries of A and B, rank and mean update stay; delta: drops entries of ΔW = BA, then SVD to low "
        "rank (which undoes more of it, the wider the matrix): use it with elect=true",
        tuple(SPACES),
    ),
)


@method(source="Yu et al. 2024 (DARE); elect: PEFT's dare_ties and dare_ties_svd", params=PARAMS)
def personalise(
    scene: Scene, *, k: int, density: float, scale: float, elect: bool, space: str
) -> dict[str, Personal]:
    """Merge each target's nearest sharers after DARE; what is dropped of a sharer is the same for every target."""
    scene.community.ready()
    near = {user.id: scene.community.nearest(user.id, k) for user in scene.community.targets}
    # Without election each sharer is trimmed alone, and the mixture is the mean.
    parts = {
        target: [frozenset(own)] if elect else [frozenset({s}) for s in own] for target, own in near.items()
    }
    made = united(
        scene.community,
        scene.stage,
        (one for own in parts.values() for one in own),
        Trim("dare", density, space),
    )
    names = {target: [name for one in own for name in made[one]] for target, own in parts.items()}
    return {
        t: Personal(Mixture(tuple(names[t]), np.full(len(names[t]), scale / len(parts[t]))), near[t])
        for t in near
    }
