"""Asking each sharer's adapter alone, as a recipient downloads it, with its factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from prime_audit.audit.auc import IntArray
from prime_audit.audit.signals import WHITE_BOX
from prime_audit.community.sharers import bank_name
from prime_audit.engine.mixture import alone
from prime_audit.games.exam.observed import Observed
from prime_audit.games.exam.queries import Models, Queries
from prime_audit.games.exam.stored import Pass
from prime_audit.plan.plan import ADAPTERS
from prime_audit.plugins import Personal
from prime_audit.seeds import seed_of

if TYPE_CHECKING:
    from prime_audit.community.build import Community
    from prime_audit.plan.plan import MethodSpec


class Adapters(Queries):
    """Every sharer's adapter alone, queried with that sharer's items; a pass's targets are the sharers."""

    name = "adapter"
    stage = "signals (adapter)"
    shadowed = False  # each adapter is queried with its owner's items only
    single = True

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._found: Pass | None = None

    @staticmethod
    def label(spec: MethodSpec) -> str:
        """Name the one pass of all methods."""
        return ADAPTERS

    @classmethod
    def nothing(cls, made: Sequence[Models]) -> str | None:
        """Give the reason where no target merges any sharer."""
        some = any(p.sharers for own in made for p in own.values())
        return None if some else "uses no shared adapter: no members"

    def ask(self, community: Community, spec: MethodSpec, models: Models) -> Pass:
        """Query the adapters, once for all chunks of targets."""
        if self._found is None:
            community.ready()
            one = self.see(spec, self.adapters(community))
            self._found = self._with_factors(one) if self._white() and one.seen else one
        return self._found

    def adapters(self, community: Community) -> Models:
        """Return the models to query: sharer → their adapter at full weight."""
        ids = [s.user.id for s in community.sharers]
        return {own: Personal(alone(bank_name(own)), (own,)) for own in ids}

    def _white(self) -> list[str]:
        return [name for name in WHITE_BOX if name in self.reader.fields]

    def _with_factors(self, one: Pass) -> Pass:
        """Add the white-box signals of the adapters, and those of the base under the same items."""
        rows = {
            own: np.flatnonzero([len(row) > 0 for row in seen.logprobs]) for own, seen in one.seen.items()
        }
        every = np.unique(np.concatenate(list(rows.values())))
        seen, base = dict(one.seen), self.reader.see_base()
        for name in self._white():
            # A base has no update to align with: 0, without a pass.
            bare = [] if name == "alignment" else [(None, every)]
            found = self._gradients(name, [*((bank_name(own), r) for own, r in rows.items()), *bare])
            adapters = found[: len(rows)]
            of_base = found[-1] if bare else np.zeros((every.size, adapters[0].shape[1]))
            for (own, place), values in zip(rows.items(), adapters, strict=True):
                seen[own] = _beside(seen[own], name, place, values)
            base = _beside(base, name, every, of_base)
        self.reader.base = base
        return replace(one, seen=seen)

    def _gradients(self, name: str, asked: Sequence[tuple[str | None, IntArray]]) -> list[np.ndarray]:
        """Return one signal of each (adapter, rows of the pool), [rows, modules] each; None: of the base."""
        from prime_audit.engine.gradients import Item, gradients

        community, pool = self.reader.community, self.reader.pool
        items = [Item(pool.prompts[r], pool.golds[r], one) for one, own in asked for r in own.tolist()]
        with community.stage(f"signals ({name})", len(items)) as tick:
            seed = seed_of(community.seed, "gradients")
            found = gradients(community.engine, items, name, seed, tick)
        return np.split(found, np.cumsum([len(own) for _, own in asked])[:-1])


def _beside(seen: Observed, name: str, rows: IntArray, values: np.ndarray) -> Observed:
    """Put a signal of some rows, [rows, modules], beside what a model said."""
    full: list[np.ndarray] = [np.zeros(0)] * len(seen.logprobs)
    for row, own in zip(rows.tolist(), values, strict=True):
        full[row] = own
    column: Mapping[str, Any] = {name: full}
    return replace(seen, **column)
