"""Nearest sharer: the most similar sharer's adapter alone."""

from __future__ import annotations

import math

import numpy as np

from prime_audit.community.sharers import bank_name
from prime_audit.engine.mixture import Mixture
from prime_audit.plugins import Param, Personal, Scene, method

SCALE = Param("scale", 1.0, "the adapter's weight, above 0", bounds=(1e-6, math.inf))


@method(source="PriME, Eq. 5 with k = 1 and no search", params=(SCALE,))
def personalise(scene: Scene, *, scale: float) -> dict[str, Personal]:
    """Give every target the adapter of the most similar sharer."""
    scene.community.ready()
    near = {user.id: scene.community.nearest(user.id, 1)[0] for user in scene.community.targets}
    weight = np.full(1, scale)
    return {target: Personal(Mixture((bank_name(s),), weight), (s,)) for target, s in near.items()}
