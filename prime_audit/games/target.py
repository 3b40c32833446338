"""The target game: her own history against items held out of it, asked of the whole system deployed for her.

What is asked is her training prompt of an item, behind whatever the method puts in front of a question: the profile
text, and the records that BM25 finds in her store, which for a member holds the record itself. The unmerged control
is the adapted base with nothing merged *and* nothing in front. Played once a method's label, since fronts differ.

A method that deploys nothing of hers (``np``) is played all the same: whether its models tell of her history is a
question with an answer, which ought to be no.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from prime_audit.audit.auc import IntArray
from prime_audit.community.build import Community
from prime_audit.community.held import Held
from prime_audit.community.profile_texts import shown_profile
from prime_audit.games.deal import Game
from prime_audit.games.observe import PREFIX, Leakage, population, texts_of
from prime_audit.games.play import Examined
from prime_audit.games.pool import Pool
from prime_audit.lamp.data import User
from prime_audit.lamp.prompts import Example, item_examples
from prime_audit.lamp.readers import searchable
from prime_audit.plugins import Attack, Augment, Personal


class TargetLeakage(Leakage):
    """The target game of one task: its pool holds every target's own items."""

    def __init__(
        self, community: Community, game: Game, attacks: Sequence[Attack], held: Mapping[str, Held]
    ) -> None:
        self._held = held if searchable(community.data) else {}
        self._known_users = population(community) if self._held else []
        super().__init__(community, [game], attacks, self._make_pool(community))

    def ask(self, label: str, models: Mapping[str, Personal], front: Augment) -> Examined:
        """Ask every target's model for her items, behind what the method puts in front."""
        merged = {target: tuple(p.sharers) for target, p in models.items()}
        rows = {target: self._rows(target) for target in models}
        able = [target for target in models if rows[target].size]
        if not able:
            return Examined(label, merged, {})
        base = self.see_base()
        # The base with nothing in front is asked what it was asked already.
        bare = [t for t in able if not models[t].mixture.names and front == Augment()]
        rest = [t for t in able if t not in set(bare)]
        asked = [
            self._probes(models[t].mixture, rows[t], self._prompts(t, front), self._crowd(t, front))
            for t in rest
        ]
        seen = self._observe(f"{label} · signals (target)", asked) if rest else []
        spread = {t: o.spread(rows[t], len(self.pool)) for t, o in zip(rest, seen, strict=True)}
        return Examined(label, merged, dict.fromkeys(bare, base) | spread)

    # -- what is asked -----------------------------------------------------------------------------------

    def _make_pool(self, community: Community) -> Pool:
        found = [
            (h.user.id, e, e.item in h.members)
            for h in self._held.values()
            for e in self._examples(community, h, Augment())
        ]
        words = {h.user.id: {i.id: i.words for i in h.user.history} for h in self._held.values()}
        shown = {h.user.id: {i.words for i in h.shown.history} for h in self._held.values()}
        none = np.zeros(len(found), dtype=np.bool_)
        return Pool(
            [owner for owner, _, _ in found],
            [e.id for _, e, _ in found],
            [e.prompt for _, e, _ in found],
            [e.gold for _, e, _ in found],
            np.array([member for _, _, member in found], dtype=np.bool_),
            none,
            ~none,
            [[owner] if words[owner][e.item] in shown[owner] else [] for owner, e, _ in found],
            texts_of(self._known_users),
        )

    def _examples(self, community: Community, held: Held, front: Augment) -> list[Example]:
        return self._behind(community, held, front, held.user, {*held.members, *held.others})

    def _behind(
        self, community: Community, held: Held, front: Augment, user: User, items: Collection[str]
    ) -> list[Example]:
        """Ask for a user's items behind what the target's system puts in front."""
        profile = None
        if front.profile:
            profile = shown_profile(community.task, held.shown, community.profiles, front.wording)
        return item_examples(
            community.task, user, items, store=held.shown.history, k=front.k, profile=profile
        )

    def _crowd(self, target: str, front: Augment) -> list[str]:
        """Prompts of the known non-members behind the same fronts: else RMIA would compare with bare ones."""
        held = self._held[target]
        crowd = self._known_users[PREFIX:] if self._known() else []
        found = [self._behind(self.community, held, front, user, {e.item}) for user, e in crowd]
        return [own[0].prompt for own in found]

    def _rows(self, target: str) -> IntArray:
        return np.flatnonzero(np.array([owner == target for owner in self.pool.owners], dtype=np.bool_))

    def _prompts(self, target: str, front: Augment) -> dict[int, str]:
        examples = self._examples(self.community, self._held[target], front)
        return {int(r): e.prompt for r, e in zip(self._rows(target), examples, strict=True)}
