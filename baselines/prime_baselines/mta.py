"""MTA: the most similar sharers merged and frozen, and on top a thin LoRA trained on the target's own items."""

from __future__ import annotations

import math

import numpy as np

from prime_audit.community.sharers import bank_name
from prime_audit.community.store import content_key
from prime_audit.engine.mixture import Mixture
from prime_audit.engine.recipe import Recipe
from prime_audit.errors import UserError
from prime_audit.lamp.data import User
from prime_audit.plugins import Param, Personal, Scene, method

PARAMS = (
    Param("k", "preset:prime.k", "most similar sharers merged; 0 means all", bounds=(0, math.inf)),
    Param("rank", 2, "rank of the LoRA on top, at most that of the sharers' adapters"),
)


@method(
    source="Li et al. 2025 (MTA, arXiv 2511.20072), stages 2 and 3 over the community's sharers",
    params=PARAMS,
)
def personalise(scene: Scene, *, k: int, rank: int) -> dict[str, Personal]:
    """Merge each target's nearest sharers, weighted by similarity, and train on the target's own items on top.

    The LoRA on top is trained by the recipe and scaling of the run's settings (``sharer``, ``lora``), as are sharers'
    adapters unless they are given: no given adapter's own recipe is known.
    """
    community = scene.community
    community.ready()
    bank, lora = scene.engine.bank, {key: community.number(f"lora.{key}") for key in ("alpha", "dropout")}
    if rank > bank.rank:
        raise UserError(f"mta:rank={rank}: the sharers' adapters have rank {bank.rank}; pass at most that")
    lora = {"rank": rank, **lora, "alpha": lora["alpha"] * rank / community.number("lora.rank")}
    users = {user.id: user for user in community.targets if user.history}
    near = {target: community.nearest(target, k) for target in users}
    merged = {target: _merged(scene, target, own) for target, own in near.items()}
    names = {t: f"mta:{content_key({'rank': rank, 'sharers': near[t]})[:16]}:{t}" for t in users}
    new: list[User] = [user for target, user in users.items() if names[target] not in bank.names]
    if new:
        recipe = Recipe(**scene.settings.recipe("sharer", scene.task.name))
        own = community.train_own(new, recipe, lora=lora, stage="own adapters", onto=merged)
        bank.add({names[target]: adapter for target, adapter in own.items()})
    return {
        target: Personal(
            Mixture((*merged[target].names, names[target]), np.append(merged[target].weights, 1.0)),
            near[target],
            {"weights": merged[target].weights.tolist()},
        )
        for target in users
    }


def _merged(scene: Scene, target: str, sharers: tuple[str, ...]) -> Mixture:
    """Weigh sharers in proportion to their cosine with the target, with sum 1; equally where none is above 0."""
    known = [s.user.id for s in scene.community.sharers]
    cosines = scene.community.similarity(target)[[known.index(s) for s in sharers]].clip(min=0)
    weights = cosines / cosines.sum() if cosines.any() else np.full(len(sharers), 1 / len(sharers))
    return Mixture(tuple(map(bank_name, sharers)), weights)
