"""The target's own history against items held out of it, queried from the target's whole deployed system.

The query is the training prompt of an item, behind whatever the method puts in front of a question: the profile text,
and the records that BM25 finds in the target's store, which for a member includes the record itself. The unmerged
control is the adapted base with nothing merged *and* nothing in front. It is played once per method's label, since
fronts differ.

A method that deploys nothing of the target's (``np``) is played too: its models should reveal nothing of the history.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from prime_audit.audit.auc import FloatArray, IntArray
from prime_audit.audit.design import Dealt
from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import Signals, settle
from prime_audit.community.held import Held, hold_back
from prime_audit.community.profile_texts import shown_profile
from prime_audit.games.exam.controls import bag_of_words
from prime_audit.games.exam.queries import PREFIX, Models, Queries, population, texts_of
from prime_audit.games.exam.stored import Pass
from prime_audit.lamp.prompts import Example, item_examples
from prime_audit.lamp.readers import searchable
from prime_audit.plugins import Audited, Augment, game

if TYPE_CHECKING:
    from prime_audit.community.build import Community
    from prime_audit.lamp.data import Dataset, User
    from prime_audit.plan.plan import MethodSpec
    from prime_audit.settings import Settings


class Systems(Queries):
    """Targets' whole deployed systems, prompt and model, each queried with its target's own items."""

    name = "target"
    stage = "signals (target)"
    shadowed = False  # no other target's system is queried with these items

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        community = self.reader.community
        self._held = _held(community, self.data)
        self._known_users = population(community) if self._held else []

    @classmethod
    def hold_back(cls, data: Dataset, settings: Settings, seed: int) -> Dataset:
        """Take the held-out items out of all that methods see of the targets."""
        return hold_back(data, settings.get("heldout", data.task), seed)[0]

    @classmethod
    def items(cls, community: Community, data: Dataset) -> Pool:
        """Gather every target's own items."""
        held = _held(community, data)
        found = [
            (h.user.id, e, e.item in h.members) for h in held.values() for e in _own(community, h, Augment())
        ]
        words = {h.user.id: {i.id: i.words for i in h.user.history} for h in held.values()}
        shown = {h.user.id: {i.words for i in h.shown.history} for h in held.values()}
        none = np.zeros(len(found), dtype=np.bool_)
        return Pool(
            owners=[owner for owner, _, _ in found],
            ids=[e.id for _, e, _ in found],
            prompts=[e.prompt for _, e, _ in found],
            golds=[e.gold for _, e, _ in found],
            trained=np.array([member for _, _, member in found], dtype=np.bool_),
            last=none,
            drawn=~none,
            twins=[[owner] if words[owner][e.item] in shown[owner] else [] for owner, e, _ in found],
            population=texts_of(population(community) if held else []),
        )

    @staticmethod
    def label(spec: MethodSpec) -> str:
        """Tell systems apart by what they put in front, too."""
        return spec.label

    def ask(self, community: Community, spec: MethodSpec, models: Models) -> Pass:
        """Query every target's system with the target's items, behind what the method puts in front."""
        front = spec.augment(community.settings, community.task.name)
        merged = {target: tuple(p.sharers) for target, p in models.items()}
        rows = {target: self._own_rows(target) for target in models}
        able = [target for target in models if rows[target].size]
        if not able:
            return replace(self.blank(spec), merged=merged)
        base = self.reader.see_base()
        # The base with nothing in front is queried already.
        bare = [t for t in able if not models[t].mixture.names and front == Augment()]
        rest = [t for t in able if t not in set(bare)]
        asked = [
            self.reader.probes(
                models[t].mixture, rows[t].tolist(), self._prompts(t, front), self._crowd(t, front)
            )
            for t in rest
        ]
        seen = self.reader.observe(f"{spec.label} · {self.stage}", asked) if rest else []
        total = len(self.reader.pool)
        spread = {t: o.spread(rows[t], total) for t, o in zip(rest, seen, strict=True)}
        return replace(self.blank(spec), merged=merged, seen=dict.fromkeys(bare, base) | spread)

    @classmethod
    def cautions(cls, community: Community, data: Dataset, passes: Sequence[Pass]) -> list[str]:
        """Say what was held out of the targets."""
        held = _held_back(community, data)
        out, items = (
            sum(len(h.others) for h in held.values()),
            sum(len(h.user.history) for h in held.values()),
        )
        if not out:
            return []
        found = [
            f"the target game holds out {out} of the targets' {items} history items: no method sees them, so utility "
            "is measured without them too",
            "in the target game members are drawn from the whole history that methods see; a method that reads only "
            "part of it (PriME's search: a share of the last_items) can leak only that part",
        ]
        if texts := sum(h.user.profile is not None for h in held.values()):
            found.append(
                f"the data's profile texts of {texts} targets are not used in the target game, because they may reveal "
                "held-out items; summaries or profiler texts of the other items replace them"
            )
        return found

    @classmethod
    def words(cls, whole: bool, dealt: Dealt, signals: Signals, pool: Pool, keeper: Any) -> FloatArray:
        """Classify all targets' items by words together: one target's are too few to learn from."""
        everything = Signals(prompts=pool.prompts, texts=pool.golds, members=pool.trained)
        return settle(bag_of_words(everything, keeper))[0][dealt.rows]

    def _crowd(self, target: str, front: Augment) -> list[str]:
        """Prompts of the known non-members behind the same fronts: else RMIA would compare with bare ones."""
        held, community = self._held[target], self.reader.community
        crowd = self._known_users[PREFIX:] if self.reader.known() else []
        found = [_behind(community, held, front, user, {e.item}) for user, e in crowd]
        return [own[0].prompt for own in found]

    def _own_rows(self, target: str) -> IntArray:
        return np.flatnonzero(self.reader.pool.of([target]))

    def _prompts(self, target: str, front: Augment) -> dict[int, str]:
        examples = _own(self.reader.community, self._held[target], front)
        return {int(r): e.prompt for r, e in zip(self._own_rows(target), examples, strict=True)}


def _held_back(community: Community, data: Dataset) -> Mapping[str, Held]:
    return hold_back(data, community.settings.get("heldout", data.task), community.seed)[1]


def _held(community: Community, data: Dataset) -> Mapping[str, Held]:
    """List what is held out of each target; nothing where histories have no golds to ask for."""
    return _held_back(community, data) if searchable(community.data) else {}


def _own(community: Community, held: Held, front: Augment) -> list[Example]:
    return _behind(community, held, front, held.user, {*held.members, *held.others})


def _behind(
    community: Community, held: Held, front: Augment, user: User, items: Collection[str]
) -> list[Example]:
    """Ask for a user's items behind what the target's system puts in front."""
    profile = None
    if front.profile:
        profile = shown_profile(community.task, held.shown, community.profiles, front.wording)
    return item_examples(community.task, user, items, store=held.shown.history, k=front.k, profile=profile)


@game(
    source="ours",
    says="Members were drawn from the target's own items: this game can say leaks, of the target's history; it does "
    "not ask about the sharers.",
    unit="item-within-sharer",
    randomised=True,
    queries=Systems,
    exposes="the target",
)
def target(audited: Audited, pool: Pool) -> Dealt:
    """Members: items of the target's history, as methods see it; non-members: as many items held out of it."""
    rows = np.flatnonzero(pool.of([audited.target]))
    if not rows.size:
        # In published records.
        return Dealt.nothing(audited.target, "nothing of the target's history is held out: no non-members")
    return pool.deal(audited.target, rows, pool.trained[rows])
