"""Core Space merging: the most similar sharers' updates merged in the small basis that they span together."""

from __future__ import annotations

import math

import numpy as np

from prime_audit.community.core_space import VARIANTS, Core
from prime_audit.community.unite import united
from prime_audit.engine.mixture import Mixture
from prime_audit.plugins import Param, Personal, Scene, method

PARAMS = (
    Param("k", "preset:prime.k", "most similar sharers merged; 0 means all", bounds=(0, math.inf)),
    Param(
        "variant",
        "iso",
        "mean: the plain mean (what soup gives); iso: of the mean, all singular values become their mean (Iso-C); tsv: "
        "1/k of each sharer's singular values, with vectors made orthogonal between sharers (TSV-M), divided by k",
        tuple(VARIANTS),
    ),
    Param(
        "scale",
        1.0,
        "λ: the merged update's weight, above 0; k gives the sums that the papers start from",
        bounds=(1e-6, math.inf),
    ),
)


@method(
    source="Panariello et al. 2025 (Core Space, arXiv 2509.17786); iso: Marczak et al. 2025 (Iso-C, arXiv 2502.04959); "
    "tsv: Gargiulo et al. 2025 (TSV-M, arXiv 2412.00081)",
    params=PARAMS,
)
def personalise(scene: Scene, *, k: int, variant: str, scale: float) -> dict[str, Personal]:
    """Merge each target's nearest sharers in their core space; the papers tune λ on validation data, this does not."""
    scene.community.ready()
    near = {user.id: scene.community.nearest(user.id, k) for user in scene.community.targets}
    merged = united(scene.community, scene.stage, near.values(), Core("core", variant))
    names = {target: merged[frozenset(own)] for target, own in near.items()}
    return {t: Personal(Mixture(names[t], np.full(len(names[t]), scale)), near[t]) for t in near}
