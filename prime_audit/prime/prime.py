"""PriME: evolved merge weights over the most similar sharers' adapters, with a penalty for resembling them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from prime_audit.community.sharers import bank_name
from prime_audit.community.trim import WAYS, Trim
from prime_audit.community.unite import united
from prime_audit.engine.mixture import BASE
from prime_audit.engine.rules import DEFAULT, RULES, explained
from prime_audit.lamp.data import User
from prime_audit.lamp.prompts import Example
from prime_audit.plugins import Param, Personal, Scene, method
from prime_audit.prime.objective import Hunt, Judge, search_all
from prime_audit.prime.search import OPTIMIZERS, searched
from prime_audit.seeds import rng_of, seed_of

# fmt: off
PARAMS = (
    Param("alpha", 0.0, "privacy coefficient of Eq. 8: how much resembling the merged sharers costs"),
    Param("optimizer", "cma", "nevergrad's CMA, NGOpt, NgIohTuned or TBPSA", tuple(OPTIMIZERS)),
    Param("budget", "preset:prime.budget", "candidates evaluated per target"),
    Param("k", "preset:prime.k", "most similar sharers merged (Eq. 5)"),
    Param("share", "preset:prime.share", "share of the target's last examples that the search reads"),
    Param("granularity", "module", "one weight a sharer (module), or one a decoder layer and sharer",
          ("module", "layer")),
    Param("merge", DEFAULT, f"merge rule; {explained()}", tuple(RULES)),
    Param("select", "best",
          "best: deploy the best point evaluated, the recommendation among them; recommended: as released, the "
          "recommendation unevaluated, or the base where it is strictly better than the best point seen",
          ("best", "recommended")),
    Param("trim", "none",
          "what is merged: the sharers' adapters, or these trimmed; ties: the largest entries of what merge sums "
          "(updates or factors); dare: random entries of the factors, scaled up", ("none", *WAYS)),
    Param("density", 0.0, "share of entries that trim keeps; 0 means 0.2 for ties, 0.5 for dare", bounds=(0, 1)),
)
# fmt: on


BLIND = (
    "the search's objective is always 0, so nothing was searched and nothing is merged: ROUGE sees no gold; "
    "pass --metric chrf"
)
FLAT = "every candidate of the search scored the same, so the merge weights are arbitrary"
"""Cautions of a search that cannot tell, or did not tell, one candidate from another."""


@method(source="Kim, Shin and Kim 2025, Algorithm 1 and Eq. 8", params=PARAMS)
def personalise(
    scene: Scene,
    *,
    alpha: float,
    optimizer: str,
    budget: int,
    k: int,
    share: float,
    granularity: str,
    merge: str,
    select: str,
    trim: str,
    density: float,
) -> dict[str, Personal]:
    """Search each target's merge weights on their own history; all targets' candidates share the batches."""
    community = scene.community
    nearest = {user.id: community.nearest(user.id, k) for user in community.targets}
    community.ready()
    names = _names(scene, [s for near in nearest.values() for s in near], trim, density, merge)
    layers = scene.engine.base.layers if granularity == "layer" else 1
    hunts = []
    for user in community.targets:
        if not (examples := _drawn(scene, user, share)):
            continue
        dimension = len(nearest[user.id]) * layers
        start = (optimizer, dimension, budget, seed_of(scene.seed, "prime", scene.task.name, user.id))
        hunts.append(
            Hunt(
                target=user.id,
                sharers=nearest[user.id],
                names=tuple(names[s] for s in nearest[user.id]),
                examples=examples,
                start=start,
                layers=layers,
                rule=merge,
            )
        )
    judge = Judge(scene, alpha, hunts)
    blind = {h.target: _unmerged(h) for h in hunts if judge.constant(h)}
    live = [h for h in hunts if h.target not in blind]
    total = len(live) * budget
    with scene.stage("search", total) as tick:
        found = searched(scene.engine, judge.asked(live), total, partial(search_all, judge, live), tick)
    for h, one in zip(live, found, strict=True):
        h.found = one
    deploy = _best if select == "best" else _recommended
    made = blind | {h.target: p for h, p in zip(live, deploy(judge, live) if live else (), strict=True)}
    return {h.target: made[h.target] for h in hunts}


def _unmerged(hunt: Hunt) -> Personal:
    """Deploy the base where the objective is constant: no weights are better than others."""
    return Personal(BASE, (), {"sharers": list(hunt.sharers), "caution": BLIND})


def _names(scene: Scene, sharers: Iterable[str], trim: str, density: float, merge: str) -> dict[str, str]:
    """Return sharer → name in the bank of the adapter that is searched over."""
    if trim == "none":
        return {s: bank_name(s) for s in sharers}
    # The penalty (``Judge``) compares with the sharer's own answers, not with those of the trimmed adapter.
    way = WAYS[trim]
    how = Trim(trim, density or way.density, way.space or RULES[merge].space.name)
    made = united(scene.community, scene.stage, ({s} for s in sharers), how)
    return {s: made[frozenset({s})][0] for s in sharers}


def _drawn(scene: Scene, user: User, share: float) -> list[Example]:
    """Draw a share of the target's last examples without replacement, at least one, in their order."""
    examples = scene.community.last_examples(user)
    count = min(len(examples), max(1, round(share * len(examples))))
    rng = rng_of(scene.seed, "prime share", scene.task.name, user.id)
    return [examples[i] for i in sorted(rng.choice(len(examples), size=count, replace=False))]


