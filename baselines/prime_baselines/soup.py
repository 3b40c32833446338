"""Uniform soup: the most similar sharers' adapters with equal weights."""

from __future__ import annotations

import math

import numpy as np

from prime_audit.community.sharers import bank_name
from prime_audit.engine.mixture import Mixture
from prime_audit.engine.rules import DEFAULT, RULES, explained
from prime_audit.plugins import Param, Personal, Scene, method

PARAMS = (
    Param("k", "preset:prime.k", "most similar sharers merged; 0 means all", bounds=(0, math.inf)),
    Param("merge", DEFAULT, f"merge rule; {explained()}", tuple(RULES)),
)


@method(source="Wortsman et al. 2022 (model soups)", params=PARAMS)
def personalise(scene: Scene, *, k: int, merge: str) -> dict[str, Personal]:
    """Give every target the mean of the most similar sharers' adapters."""
    scene.community.ready()
    made = {}
    for user in scene.community.targets:
        near = scene.community.nearest(user.id, k)
        weights = np.full(len(near), 1 / len(near))
        made[user.id] = Personal(Mixture(tuple(bank_name(s) for s in near), weights, merge), near)
    return made
