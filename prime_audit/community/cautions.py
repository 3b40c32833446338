"""Warnings about a community that a reader needs before they trust its results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prime_audit.community.build import Community
from prime_audit.community.sharers import bank_name, named
from prime_audit.engine.unify import changes_nothing, each_changes_nothing


def cautions(community: Community, models: Iterable[Mapping[str, Any]] = ()) -> list[str]:
    """List what the sharers' ε covers and does not cover, what given adapters rest on, and which change nothing.

    ``models``: the rows of the task's personalised models.
    """
    return [
        *_changes_nothing(community, models),
        *_canaries(community),
        *_texts(community),
        *_given(community),
        *_private(community),
        *_shadows(community),
    ]


def _shadows(community: Community) -> list[str]:
    if not (lost := len(community.lost_shadows)):
        return []
    total = community.number("shadows") * len(community.sharers)
    return [f"{lost} of {total} shadow adapters diverged in training and are left out: lower --set sharer.lr"]


def _changes_nothing(community: Community, models: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name adapters that change nothing: a verdict on them is not about their owners."""
    bank = community.engine.bank
    factors = (bank.factors(i) for i in range(len(bank.base.sites) if bank.names else 0))
    flags = each_changes_nothing(factors, bank.scaling)
    unchanging = {name for name, flag in zip(bank.names, flags, strict=True) if flag}
    lines, made = list[str](), [row for row in models if row["adapters"]]
    same = [row for row in made if unchanging.issuperset(row["adapters"])]
    if own := [s for s in community.sharers if bank_name(s.user.id) in unchanging]:
        lines.append(
            f"the adapters of {len(own)} of {len(community.sharers)} sharers change nothing (a factor or lora_alpha is "
            "zero, so training never reached them): models merged of only these equal the base, and no verdict on them "
            f"says anything about these sharers{named([s.user.id for s in own])}"
        )
    if same:
        of = ", ".join(dict.fromkeys(str(row["method"]) for row in same))
        lines.append(
            f"{len(same)} of {len(made)} personalised models equal the base, because all their adapters change nothing "
            f"({of})"
        )
    return lines


def _canaries(community: Community) -> list[str]:
    if not community.canaries:
        return []
    each = community.number("canaries")
    return [
        f"sharers' adapters were trained on canaries, {each // 2} each: every figure is of such models. Leave "
        "--canaries out for the utility that you report and for adapters that you share"
    ]


def _texts(community: Community) -> list[str]:
    texts = sum(s.user.profile is not None and bool(s.heldout) for s in community.sharers)
    if not texts:
        return []
    return [
        f"the data's profile texts of {texts} sharers are not used in training, because they may reveal held-out "
        "items; summaries or profiler texts of the other items replace them"
    ]


def _given(community: Community) -> list[str]:
    given, adapters = community.data.given, community.given
    if given is None or adapters is None:
        return []
    before = f"with the adapter {given.base.name!a} merged into it" if given.base else "as it was loaded"
    lines = [
        f"the adapters of {len(given.sharers)} sharers were trained elsewhere: they apply to the base {before}, and no "
        "base adaptation is trained; results are not meaningful for adapters trained with other prompts than ours"
    ]
    if adapters.base is not None and changes_nothing(adapters.base):
        lines.append(
            "the base adapter changes nothing (a factor or lora_alpha is zero): the base is the model as it was loaded"
        )
    if any(s.heldout for s in given.sharers):
        lines.append(
            "held-out items came with the adapters: the tests of heldout and adapter are valid only if they were drawn "
            "at random from all of a sharer's items and never trained on"
        )
    if left := len(given.sharers) - len(community.sharers):
        lines.append(
            f"{left} of the given sharers share nothing: the settings clusters and min_history left them out"
        )
    return [*lines, *adapters.notes]


def _private(community: Community) -> list[str]:
    privacy = community.privacy
    if privacy is None or not community.sharers:
        return []
    lines = [
        f"sharers' adapters are trained with DP-SGD, ε at most {privacy.epsilon:g} each (accounted per sharer in "
        "community); the unit is one item of a sharer, and ε holds for anyone who does not know the run's seed. Not "
        "covered: who is selected and how similar they are (embeddings), how many items they have"
    ]
    if community.gated:
        lines.append(
            "Per-Pcs's gates are trained on sharers' items without noise: models assembled with them have no ε"
        )
    return lines