def _best(judge: Judge, hunts: Sequence[Hunt]) -> list[Personal]:
    """Evaluate the recommendation; deploy the best point evaluated, the earliest of equals."""
    points = [h.found.recommendation for h in hunts]
    # Often it is a point of the search, whose answers are known. Sampled answers are drawn again.
    known = [None if judge.draws else _seen(h, w) for h, w in zip(hunts, points, strict=True)]
    fresh = [(h, w, "recommended") for h, w, k in zip(hunts, points, known, strict=True) if k is None]
    found = iter(judge.evaluate(fresh) if fresh else [])
    chosen = []
    for hunt, entry in ((h, k or next(found)) for h, k in zip(hunts, known, strict=True)):
        best = max([*hunt.found.trace, entry], key=lambda e: e["objective"])
        chosen.append(_personal(hunt, np.array(best["weights"]), entry, best))
    return chosen


def _seen(hunt: Hunt, weights: np.ndarray) -> dict[str, Any] | None:
    """Return the entry of a point that the search has evaluated; None where it has not."""
    return next((e for e in hunt.found.trace if e["weights"] == weights.tolist()), None)


def _recommended(judge: Judge, hunts: Sequence[Hunt]) -> list[Personal]:
    """Deploy the recommendation as it is, or the base where its objective is strictly above the best seen."""
    chosen = []
    for hunt, base in zip(hunts, judge.base(hunts), strict=True):
        found = hunt.found
        best = max(found.trace, key=lambda e: e["objective"])
        recommended = {"weights": found.recommendation.tolist()}
        if base > best["objective"]:
            notes = {"sharers": list(hunt.sharers), "base": base, "trace": found.trace}
            chosen.append(Personal(BASE, (), notes))
        else:
            chosen.append(_personal(hunt, np.array(recommended["weights"]), recommended, best))
    return chosen


def _personal(hunt: Hunt, weights: np.ndarray, recommended: dict[str, Any], best: dict[str, Any]) -> Personal:
    seen = [e["objective"] for e in (*hunt.found.trace, recommended) if "objective" in e]
    notes = {
        "sharers": list(hunt.sharers),
        "weights": weights.tolist(),
        "best": best,
        "recommended": recommended,
        "trace": hunt.found.trace,
    } | ({"caution": FLAT} if len(hunt.found.trace) > 1 and len(set(seen)) == 1 else {})
    # Weights of exactly zero (NGOpt starts there) merge no sharer.
    merged = tuple(
        s
        for s, w in zip(hunt.sharers, np.abs(weights.reshape(-1, len(hunt.sharers))).sum(0), strict=True)
        if w
    )
    return Personal(hunt.mixture(weights), merged, notes)
