"""TIES-Merging: the most similar sharers' updates trimmed, and averaged where they have the elected sign."""

from __future__ import annotations

import math

import numpy as np

from prime_audit.community.trim import SPACES, WAYS, Trim
from prime_audit.community.unite import united
from prime_audit.engine.mixture import Mixture
from prime_audit.plugins import Param, Personal, Scene, method

PARAMS = (
    Param("k", "preset:prime.k", "most similar sharers merged; 0 means all", bounds=(0, math.inf)),
    Param(
        "density",
        WAYS["ties"].density,
        "share of each matrix's entries that remain, the largest",
        bounds=(1e-6, 1),
    ),
    Param("scale", 1.0, "λ: the merged update's weight, above 0", bounds=(1e-6, math.inf)),
    Param(
        "space",
        "delta",
        "delta: elects signs for updates ΔW = BA, then SVD to low rank (PEFT's ties_svd); factor: for A and B each "
        "(PEFT's ties), although each sharer's A starts at other random numbers",
        tuple(SPACES),
    ),
    Param(
        "rank",
        0,
        "rank in delta space, rounded up to a multiple of the adapters' rank; 0 means k times that rank",
        bounds=(0, math.inf),
    ),
)


@method(source="Yadav et al. 2023 (TIES-Merging); trimmed matrix by matrix, as PEFT does", params=PARAMS)
def personalise(
    scene: Scene, *, k: int, density: float, scale: float, space: str, rank: int
) -> dict[str, Personal]:
    """Merge each target's nearest sharers by TIES; targets with the same sharers have the same adapter."""
    scene.community.ready()
    near = {user.id: scene.community.nearest(user.id, k) for user in scene.community.targets}
    merged = united(scene.community, scene.stage, near.values(), Trim("ties", density, space), rank)
    names = {target: merged[frozenset(own)] for target, own in near.items()}
    return {t: Personal(Mixture(names[t], np.full(len(names[t]), scale)), near[t]) for t in near}
