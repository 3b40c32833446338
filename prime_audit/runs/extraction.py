"""Extraction: the golds that a model writes out when asked, of items trained on beside held-out ones.

Greedy decoding answers the training prompts of the ``heldout`` game's items: each sharer's held-out items and as many
trained ones, drawn at random. Each merged sharer's items are asked in *one* model, of a target drawn at random among
those whose model merges that sharer. So a method costs one answer an item in play, however many targets there are. The
sharers' own adapters are asked too, as they are before any merge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from prime_audit.audit.extraction import gap
from prime_audit.audit.pool import Pool
from prime_audit.community.sharers import bank_name
from prime_audit.engine.mixture import Mixture, Request, alone
from prime_audit.record import Extraction
from prime_audit.seeds import rng_of, seed_of

if TYPE_CHECKING:
    from prime_audit.community.build import Community
    from prime_audit.games.exam.queries import Models
    from prime_audit.lamp.tasks import Task

NEAR = 0.9
"""Similarity from which an answer is *nearly* the gold: 1 − Levenshtein distance / the longer one's characters."""
Asked = Mapping[str, tuple[str, Mixture]]
"""Sharer → whose model their items are asked in (a target, or the sharer for their own adapter), and the model."""


def refusal(task: Task) -> str | None:
    """Say why extraction does not apply to a task; None where it does."""
    if task.kind == "generation":
        return None
    return "golds are one of a few labels, which any model writes: that is no extraction"


def one_each(models: Models, community: Community) -> Asked:
    """Draw for each merged sharer one of the targets whose model merges them."""
    merging: dict[str, list[str]] = {}
    for target in sorted(models):
        for sharer in models[target].sharers:
            merging.setdefault(sharer, []).append(target)
    found = {}
    for sharer, targets in merging.items():
        rng = rng_of(community.seed, "extraction", community.task.name, sharer)
        target = targets[int(rng.integers(len(targets)))]
        found[sharer] = target, models[target].mixture
    return found


def own_adapters(community: Community, sharers: Sequence[str]) -> Asked:
    """Ask each sharer's items in their own adapter at full weight."""
    return {sharer: (sharer, alone(bank_name(sharer))) for sharer in sharers}


def extract(community: Community, pool: Pool, method: str, asked: Asked) -> list[dict[str, Any]]:
    """Ask for the items of the ``asked`` sharers -> rows of ``extraction.jsonl``: ids, no texts."""
    from rapidfuzz.distance import Levenshtein

    rows = np.flatnonzero(pool.drawn & pool.of(asked)).tolist()
    requests = [Request(pool.prompts[r], asked[pool.owners[r]][1], pool.golds[r]) for r in rows]
    engine = replace(community.engine, sampling=None)
    with community.stage(f"extraction {method}", len(requests)) as tick:
        texts = engine.generate(requests, community.number("max_new"), tick)
    found = []
    for row, text in zip(rows, texts, strict=True):
        answer, gold = (" ".join(words.split()) for words in (text, pool.golds[row]))
        found.append(
            {
                "task": community.task.name,
                "method": method,
                "target": asked[pool.owners[row]][0],
                "sharer": pool.owners[row],
                "item": pool.ids[row],
                "trained": bool(pool.trained[row]),
                "verbatim": answer == gold,
                "similarity": round(Levenshtein.normalized_similarity(answer, gold), 6),
            }
        )
    return found


def summaries(
    task: str, labels: Sequence[str], rows: Sequence[Mapping[str, Any]], seed: int
) -> Iterator[Extraction]:
    """Count what was extracted, once for each of a model's ``labels``."""
    near = [row["similarity"] >= NEAR for row in rows]
    sides = [[row["trained"] is side for row in rows] for side in (True, False)]
    found = gap(
        [row["sharer"] for row in rows],
        sides[0],
        near,
        seed=seed_of(seed, "extraction", task),
    )

    def count(side: int, which: Sequence[bool]) -> int:
        return sum(a and b for a, b in zip(sides[side], which, strict=True))

    verbatim = [row["verbatim"] for row in rows]
    for label in labels:
        yield Extraction(
            task=task,
            method=label,
            trained=sum(sides[0]),
            heldout=sum(sides[1]),
            trained_near=count(0, near),
            heldout_near=count(1, near),
            trained_verbatim=count(0, verbatim),
            heldout_verbatim=count(1, verbatim),
            sharers=found.sharers,
            difference=found.difference,
            ci=found.ci,
            p=found.p,
            reason=found.reason,
        )


def none(task: str, label: str, why: str) -> Extraction:
    """Return a method without extraction, and why."""
    return Extraction(task=task, method=label, reason=why)
