"""Control: another merge, over random adapters of the same norm instead of the sharers'."""

from __future__ import annotations

from dataclasses import replace

from prime_audit.community.noise import Noise
from prime_audit.community.sharers import bank_name
from prime_audit.community.unite import united
from prime_audit.plugins import Param, Personal, Scene, method
from prime_audit.plugins.loading import load_method, read_params

OF = Param(
    "of",
    "soup",
    "the merge it imitates, with that method's default parameters (or --set METHOD.PARAM): the same sharers, and the "
    "same weights, search or training on top",
    ("soup", "nearest", "ties", "dare", "core", "mta", "prime"),
    refused={"perpcs": "its gates are trained on the sharers' items, so more than norms would be theirs"},
)


@method(
    source="Liu et al. 2026 (arXiv 2602.12323)",
    params=(OF,),
    control="utility that random adapters give too is no merit of sharing",
)
def personalise(scene: Scene, *, of: str) -> dict[str, Personal]:
    """Run another method on a bank that holds random adapters under the sharers' names.

    Members are the sharers that the other method merges. Nothing but norms is theirs, so a game that finds them is
    wrong. This excludes Per-Pcs, whose gates are trained on the sharers' items.
    """
    scene.community.ready()
    sharers = [s.user.id for s in scene.community.sharers]
    made = united(scene.community, scene.stage, ({s} for s in sharers), Noise())
    names = {bank_name(s): made[frozenset({s})][0] for s in sharers}
    bank = scene.engine.bank
    drawn = bank.renamed(names)
    engine = replace(scene.engine, bank=drawn)
    plugin = load_method(of)
    assert plugin.personalise is not None
    found: dict[str, Personal] = plugin.personalise(
        replace(scene, engine=engine, community=scene.community.on(engine)),
        **read_params(plugin, {}, scene.settings, scene.task.name),
    )
    for name in dict.fromkeys(n for one in found.values() for n in one.mixture.names if n not in names):
        names[name] = f"random:{name}"
        if names[name] not in bank.names:
            parts = drawn.made_of.get(name)  # none of an adapter that the method trained on top
            bank.add({names[name]: drawn.one(name)}, {names[name]: parts} if parts else {})
    return {target: _named(one, names) for target, one in found.items()}


def _named(personal: Personal, names: dict[str, str]) -> Personal:
    mixture = personal.mixture
    return replace(personal, mixture=replace(mixture, names=tuple(names[n] for n in mixture.names)))
