"""What a reader must know of a community before believing figures made with it: lines for the record's warnings."""

from __future__ import annotations

from prime_audit.community.build import Community
from prime_audit.lamp.data import GivenSharer


def cautions(community: Community) -> list[str]:
    """Say what the sharers' ε covers and what it does not, and what given adapters rest on."""
    return [*_texts(community), *_given(community), *_private(community)]


def _texts(community: Community) -> list[str]:
    texts = sum(s.user.profile is not None and bool(s.heldout) for s in community.sharers)
    if not texts:
        return []
    return [
        f"the data's profile texts of {texts} sharers are set aside in training, for they may tell of held-out "
        "items; summaries or the profiler's texts of the rest stand in their place"
    ]


def _last(sharer: GivenSharer) -> bool:
    """Whether a sharer's held-out items are the last of several; one alone may be last by chance."""
    out = [item.id in set(sharer.heldout) for item in sharer.user.history]
    return sum(out) > 1 and out == sorted(out)


def _given(community: Community) -> list[str]:
    given, adapters = community.data.given, community.given
    if given is None or adapters is None:
        return []
    before = f"with the adapter {given.base.name!a} merged into it" if given.base else "as it was loaded"
    lines = [
        f"the adapters of {len(given.sharers)} sharers were trained elsewhere: they apply to the base {before}, and no "
        "base adaptation is trained; items are asked in this suite's prompts, whatever theirs were"
    ]
    if any(s.heldout for s in given.sharers):
        lines.append(
            "held-out items came with the adapters: what the heldout game's test says rests on their having been "
            "drawn at random from all of a sharer's items, and never trained on"
        )
    late = [s for s in given.sharers if s.heldout and _last(s)]
    if late:
        lines.append(
            f"all held-out items of {len(late)} of the given sharers stand after all their trained ones: held out by "
            "time, not drawn at random, so a difference may be the time's"
        )
    if left := len(given.sharers) - len(community.sharers):
        lines.append(
            f"{left} of the given sharers share nothing: clusters and min_history were set, and chose"
        )
    return [*lines, *adapters.notes]


def _private(community: Community) -> list[str]:
    privacy = community.privacy
    if privacy is None or not community.sharers:
        return []
    lines = [
        f"sharers' adapters are trained with DP-SGD, ε at most {privacy.epsilon:g} each (accounted per sharer in "
        "community); the unit is one item of a sharer, and ε holds for whoever does not know the run's seed. Not "
        "covered: who is selected and how similar she is (embeddings), how many items she has"
    ]
    if community.gated:
        lines.append(
            "Per-Pcs's gates are trained on sharers' items without noise: what is assembled by them has no ε"
        )
    return lines
