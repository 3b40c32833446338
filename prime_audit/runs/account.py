"""The parts of a record on data, community and models, and the files beside it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from prime_audit.community.build import Community
from prime_audit.community.sharers import bank_name
from prime_audit.community.training import adapters_of
from prime_audit.engine.bank import AdapterBank
from prime_audit.lamp.check import shared_questions
from prime_audit.lamp.data import Dataset
from prime_audit.plugins import Personal
from prime_audit.record import Data
from prime_audit.settings import Settings


def data_of(task: str, data: Dataset) -> Data:
    """Describe one task's data."""
    roles = {"adapt": data.adapt, "targets": data.targets, "candidates": data.candidates}
    return Data(
        task=task,
        source=data.source,
        layout=data.layout,
        sha256=data.sha256,
        split_sha256=data.split_sha256,
        users={role: len(users) for role, users in roles.items()},
        items=sum(len(u.history) for users in roles.values() for u in users),
        queries=sum(len(u.queries) for u in data.targets),
        defects=len(data.defects),
        first_defects=tuple(str(d) for d in data.defects[:20]),
    )


def data_cautions(data: Dataset, cut: int, settings: Settings) -> Iterator[str]:
    """Warnings on the data; ``cut`` counts texts that lost their front."""
    task, most = data.task, settings.get("max_items", data.task)
    if cut:
        yield f"{cut} texts were longer than the model's context and lost their front"
    if data.older:
        yield f"{data.older} older history items left out (max_items = {most})"
    yield from data.notes
    if data.defects:
        yield (
            f"{len(data.defects)} defective records in the data or in sharers' items, the first: "
            f"{data.defects[0]}; for the data list all with prime-audit data check {shlex.quote(data.source)} "
            f"--task {task}, and this run's --columns and --time-column"
        )
    if shared := shared_questions(data):
        yield (
            f"{shared} of {sum(len(u.queries) for u in data.targets)} questions also occur in "
            "other users' histories (their golds may differ): sharers may have trained on them"
        )


def describe(community: Community) -> dict[str, Any]:
    """Describe the sharers, their similarity to each target, and the paths of the adapters."""
    return {
        "sharers": [
            {
                "index": n,
                "user": s.user.id,
                "cluster": s.cluster,
                "items": len(s.user.history),
                "trained": len(s.trained),
                "heldout": len(s.heldout),
            }
            | ({"canaries": len(own)} if (own := community.canaries.get(s.user.id)) else {})
            | ({"dp": asdict(g)} if (g := community.guarantee(s)) else {})
            | ({"adapter": place} if (place := _place(community, bank_name(s.user.id))) else {})
            for n, s in enumerate(community.sharers)
        ],
        "similarity": {
            u.id: [round(float(c), 9) for c in community.similarity(u.id)] for u in community.targets
        }
        if community.sharers
        else {},
    } | adapters_of(
        community.engine.bank, community.origins, community.adaptation, every=community.data.given is not None
    )


def _place(community: Community, name: str) -> str:
    """Return an adapter's path below the cache's root; empty where the cache does not have it."""
    origin = community.origins.get(community.engine.bank.hashes.get(name, ""))
    return origin.place if origin else ""


def model_row(
    task: str, core: str, target: str, personal: Personal, bank: AdapterBank, game: str | None
) -> dict[str, object]:
    """Write one target's model as a row of ``models.jsonl``. ``game`` names the game that rebuilt it."""
    names = personal.mixture.names
    made_of = {n: list(bank.made_of[n]) for n in names if n in bank.made_of}
    row: dict[str, object] = {
        "task": task,
        "method": core,
        "target": target,
        "sharers": list(personal.sharers),
        "rule": personal.mixture.rule,
        "adapters": list(names),
        "weights": np.asarray(personal.mixture.weights).tolist(),
        "notes": dict(personal.notes),
    }
    return row | ({"made_of": made_of} if made_of else {}) | ({"game": game} if game else {})
