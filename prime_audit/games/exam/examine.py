"""Querying all models of a task with all that its games and attacks need.

Each chunk of targets is queried separately and the passes are joined. A figure covers all targets of a method, so where
one chunk failed the method has none; what the others yielded is cached for the next attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from prime_audit.faults import Failed, first
from prime_audit.games.exam.queries import Models, Queries, Reader, Remake, queries_of
from prime_audit.games.exam.stored import UNMERGED, Exam, Pass
from prime_audit.plugins import Attack, Game

if TYPE_CHECKING:
    from prime_audit.community.build import Community
    from prime_audit.lamp.data import Dataset
    from prime_audit.plan.plan import MethodSpec

T = TypeVar("T")
Made = Sequence[Models | Failed]
"""A method's models, chunk by chunk."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some of a task's targets."""

    number: int | None
    """From 0; None where the task has one chunk only."""
    community: Community
    """As it is for them."""


class Attempt(Protocol):
    """Does a part's work, or notes that it failed."""

    def __call__(self, stage: str, method: str, chunk: Chunk, work: Callable[[], T]) -> T | Failed:
        """Return what ``work`` returns, or its failure."""
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
        for kind, games in grouped(self.games).items():
            if kind.pool not in readers:
                items = kind.items(community, self.data)
                readers[kind.pool] = Reader(community, items, self.attacks)
            queries = kind(readers[kind.pool], games, self.data, self.remake)
            labels = {kind.label(spec): spec for spec in reversed(self.methods)}
            for label in dict.fromkeys(kind.label(spec) for spec in self.methods):
                passes.append(self._asked(queries, labels[label], personal[labels[label].core.label]))
        ids = [s.user.id for s in community.sharers]
        similarity = {
            u.id: dict(zip(ids, community.similarity(u.id).tolist(), strict=True))
            for u in community.data.targets
            if ids
        }
        pools = {name: reader.pool for name, reader in readers.items()}
        bases = [_base(name, reader) for name, reader in readers.items()]
        return Exam(community.task.name, community.seed, pools, similarity, [*bases, *passes])

    def _asked(self, queries: Queries, spec: MethodSpec, made: Made) -> Pass:
        """Query one method's models, chunk after chunk; the reason instead where a chunk failed."""
        labels = [m.label for m in self.methods if queries.label(m) == queries.label(spec)]
        blank = queries.blank(spec, labels=labels)
        if why := queries.nothing([own for own in made if not isinstance(own, Failed)]):
            failed = first(made)
            return replace(blank, why=failed.reason if failed else why, failed=failed is not None)
        found = [
            own
            if isinstance(own, Failed)
            else self.attempt(
                queries.stage, queries.label(spec), chunk, partial(queries.ask, chunk.community, spec, own)
            )
            for chunk, own in zip(self.chunks, made, strict=True)
        ]
        return _joined(blank, found, queries.reader.fields)


def grouped(games: Sequence[Game]) -> dict[type[Queries], list[Game]]:
    """Sort games by how they query models, the usual way first."""
    found: dict[type[Queries], list[Game]] = {}
    for game in sorted(games, key=lambda game: queries_of(game) is not Queries):
        found.setdefault(queries_of(game), []).append(game)
    return found


def cautions(exam: Exam, games: Sequence[Game], community: Community, data: Dataset) -> list[str]:
    """Say what a reader must know of the games before believing their figures."""
    return [
        line
        for kind in grouped(games)
        for line in kind.cautions(community, data, [p for p in exam.passes if p.kind == kind.name])
    ]


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
    return Pass(kind="base", pool=pool, method=None, seen=seen, fields=reader.fields)
