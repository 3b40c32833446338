"""Querying all models of a task with all that its games and attacks need.

Each chunk of targets is queried separately and the passes are joined. A figure covers all targets of a method, so where
one chunk failed the method has none; what the others yielded is cached for the next attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import ABSENT
from prime_audit.errors import FAULTS, UserError, in_a_line
from prime_audit.faults import Failed, first
from prime_audit.games.exam.queries import Models, Queries, Reader, Remake, queries_of
from prime_audit.games.exam.stored import UNMERGED, Exam, Pass
from prime_audit.plugins import Attack, Game
from prime_audit.plugins.calling import naming

if TYPE_CHECKING:
    from prime_audit.community.build import Community
    from prime_audit.lamp.data import Dataset
    from prime_audit.plan.plan import MethodSpec

T = TypeVar("T")
Made = Sequence[Models | Failed]
"""A method's models, chunk by chunk."""
_NONE = np.zeros(0, dtype=np.bool_)
NO_ITEMS = Pool(owners=(), ids=(), prompts=(), golds=(), twins=(), trained=_NONE, last=_NONE, drawn=_NONE)
"""What a game that fails to gather its items has."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some of a task's targets."""

    number: int | None
    """From 0; None where the task has one chunk only."""
    community: Community
    """As it is for them."""


class Attempt(Protocol):
    """Does a part's work, or notes that it failed."""

    def __call__(self, stage: str, method: str | None, chunk: Chunk, work: Callable[[], T]) -> T | Failed:
        """Return what ``work`` returns, or its failure; ``method`` None: all methods are concerned."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Examiner:
    """The exam of one task's models."""

    community: Community
    """With all targets."""
    data: Dataset
    """The task's data, before anything was held back for a game."""
    chunks: Sequence[Chunk]
    methods: Sequence[MethodSpec]
    games: Sequence[Game]
    """In the order asked for."""
    attacks: Sequence[Attack]
    remake: Remake
    attempt: Attempt

    def examine(self, personal: Mapping[str, Made]) -> Exam:
        """Query every model once with all that the games and attacks need; ``personal``: core's label → its models."""
        community = self.community
        readers, passes = dict[str, Reader](), list[Pass]()
        for way, games in grouped(self.games).items():
            found = self.attempt(
                f"game {', '.join(game.name for game in games)}",
                None,
                Chunk(None, community),
                partial(self._queries, way, games, readers),
            )
            with naming("game", games[0].name):
                groups = self._grouped(way, personal)
            for (label, why), own in groups.items():
                blank = Pass(kind=way.name, pool=way.pool, method=label, labels=[m.label for m in own])
                # Of methods that share a pass, any whose models were all made will do.
                spec = next((m for m in own if not first(personal[m.core.label])), own[0])
                if isinstance(found, Failed):
                    passes.append(replace(blank, why=found.reason, failed=True))
                elif why is not None:
                    failed = first(personal[spec.core.label])
                    reason = failed.reason if failed else why
                    passes.append(replace(blank, why=reason, failed=failed is not None))
                else:
                    passes.append(self._asked(found, blank, spec, personal[spec.core.label]))
        ids = [s.user.id for s in community.sharers]
        similarity = {
            u.id: dict(zip(ids, community.similarity(u.id).tolist(), strict=True))
            for u in community.data.targets
            if ids
        }
        for one in passes:  # of games whose items could not be gathered
            if one.pool not in readers:
                readers[one.pool] = Reader(community, NO_ITEMS, self.attacks)
        pools = {name: reader.pool for name, reader in readers.items()}
        bases = [_base(name, reader) for name, reader in readers.items()]
        return Exam(community.task.name, community.seed, pools, similarity, [*bases, *passes])

    def _grouped(
        self, way: type[Queries], personal: Mapping[str, Made]
    ) -> dict[tuple[str, str | None], list[MethodSpec]]:
        """Sort methods by pass, named by ``Queries.label``, and by why there is nothing to query (None: there is)."""
        found: dict[tuple[str, str | None], list[MethodSpec]] = {}
        for spec in self.methods:
            made = personal[spec.core.label]
            why = way.nothing([own for own in made if not isinstance(own, Failed)])
            label = way.label(spec) if why is None else spec.core.label
            found.setdefault((label, why), []).append(spec)
        return found

    def _queries(self, way: type[Queries], games: list[Game], readers: dict[str, Reader]) -> Queries:
        """Gather the items where no other game did, and make ready to query models with them."""
        if way.pool not in readers:
            items = way.items(self.community, self.data)
            readers[way.pool] = Reader(self.community, items, self.attacks)
        return way(readers[way.pool], games, self.data, self.remake)

    def _asked(self, queries: Queries, blank: Pass, spec: MethodSpec, made: Made) -> Pass:
        """Query one method's models, chunk after chunk; the reason instead where a chunk failed."""
        found = [
            own
            if isinstance(own, Failed)
            else self.attempt(
                queries.stage, queries.label(spec), chunk, partial(queries.ask, chunk.community, spec, own)
            )
            for chunk, own in zip(self.chunks, made, strict=True)
        ]
        return _joined(blank, found, queries.fields)


def grouped(games: Sequence[Game]) -> dict[type[Queries], list[Game]]:
    """Sort games by how they query models, the usual way first; UserError where two ways have one name."""
    found, names = dict[type[Queries], list[Game]](), dict[str, Game]()
    for game in sorted(games, key=lambda game: queries_of(game) is not Queries):
        way = queries_of(game)
        other = names.setdefault(way.name, game)
        if queries_of(other) is not way:
            raise UserError(
                f"games {other.name} and {game.name} have two query classes with the name {way.name!r}: give "
                f"{way.__qualname__} another name, or none"
            )
        found.setdefault(way, []).append(game)
    return found


def cautions(exam: Exam, games: Sequence[Game], community: Community, data: Dataset) -> list[str]:
    """Say what a reader must know of the games before believing their figures."""
    found = list[str]()
    for way, own in grouped(games).items():
        try:
            found += way.cautions(community, data, [p for p in exam.passes if p.kind == way.name])
        except FAULTS as fault:  # of a plugin: the figures are there, and what it had to say is lost
            found.append(f"game {own[0].name}: its cautions failed: {in_a_line(fault)}")
    return found


def _joined(blank: Pass, found: Sequence[Pass | Failed], fields: Sequence[str]) -> Pass:
    """Join chunks' passes; where one failed, or does not apply, the reason instead."""
    if failed := first(found):
        return replace(blank, why=failed.reason, failed=True)
    chunks = [one for one in found if isinstance(one, Pass)]
    if why := next((one.why for one in chunks if one.why is not None), None):
        return replace(blank, why=why)
    return replace(
        blank,
        merged={target: own for one in chunks for target, own in one.merged.items()},
        coins={target: own for one in chunks for target, own in one.coins.items()},
        seen={target: own for one in chunks for target, own in one.seen.items()},
        fields=fields,
    )


def _base(pool: str, reader: Reader) -> Pass:
    seen = {UNMERGED: reader.base} if reader.base else {}
    fields = [f for f in reader.fields if reader.base and getattr(reader.base, f) is not ABSENT]
    return Pass(kind="base", pool=pool, method=None, seen=seen, fields=fields)
